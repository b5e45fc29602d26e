package isolation

import (
	"os"
	"slices"
	"strings"
	"testing"
)

func TestParseStatus(t *testing.T) {
	s, err := parseStatus("Name:\ta\\nCapBnd:\t0\nCapEff:\t00000000a80425fb\nCapBnd:\t000001ffffffffff\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n")
	if err != nil {
		t.Fatal(err)
	}
	if s.bounding != 0x1ffffffffff || s.effective != 0xa80425fb || s.seccomp != filtered || !s.noNewPrivs {
		t.Errorf("got %+v", s)
	}
	for _, bad := range []string{"", "CapBnd:\tx\nCapEff:\t0\nSeccomp:\t0\n", "CapEff:\t0\nSeccomp:\t0\n"} {
		if _, err := parseStatus(bad); err == nil {
			t.Errorf("accepted %q", bad)
		}
	}
	own, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parseStatus(string(own)); err != nil {
		t.Error(err)
	}
}

func TestParseMounts(t *testing.T) {
	m := parseMounts(`1 0 0:1 / / rw,relatime - overlay overlay ro,lowerdir=x
2 1 0:2 / /proc rw,nosuid shared:1 master:2 - proc proc rw
3 2 0:2 /sys /proc/sys ro,nosuid - proc proc rw
4 2 0:3 / /proc/sys/kernel rw - tmpfs tmpfs rw
5 1 0:4 / /late rw - tmpfs tmpfs rw
6 1 0:5 / /late ro - tmpfs tmpfs rw
7 torn
`)
	if !m.rootOnly {
		t.Error("a root whose file system is read-only counts as writable")
	}
	for path, ro := range map[string]bool{
		"/proc/sys": true, "/proc/sys/net": true, "/proc/sys/kernel/x": false, "/proc/bus": false, "/late": true,
	} {
		if m.readonly(path) != ro {
			t.Errorf("%s: read-only %v", path, !ro)
		}
	}
}

func FuzzProc(f *testing.F) {
	f.Add("1 0 0:1 / / rw - overlay overlay ro\n")
	f.Add("CapEff:\t0\nCapBnd:\tffff\nSeccomp:\t2\n")
	f.Add("    0:    15 14/14 13/1000000 278/25000000\n")
	f.Fuzz(func(_ *testing.T, s string) {
		m := parseMounts(s)
		_ = m.readonly(s)
		_, _ = parseStatus(s)
		_ = keysIn([]byte(s), 0)
	})
}

func TestKeysIn(t *testing.T) {
	table := []byte("    0:    15 14/14 13/1000000 278/25000000\n 1000:     4 3/3 2/200 20/20000\nbad\n    7: 1\n")
	for uid, want := range map[uint32]uint64{0: 14, 1000: 3, 7: 0, 8: 0} {
		if n := keysIn(table, uid); n != want {
			t.Errorf("user %d has %d keys, want %d", uid, n, want)
		}
	}
}

func TestWeakens(t *testing.T) {
	link := t.TempDir() + "/link"
	if err := os.Symlink("/proc", link); err != nil {
		t.Fatal(err)
	}
	for path, weak := range map[string]bool{
		"/": true, "/proc": true, "/proc/sys": true, "/sys/fs/cgroup": true, "/dev/sda": true, "/var/run/docker.sock": true, "/run/podman/podman.sock": true,
		"/etc": true, "/etc/": true, "/etc/localtime": false, "/home": true, "/home/me/work": false, "/dev/shm/x": false, "/srv": false,
		"/var/lib/berth/images": true, link: true, "/processes": false,
	} {
		if got := weakens(path); (got != "") != weak {
			t.Errorf("%s: %q", path, got)
		}
	}
}

func TestCapabilityNames(t *testing.T) {
	names := []string{"CHOWN", "SYS_ADMIN"}
	set := setOf([]string{"CAP_SYS_ADMIN", "CAP_CHOWN"})
	if set != 1|1<<21 || !slices.Equal(namesOf(set), names) {
		t.Errorf("set %x, names %s", set, namesOf(set))
	}
	if got := namesOf(1 << 62); !slices.Equal(got, []string{"62"}) {
		t.Errorf("an unknown one: %s", got)
	}
	if got := list(strings.Fields("a b c d e f g h")); got != "a, b, c, d, e, f and 2 more" {
		t.Error(got)
	}
}
