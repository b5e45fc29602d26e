package rdt

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/base/fault"
)

func TestRefusals(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "schemata"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		spec specs.LinuxIntelRdt
		want string
	}{
		{specs.LinuxIntelRdt{ClosID: "../x"}, "linux.intelRdt.closID"},
		{specs.LinuxIntelRdt{ClosID: "info"}, "linux.intelRdt.closID"},
		{specs.LinuxIntelRdt{Schemata: []string{"L3:0=f\nMB:0=1"}}, "linux.intelRdt.schemata[0]"},
		{specs.LinuxIntelRdt{Schemata: []string{"L3:0=f"}, MemBwSchema: "MB:0=10"}, "linux.intelRdt.memBwSchema"},
	} {
		if _, err := New(&c.spec, "id", root); !fault.Is(err, fault.Invalid) || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %s", c.spec, err, c.want)
		}
	}
	_, err := New(&specs.LinuxIntelRdt{}, "id", filepath.Join(root, "nothing"))
	if !fault.Is(err, fault.Unsupported) {
		t.Errorf("without resctrl: %v", err)
	}
}

// A host with resctrl is hardware; what can be shown anywhere is that a failed
// entry leaves no class behind: a plain folder has no control files.
func TestFailedEntryLeavesNothing(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "schemata"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := New(&specs.LinuxIntelRdt{Schemata: []string{"L3:0=f"}}, "id", root)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Enter(os.Getpid()); err == nil {
		t.Error("entered a class without control files")
	}
	if _, err := os.Stat(filepath.Join(root, "id")); err == nil {
		t.Error("the class is left behind")
	}
}
