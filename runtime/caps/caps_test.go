package caps

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestNames(t *testing.T) {
	for n := range names {
		if got, ok := Parse(Name(n)); !ok || got != n {
			t.Errorf("%d is %s is %d", n, Name(n), got)
		}
	}
	for n, name := range map[int]string{unix.CAP_CHOWN: "CAP_CHOWN", unix.CAP_SYS_ADMIN: "CAP_SYS_ADMIN", unix.CAP_SETFCAP: "CAP_SETFCAP", unix.CAP_CHECKPOINT_RESTORE: "CAP_CHECKPOINT_RESTORE"} {
		if Name(n) != name {
			t.Errorf("%d is %s", n, Name(n))
		}
	}
	for _, s := range []string{"", "CHOWN", "cap_chown", "CAP_ALL", "capability 3"} {
		if _, ok := Parse(s); ok {
			t.Errorf("%q is known", s)
		}
	}
	if got := Name(63); got != "capability 63" {
		t.Error(got)
	}
}

func TestSet(t *testing.T) {
	set, unknown := Set([]string{"CAP_CHOWN", "CAP_BPF", "CAP_KILL", "CAP_NONE", "CAP_CHOWN"}, 37)
	if set != 1|1<<5 || strings.Join(unknown, " ") != "CAP_BPF CAP_NONE" {
		t.Errorf("%#x, %q", set, unknown)
	}
	if got := Join(1 | 1<<5 | 1<<40); got != "CAP_CHOWN, CAP_KILL, CAP_CHECKPOINT_RESTORE" {
		t.Error(got)
	}
	if k := Known(5); len(k) != 6 || k[5] != "CAP_KILL" {
		t.Errorf("%q", k)
	}
	if k := Known(63); len(k) != len(names) {
		t.Errorf("%d names", len(k))
	}
}

func TestLast(t *testing.T) {
	b, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err != nil {
		t.Fatal(err)
	}
	want, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || Last() != want {
		t.Errorf("%d, want %d", Last(), want)
	}
	if _, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(Last()+1), 0, 0, 0); err != unix.EINVAL {
		t.Errorf("the kernel knows capability %d: %v", Last()+1, err)
	}
}
