package feature

import (
	"slices"
	"testing"
)

func TestListsAreSortedAndUnique(t *testing.T) {
	for name, list := range map[string][]string{"namespaces": Namespaces(), "mount options": MountOptions(), "memory modes": MemoryModes(), "memory flags": MemoryFlags()} {
		if !slices.IsSorted(list) {
			t.Errorf("%s are not in order of names", name)
		}
		if len(slices.Compact(slices.Clone(list))) != len(list) {
			t.Errorf("%s hold a name twice", name)
		}
	}
}

func TestAllIsComplete(t *testing.T) {
	f := All()
	if f.OCIVersionMin != "1.0.0" || f.OCIVersionMax[:2] != "1." {
		t.Errorf("versions %q to %q", f.OCIVersionMin, f.OCIVersionMax)
	}
	if len(f.Hooks) != 6 || len(f.Linux.Namespaces) != 8 {
		t.Errorf("hooks %q, namespaces %q", f.Hooks, f.Linux.Namespaces)
	}
	if !slices.Contains(f.Linux.Capabilities, "CAP_CHOWN") || !slices.Contains(f.Linux.Seccomp.Actions, "SCMP_ACT_NOTIFY") {
		t.Errorf("capabilities %q, actions %q", f.Linux.Capabilities, f.Linux.Seccomp.Actions)
	}
}
