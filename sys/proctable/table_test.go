package proctable

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	for args, want := range map[string]string{
		"":                      "UID PID PPID C STIME TTY TIME CMD",
		"-ef":                   "UID PID PPID C STIME TTY TIME CMD",
		"-e -f":                 "UID PID PPID C STIME TTY TIME CMD",
		"-A":                    "PID TTY TIME COMMAND",
		"aux":                   "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND",
		"-aux":                  "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND",
		"-o pid,comm":           "PID COMMAND",
		"-eo pid,args -o ppid":  "PID COMMAND PPID",
		"-opid,user=NAME":       "PID NAME",
		"o pid":                 "PID",
		"-o %cpu,tt,cmd,etimes": "%CPU TTY COMMAND ELAPSED",
	} {
		f, err := Parse(strings.Fields(args))
		if err != nil {
			t.Errorf("%q: %v", args, err)
			continue
		}
		var titles []string
		for _, c := range f.columns {
			titles = append(titles, c.title)
		}
		if got := strings.Join(titles, " "); got != want {
			t.Errorf("%q has columns %q, want %q", args, got, want)
		}
	}
	for _, args := range []string{"-Z", "--sort pid", "-p 1", "-o", "-o nosuch", "-o ,"} {
		if _, err := Parse(strings.Fields(args)); err == nil {
			t.Errorf("%q is no error", args)
		}
	}
}

// The table says of a process of ours what we know of it.
func TestWrite(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	cmd.Args = []string{"sleep\x1b[2J", "60"}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	f, err := Parse([]string{"-o", "pid,ppid,uid,gid,user,comm,nlwp,s,tty,args"})
	if err != nil {
		t.Fatal(err)
	}
	var row []string
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		var b bytes.Buffer
		if err := f.Write(&b, []int{1 << 30, cmd.Process.Pid, 1}); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(b.String()), "\n")
		if len(lines) != 3 {
			t.Fatalf("the table is\n%s", b.String())
		}
		if row = strings.Fields(lines[2]); row[5] == "sleep" && row[7] == "S" {
			break
		}
	}
	user := row[4]
	want := fmt.Sprint(cmd.Process.Pid, os.Getpid(), os.Getuid(), os.Getgid(), " ", user, " sleep ", 1, " S ", "", row[8], " sleep?[2J 60")
	if got := strings.Join(row, " "); got != strings.Join(strings.Fields(want), " ") {
		t.Errorf("the row is %q, want %q", got, want)
	}
	if os.Getuid() == 0 && user != "root" {
		t.Errorf("user %q", user)
	}
}

func TestTimes(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{cpuTime(0), "00:00:00"}, {cpuTime(25*time.Hour + 61*time.Second), "1-01:01:01"},
		{bsdTime(3661 * time.Second), "61:01"}, {elapsed(61 * time.Second), "01:01"}, {elapsed(2 * time.Hour), "02:00:00"},
		{terminal(0), "?"}, {terminal(136 << 8), "pts/0"}, {terminal(136<<8 | 3), "pts/3"}, {terminal(137<<8 | 1), "pts/257"},
		{terminal(4<<8 | 1), "tty1"}, {terminal(4<<8 | 64), "ttyS0"}, {terminal(5<<8 | 1), "console"}, {terminal(204<<8 | 64), "204:64"},
		{tenths(123), "12.3"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	own, _ := os.ReadFile("/proc/self/stat")
	f.Add(own)
	f.Add([]byte("1 (a) b) (c) S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 5 6 7 8"))
	f.Add([]byte("1 ) ("))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parseStat(b)
		if err == nil && (p.pid != int64(int32(p.pid)) || len(p.comm) > 3*maxWords) {
			t.Errorf("%q gives %+v", b, p)
		}
	})
}

func TestParseStat(t *testing.T) {
	p, err := parseStat([]byte("7 (a) b\n(c) S 2 3 4 34817 5 4194560 1 2 3 4 150 50 7 8 20 5 9 0 300 4096 2 8 9"))
	if err != nil {
		t.Fatal(err)
	}
	if p.pid != 7 || p.comm != "a) b?(c" || p.ppid != 2 || p.cpu != 2*time.Second || p.nice != 5 || p.threads != 9 || p.start != 3*time.Second || p.vsz != 4096 {
		t.Errorf("%+v", p)
	}
	if got := terminal(p.tty); got != "pts/"+strconv.Itoa(34817-136<<8) && got != "pts/1" {
		t.Errorf("terminal %s", got)
	}
}
