package bundle

import (
	"slices"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/container/config"
)

// TestNestedSeccomp holds which calls the flag lets through that the default does not,
// and that it lets none through that work on the machine.
func TestNestedSeccomp(t *testing.T) {
	allowed := func(nested bool) map[string]bool {
		c := sec(config.Security{Nested: nested})
		b, err := Spec(&c, &Resolved{}, inputs())
		if err != nil {
			t.Fatal(err)
		}
		all := map[string]bool{}
		for _, s := range b.Spec.Linux.Seccomp.Syscalls {
			for _, n := range s.Names {
				all[n] = all[n] || s.Action == specs.ActAllow && len(s.Args) == 0
			}
		}
		return all
	}
	plain, nested := allowed(false), allowed(true)
	for _, n := range []string{"mount", "umount2", "unshare", "clone", "clone3", "pivot_root", "setns", "keyctl", "fsopen", "move_mount", "mount_setattr", "open_tree"} {
		if !nested[n] || plain[n] {
			t.Errorf("%s: nested %v, plain %v", n, nested[n], plain[n])
		}
	}
	for _, n := range append(slices.Clone(machineCalls), "init_module", "finit_module", "delete_module", "iopl", "ioperm", "settimeofday", "clock_settime", "acct", "io_uring_setup", "userfaultfd") {
		if nested[n] {
			t.Errorf("%s is let through", n)
		}
	}
	for n := range plain {
		if plain[n] && !nested[n] {
			t.Errorf("%s is let through without the flag, and not with it", n)
		}
	}
}
