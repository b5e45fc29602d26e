package unpack

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestRestoreGoesOn repeats a Restore that was killed between the steps of a file with
// capabilities, which chown(2) takes away.
func TestRestoreGoesOn(t *testing.T) {
	if !isRoot() || inUserns() {
		t.Skip("gives files to others, and capabilities")
	}
	d, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	at := filepath.Join(d.Name(), "ping")
	if err := os.WriteFile(at, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	set := func(name, value string) {
		t.Helper()
		if err := unix.Setxattr(at, name, []byte(value), 0); err != nil {
			t.Fatal(err)
		}
	}
	for name, killed := range map[string]func(){
		"not at all":              func() { set(capabilityXattr, capability) },
		"before the owner":        func() { set(capabilityXattr, capability); set(keptCapabilityXattr, capability) },
		"after the owner":         func() { set(keptCapabilityXattr, capability) },
		"after the capabilities":  func() { set(capabilityXattr, capability); set(keptCapabilityXattr, capability) },
		"before the note is gone": func() { set(capabilityXattr, capability) },
	} {
		if err := os.Chown(at, 0, 0); err != nil {
			t.Fatal(err)
		}
		if name[0] != 'n' && name != "before the owner" {
			if err := os.Chown(at, 7, 8); err != nil {
				t.Fatal(err)
			}
		}
		set(overrideXattr, "7:8:0755:file")
		killed()
		if _, err := Restore(context.Background(), d); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got := readXattrs(t, at)
		if st := stat(t, d, "ping"); st.Uid != 7 || st.Gid != 8 || st.Mode&0o7777 != 0o755 || len(got) != 1 || got[0] != fmt.Sprintf("%s=%q", capabilityXattr, capability) {
			t.Errorf("killed %s: %d:%d %o %q", name, st.Uid, st.Gid, st.Mode, got)
		}
	}
}
