// Package attack plays the known escapes of container runtimes against
// berth-oci, class by class as docs/threats.md numbers them: each test makes
// the hostile bundle or container and looks for damage on the host.
//
// A test that cannot fail proves nothing, so each has a control on which the
// same attack must succeed: Debian's runc 1.1 where that is still open to it,
// a configuration that gives the guard up, or berth-oci with the guard
// compiled out (test/guards). TestControls runs the first two; test/guards/run
// the last. It belongs to the tests, outside the rows.
package attack

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"berth/test/bundle"
	"berth/test/leak"
)

// The main thread stays as it is: what changes threads gets others, which end.
func init() { runtime.LockOSThread() }

// attack tries one escape with a runtime and tells what it got: empty when
// it failed.
type attack struct {
	name    string // class, then what is attacked
	try     func(t *testing.T, rt *bundle.Runtime) (damage string)
	guard   string                                                 // build tag without which it must succeed
	runc    bool                                                   // it succeeds on Debian's runc 1.1
	control func(t *testing.T, rt *bundle.Runtime) (damage string) // it succeeds when the guard is given up
}

func allAttacks() []attack {
	var all []attack
	for _, list := range [][]attack{helperAttacks(), pathAttacks(), procAttacks(), configAttacks(), privilegeAttacks()} {
		all = append(all, list...)
	}
	return all
}

func TestMain(m *testing.M) {
	if os.Getuid() != 0 || os.Getenv("BERTH_GUARD_OFF") != "" {
		os.Exit(m.Run()) // an attack that succeeds may well leave something
	}
	os.Exit(leak.Main(m, leak.Config{}))
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: an attack on what root's runtime does")
	}
}

func TestAttacks(t *testing.T) {
	needRoot(t)
	for _, a := range allAttacks() {
		t.Run(a.name, func(t *testing.T) {
			if damage := a.try(t, bundle.Ours(t)); damage != "" {
				t.Errorf("escaped: %s", damage)
			}
		})
	}
}

// TestControls holds that the attacks work where nothing stops them.
func TestControls(t *testing.T) {
	needRoot(t)
	for _, a := range allAttacks() {
		if a.runc {
			t.Run(a.name+"/runc", func(t *testing.T) {
				damage := a.try(t, bundle.Other(t, "/usr/sbin/runc"))
				if damage == "" {
					t.Errorf("the attack does not succeed on runc 1.1, so it proves nothing")
				}
				t.Logf("runc: %s", damage)
			})
		}
		if a.control != nil {
			t.Run(a.name+"/given-up", func(t *testing.T) {
				damage := a.control(t, bundle.Ours(t))
				if damage == "" {
					t.Errorf("the attack does not succeed without the guard, so it proves nothing")
				}
				t.Logf("given up: %s", damage)
			})
		}
		if !a.runc && a.control == nil && a.guard == "" {
			t.Errorf("%s has no control", a.name)
		}
	}
}

// TestGuardList holds that test/guards/guards.txt names every guard that an
// attack relies on, with that attack.
func TestGuardList(t *testing.T) {
	data, err := os.ReadFile("../guards/guards.txt")
	if err != nil {
		t.Fatal(err)
	}
	listed := parseGuards(string(data))
	for _, a := range allAttacks() {
		if a.guard != "" && !listed[a.guard][a.name] {
			t.Errorf("guards.txt has no line %q", a.guard+" TestAttacks/"+a.name)
		}
	}
}

// canary is a host folder that no container may touch: changed tells how it
// was.
type canary struct {
	dir    string
	before map[string]string
}

func newCanary(t *testing.T, files ...string) *canary {
	t.Helper()
	c := &canary{dir: t.TempDir()}
	for _, f := range files {
		path := filepath.Join(c.dir, f)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("canary\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c.before = c.list()
	return c
}

func (c *canary) list() map[string]string {
	all := map[string]string{}
	_ = filepath.Walk(c.dir, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return nil
		}
		text := info.Mode().String()
		if info.Mode().IsRegular() {
			data, _ := os.ReadFile(path)
			text += " " + string(data)
		}
		all[path] = text
		return nil
	})
	return all
}

// changed names the first difference, or is empty.
func (c *canary) changed() string {
	now := c.list()
	for path, text := range now {
		if old, ok := c.before[path]; !ok {
			return "made on the host: " + path
		} else if old != text {
			return "changed on the host: " + path + ": " + text
		}
	}
	for path := range c.before {
		if _, ok := now[path]; !ok {
			return "removed on the host: " + path
		}
	}
	return ""
}
