package cgroup

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/runtime/cgroup/devfilter"
)

func rule(allow bool, kind string, major, minor int64, access string) specs.LinuxDeviceCgroup {
	r := specs.LinuxDeviceCgroup{Allow: allow, Type: kind, Access: access}
	if major >= 0 {
		r.Major = &major
	}
	if minor >= 0 {
		r.Minor = &minor
	}
	return r
}

// probe tries devices from inside c and prints what works.
func probe(t *testing.T, c *Cgroup) string {
	t.Helper()
	dir := t.TempDir()
	out, code := output(t, c, fmt.Sprintf(`cd %s
try() { if "$@" 2>/dev/null; then printf '%%s ' "$name"; fi; }
rd() { exec 20<"$1"; }; wr() { exec 20>"$1"; }; rdwr() { exec 20<>"$1"; }
name=mknod-full; try mknod full c 1 7
name=mknod-mem; try mknod mem c 1 1
name=mknod-loop; try mknod loop b 7 0
exec 21>/dev/null
name=null; try rdwr /dev/null
name=full-read; try rd /dev/full
name=full-write; try wr /dev/full
name=kmsg-read; try rd /dev/kmsg
true`, dir))
	if code != 0 && code != 1 {
		t.Logf("probe: exit code %d: %s", code, out)
	}
	return strings.TrimSpace(out)
}

// withoutV1 is l without one v1 hierarchy, as on a host that does not mount it.
func withoutV1(l *Layout, ctrl string) *Layout {
	out := *l
	out.v1 = slices.DeleteFunc(slices.Clone(l.v1), func(h hierarchy) bool { return hasController(&h, ctrl) })
	return &out
}

// The same expectations hold for v1's files and for the program on v2.
func TestDeviceRulesHold(t *testing.T) {
	l := machine(t)
	layouts := map[string]*Layout{}
	if l.find("devices") != nil {
		layouts["files"] = l
	}
	if l.v2 != nil {
		layouts["program"] = withoutV1(l, "devices")
	}
	every := "mknod-full mknod-mem mknod-loop null full-read full-write kmsg-read"
	for name, l := range layouts {
		t.Run(name, func(t *testing.T) {
			t.Run("defaults", func(t *testing.T) {
				c := create(t, l, Config{DefaultDevices: true})
				if got, want := probe(t, c), "mknod-full mknod-mem mknod-loop null full-read full-write"; got != want {
					t.Errorf("works: %s\nwant:  %s", got, want)
				}
			})
			t.Run("nothing asked", func(t *testing.T) {
				c := create(t, l, Config{})
				if got := probe(t, c); got != every {
					t.Errorf("works: %s\nwant:  %s", got, every)
				}
			})
			t.Run("all but kmsg", func(t *testing.T) {
				c := create(t, l, Config{Resources: &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{
					rule(true, "a", -1, -1, "rwm"), rule(false, "c", 1, 11, "r"), rule(false, "b", -1, -1, "m")}}})
				if got, want := probe(t, c), "mknod-full mknod-mem null full-read full-write"; got != want {
					t.Errorf("works: %s\nwant:  %s", got, want)
				}
			})
			t.Run("update", func(t *testing.T) { testDeviceUpdate(t, l) })
		})
	}
}

func testDeviceUpdate(t *testing.T, l *Layout) {
	c := create(t, l, Config{DefaultDevices: true})
	null := rule(true, "c", 1, 3, "rwm")
	for _, step := range []struct {
		rules []specs.LinuxDeviceCgroup
		want  string
	}{
		{[]specs.LinuxDeviceCgroup{null, rule(true, "c", 1, 7, "r")}, "null full-read"},
		{[]specs.LinuxDeviceCgroup{null, rule(true, "c", 1, 11, "r"), rule(true, "b", 7, -1, "m")}, "mknod-loop null kmsg-read"},
		{[]specs.LinuxDeviceCgroup{rule(true, "a", -1, -1, "rwm"), rule(false, "c", 1, 7, "w")}, "mknod-full mknod-mem mknod-loop null full-read kmsg-read"},
		{[]specs.LinuxDeviceCgroup{rule(true, "a", -1, -1, "rwm")}, "mknod-full mknod-mem mknod-loop null full-read full-write kmsg-read"},
		{[]specs.LinuxDeviceCgroup{null}, "null"},
	} {
		if err := c.Update(t.Context(), &specs.LinuxResources{Devices: step.rules}, false); err != nil {
			t.Fatalf("%v: %v", step.rules, err)
		}
		if got := probe(t, c); got != step.want {
			t.Errorf("%v\nworks: %s\nwant:  %s", step.rules, got, step.want)
		}
		if f, err := c.Frozen(); err != nil || f {
			t.Errorf("left frozen: %v, %v", f, err)
		}
		if c.at("devices") == nil || c.at("devices").h == l.v2 {
			if n := programs(t, c); n > 1 {
				t.Errorf("%d programs are attached", n)
			}
		}
	}
	if err := c.Kill(unix.SIGKILL); err != nil {
		t.Error(err)
	}
}

// programs counts what is attached to c's v2 directory.
func programs(t *testing.T, c *Cgroup) int {
	t.Helper()
	p := c.v2()
	fd, err := p.h.openAt(p.rel, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	n, err := devfilter.Attached(fd)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
