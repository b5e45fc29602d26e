package proc

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const rest = " 1 2 3 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 98765 0 0"

func TestParseStat(t *testing.T) {
	for _, tc := range []struct {
		name, in, comm string
		state          byte
		bad            bool
	}{
		{name: "plain", in: "42 (sh) S" + rest, comm: "sh", state: 'S'},
		{name: "brackets", in: "42 (a) Z (b)) R" + rest, comm: "a) Z (b)", state: 'R'},
		{name: "line break", in: "42 (a\nb) Z" + rest, comm: "a\nb", state: 'Z'},
		{name: "empty name", in: "42 () S" + rest, comm: "", state: 'S'},
		{name: "nothing", in: "", bad: true},
		{name: "cut short", in: "42 (sh) S 1 2", bad: true},
		{name: "no name", in: "42 S" + rest, bad: true},
		{name: "negative pid", in: "-1 (sh) S" + rest, bad: true},
		{name: "brackets turned", in: "42 )sh( S" + rest, bad: true},
		{name: "huge pid", in: "99999999999 (sh) S" + rest, bad: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, err := ParseStat([]byte(tc.in))
			if tc.bad {
				if err == nil {
					t.Fatalf("accepted as %+v", s)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if s.PID != 42 || s.Comm != tc.comm || s.State != tc.state || s.PPID != 1 || s.StartTime != 98765 {
				t.Errorf("got %+v", s)
			}
		})
	}
}

func TestReadStat(t *testing.T) {
	// A name made to fool parsers that look for the first bracket.
	if err := os.WriteFile("/proc/self/comm", []byte("x) Z 1 ("), 0); err != nil {
		t.Fatal(err)
	}
	s, err := ReadStat(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if s.PID != os.Getpid() || s.PPID != os.Getppid() || s.Dead() || s.StartTime == 0 {
		t.Errorf("got %+v", s)
	}

	cmd := exec.Command("true")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// Its exit makes it readable without reaping it.
	if err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	z, err := ReadStat(cmd.Process.Pid)
	if err != nil || !z.Dead() || z.PPID != os.Getpid() {
		t.Errorf("zombie: %+v, %v", z, err)
	}
	if z.StartTime < s.StartTime {
		t.Errorf("child started at %d, before its parent at %d", z.StartTime, s.StartTime)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadStat(cmd.Process.Pid); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("reaped process: %v", err)
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("42 (sh) S" + rest))
	f.Add([]byte("1 (a) b) R" + rest + "\n"))
	f.Add([]byte("1 ()"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseStat(b)
		if err != nil {
			return
		}
		if s.PID < 0 || s.PPID < 0 || !strings.Contains(string(b), s.Comm) {
			t.Errorf("got %+v", s)
		}
	})
}

// A process in a user namespace of its own says so; how this one is, the kernel's
// map says.
func TestInUserNamespace(t *testing.T) {
	inside, err := InUserNamespace()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		t.Fatal(err)
	}
	if whole := strings.Fields(string(text)); inside == (len(whole) == 3 && whole[2] == "4294967295") {
		t.Errorf("inside %v, with the map %q", inside, text)
	}
}
