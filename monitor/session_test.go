package monitor

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestSession(t *testing.T) {
	s := newStand(t)
	s.start()
	s.first("exec sleep 1000")
	c := s.dial()
	theirs, ours, err := Pipes([3]bool{true, true, false}, os.Getuid(), os.Getgid(), "", nil)
	must(t, err)
	defer ours.Close()
	b, err := cloneShell(c, "cat; exit 9", false, 0)
	must(t, err)
	must(t, c.Spoken(b.pid))
	must(t, c.Session("s1", b.pid, false, ours.Stdout))
	exit := s.watch(c, "s1")
	must(t, b.equip(theirs[:]...))
	closeAll(theirs[:])
	_, err = ours.Stdin.WriteString("through\n")
	must(t, err)
	ours.Stdin.Close()
	if got := readAll(t, ours.Stdout); got != "through\n" {
		t.Errorf("got %q", got)
	}
	if e := exit(); e.Code != 9 || e.PID != b.pid {
		t.Errorf("exit %+v", e)
	}
	if e := s.watch(s.dial(), "s1")(); e.Code != 9 {
		t.Errorf("told late: %+v", e)
	}
	if _, err := c.Watch("s2", false); !errors.Is(err, unix.ESRCH) {
		t.Errorf("watched a session that never was: %v", err)
	}
}

// A signal ends a session.
func TestSessionSignal(t *testing.T) {
	s := newStand(t)
	s.start()
	s.first("exec sleep 1000")
	c := s.dial()
	theirs, ours, err := Pipes([3]bool{false, true, false}, os.Getuid(), os.Getgid(), "", nil)
	must(t, err)
	defer ours.Close()
	b, err := cloneShell(c, "sleep 1234 & echo $!; wait", false, 0)
	must(t, err)
	must(t, c.Spoken(b.pid))
	must(t, c.Session("s1", b.pid, false, ours.Stdout))
	exit := s.watch(c, "s1")
	must(t, b.equip(theirs[:]...))
	closeAll(theirs[:])
	line, err := bufio.NewReader(ours.Stdout).ReadString('\n')
	must(t, err)
	child, err := strconv.Atoi(strings.TrimSpace(line))
	must(t, err)
	defer func() { _ = unix.Kill(child, unix.SIGKILL) }() // nobody else ends it
	must(t, c.Signal("s1", unix.SIGKILL))
	if e := exit(); e.Signal != 9 {
		t.Errorf("exit %+v", e)
	}
	if err := c.Signal("s1", unix.SIGKILL); !errors.Is(err, unix.ESRCH) {
		t.Errorf("signalled an ended session: %v", err)
	}
}

// A session goes on when its engine is killed, whatever it prints.
func TestSessionOutlivesItsEngine(t *testing.T) {
	s := newStand(t)
	s.start()
	s.first("exec sleep 1000")
	gate := fifo(t)
	cmd := exec.Command("/proc/self/exe", "engine", "exec", s.cfg.Dir, "seq 1 100000; seq 1 100000 >&2; read x < "+gate+"; echo more && exit 5")
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	must(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	must(t, err)
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	exit := s.watch(s.conn, "s1")
	must(t, os.WriteFile(gate, []byte("\n"), 0)) // waits for the reader: it has printed all
	if e := exit(); e.Code != 5 || e.PID != pid {
		t.Errorf("exit %+v", e)
	}
	if st, err := s.conn.Status(); err != nil || !st.Running || len(st.Sessions) != 0 {
		t.Errorf("status %+v, %v", st, err)
	}
}

func TestSessionTerminal(t *testing.T) {
	s := newStand(t)
	s.start()
	s.first("exec sleep 1000")
	master, slave, err := openPTY()
	must(t, err)
	defer master.Close()
	b, err := cloneShell(s.conn, "read x; stty size", true, 0)
	must(t, err)
	must(t, s.conn.Spoken(b.pid))
	must(t, s.conn.Session("s1", b.pid, true, master))
	exit := s.watch(s.conn, "s1")
	must(t, b.equip(slave))
	slave.Close()
	must(t, s.conn.Resize("s1", 7, 9))
	_, err = master.WriteString("\n")
	must(t, err)
	if e := exit(); e.Code != 0 {
		t.Errorf("exit %+v", e)
	}
	buf := make([]byte, 100)
	n, _ := master.Read(buf)
	m, _ := master.Read(buf[n:])
	if got := string(buf[:n+m]); !strings.Contains(got, "7 9\r\n") {
		t.Errorf("got %q", got)
	}
}

// Another user cannot speak to a monitor, though the folder lets it.
func TestForeignUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: becomes another user")
	}
	s := newStand(t)
	s.start()
	s.first("exec sleep 1000")
	for dir := s.cfg.Dir; dir != os.TempDir() && len(dir) > 1; dir = dir[:strings.LastIndex(dir, "/")] {
		must(t, os.Chmod(dir, 0o755))
	}
	must(t, os.Chmod(s.cfg.Dir+"/monitor.sock", 0o777))
	dial := func(uid uint32) string {
		cmd := exec.Command("/proc/self/exe", "engine", "dial", s.cfg.Dir)
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		out, err := cmd.CombinedOutput()
		return string(out) + fmt.Sprint(err)
	}
	if got := dial(12345); !strings.Contains(got, "monitor is gone") && !strings.Contains(got, "broken pipe") {
		t.Errorf("it spoke to the monitor: %s", got)
	}
	if got := dial(0); got != "<nil>" { // control
		t.Error(got)
	}
}
