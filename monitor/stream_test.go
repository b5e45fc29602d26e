package monitor

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func (s *stand) attach(w Want) *Streams {
	s.t.Helper()
	st, err := s.conn.Attach(w)
	must(s.t, err)
	s.t.Cleanup(st.Close)
	return st
}

// A client that is attached before the start gets every byte, each stream on
// its own, and its end.
func TestAttach(t *testing.T) {
	s := newStand(t)
	s.start()
	st := s.attach(Want{Stdout: true, Stderr: true})
	s.first("seq 1 200000; seq 1 1000 >&2")
	var want, wantErr bytes.Buffer
	for i := range 200000 {
		fmt.Fprintln(&want, i+1)
		if i < 1000 {
			fmt.Fprintln(&wantErr, i+1)
		}
	}
	done := make(chan string)
	go func() {
		b, _ := io.ReadAll(st.Stderr)
		done <- string(b)
	}()
	if got := readAll(t, st.Stdout); got != want.String() {
		t.Errorf("stdout: %d bytes, want %d", len(got), want.Len())
	}
	if got := <-done; got != wantErr.String() {
		t.Errorf("stderr: %d bytes, want %d", len(got), wantErr.Len())
	}
	s.monitorGone(s.conn.pid)
}

// A client that must lose nothing and does not read makes the container wait,
// but nobody waits for the client: not a kill, not the exit, not another one.
func TestSlowClient(t *testing.T) {
	s := newStand(t)
	s.start()
	exit := s.watch(s.conn, "")
	slow := s.attach(Want{Stdout: true})
	s.first("while :; do echo 0123456789012345678901234567890123456789; done")
	var last uint64
	eventually(t, "the container waits", func() bool {
		st, err := s.conn.Status()
		must(t, err)
		time.Sleep(100 * time.Millisecond)
		again, err := s.conn.Status()
		must(t, err)
		last = again.Logged
		return st.Logged > 0 && st.Logged == again.Logged
	})
	must(t, unix.Kill(s.pid, unix.SIGKILL))
	if e := exit(); e.Signal != 9 {
		t.Errorf("exit %+v", e)
	}
	s.monitorGone(s.conn.pid) // though the client has not read yet
	got := readAll(t, slow.Stdout)
	if uint64(len(got)) < last || strings.Count(got, "\n") != strings.Count(s.logText(), "\n") {
		t.Errorf("the client got %d bytes, %d when it waited; %d lines, the log has %d", len(got), last, strings.Count(got, "\n"), strings.Count(s.logText(), "\n"))
	}
}

// A lossy client loses output and is told so; the container and others do not
// wait for it.
func TestLossyClient(t *testing.T) {
	s := newStand(t)
	s.start()
	exit := s.watch(s.conn, "")
	slow := s.attach(Want{Stdout: true, Lossy: true})
	fast := s.attach(Want{Stdout: true})
	counted := make(chan int64)
	go func() {
		n, _ := io.Copy(io.Discard, fast.Stdout)
		counted <- n
	}()
	gate := fifo(t)
	s.first("seq 1000000 1500000; read x < " + gate + "; echo last words")
	const all = 500001 * 8
	eventually(t, "all is logged", func() bool {
		st, err := s.conn.Status()
		must(t, err)
		return st.Logged == all
	})
	part := make([]byte, 100<<10)
	must(t, slow.Stdout.SetReadDeadline(time.Now().Add(patience)))
	_, err := io.ReadFull(slow.Stdout, part)
	must(t, err)
	must(t, os.WriteFile(gate, []byte("\n"), 0))
	if e := exit(); e.Code != 0 {
		t.Errorf("exit %+v", e)
	}
	got := string(part) + readAll(t, slow.Stdout)
	var lost int
	at := strings.Index(got, "\n[")
	if at < 0 {
		t.Fatalf("no mark in %d bytes, the end is %q", len(got), got[len(got)-100:])
	}
	if _, err := fmt.Sscanf(got[at:], "\n[%d bytes dropped: the reader was too slow]\n", &lost); err != nil {
		t.Fatalf("mark %q: %v", got[at:], err)
	}
	mark := len(fmt.Sprintf("\n[%d bytes dropped: the reader was too slow]\n", lost))
	if n := len(got) - mark + lost; n != all+len("last words\n") {
		t.Errorf("got and lost are %d bytes, want %d", n, all+len("last words\n"))
	}
	if !strings.HasSuffix(got, "]\nlast words\n") {
		t.Errorf("ends with %q", got[len(got)-100:])
	}
	if n := <-counted; n != all+int64(len("last words\n")) {
		t.Errorf("the other client got %d bytes", n)
	}
}

func TestInputEndsOnce(t *testing.T) {
	s := newStand(t)
	s.cfg.Stdin, s.cfg.StdinOnce = true, true
	s.start()
	st := s.attach(Want{Stdin: true, Stdout: true})
	go func() {
		for i := range 20000 {
			fmt.Fprintln(st.Stdin, i, "0123456789012345678901234567890123456789")
		}
		st.Stdin.Close()
	}()
	s.first("cat | tail -n 1; echo end")
	if got := readAll(t, st.Stdout); got != "19999 0123456789012345678901234567890123456789\nend\n" {
		t.Errorf("got %q", got)
	}
}

// Without StdinOnce the input stays open when clients go, and takes what
// several write.
func TestInputStaysOpen(t *testing.T) {
	s := newStand(t)
	s.cfg.Stdin = true
	s.start()
	out := s.attach(Want{Stdout: true})
	one, two := s.attach(Want{Stdin: true}), s.attach(Want{Stdin: true})
	_, err := one.Stdin.WriteString("before the start\n")
	must(t, err)
	one.Stdin.Close()
	s.first("for i in 1 2 3; do read x; echo got $x; done; exec cat")
	_, err = two.Stdin.WriteString("two\n")
	must(t, err)
	three := s.attach(Want{Stdin: true})
	_, err = three.Stdin.WriteString("three\n")
	must(t, err)
	buf := make([]byte, 100)
	got := ""
	must(t, out.Stdout.SetReadDeadline(time.Now().Add(patience)))
	for strings.Count(got, "\n") < 3 {
		n, err := out.Stdout.Read(buf)
		must(t, err)
		got += string(buf[:n])
	}
	for _, want := range []string{"got before the start\n", "got two\n", "got three\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("got %q without %q", got, want)
		}
	}
	two.Stdin.Close()
	three.Stdin.Close()
	st, err := s.conn.Status()
	must(t, err)
	if !st.Running {
		t.Error("it ended with its last client")
	}
}

// Nobody reads the input: clients wait, the monitor does not.
func TestInputBlocked(t *testing.T) {
	s := newStand(t)
	s.cfg.Stdin = true
	s.start()
	in := s.attach(Want{Stdin: true})
	s.first("exec sleep 1000")
	must(t, in.Stdin.SetWriteDeadline(time.Now().Add(500*time.Millisecond)))
	if _, err := in.Stdin.Write(make([]byte, 1<<20)); !os.IsTimeout(err) {
		t.Errorf("wrote it all: %v", err)
	}
	before := cpuTime(t, s)
	time.Sleep(300 * time.Millisecond) // the time to be idle in
	in.Close()
	if spent := cpuTime(t, s) - before; spent > 50*time.Millisecond {
		t.Errorf("the monitor spent %s waiting", spent)
	}
	if _, err := s.conn.Status(); err != nil {
		t.Error(err)
	}
}

// cpuTime is what the monitor has used.
func cpuTime(t *testing.T, s *stand) time.Duration {
	t.Helper()
	b, err := os.ReadFile("/proc/" + itoa(s.conn.pid) + "/schedstat")
	must(t, err)
	var ns int64
	_, err = fmt.Sscan(string(b), &ns)
	must(t, err)
	return time.Duration(ns)
}

func TestTerminal(t *testing.T) {
	s := newStand(t)
	s.cfg.Terminal, s.cfg.Stdin = true, true
	s.start()
	st := s.attach(Want{Stdin: true, Stdout: true})
	if err := s.conn.Resize("", 10, 20); err == nil {
		t.Error("resized a terminal that is not there yet")
	}
	s.first(`stty -echo; echo ready; read x; stty size; echo "got $x"; exec < /dev/null > /dev/null 2>&1; sleep 0.2; exec > /dev/tty; echo bye`)
	buf := make([]byte, 100)
	must(t, st.Stdout.SetReadDeadline(time.Now().Add(patience)))
	n, err := io.ReadAtLeast(st.Stdout, buf, len("ready\r\n"))
	must(t, err)
	must(t, s.conn.Resize("", 33, 77))
	_, err = st.Stdin.WriteString("hello\n")
	must(t, err)
	got := string(buf[:n]) + readAll(t, st.Stdout)
	if got != "ready\r\n33 77\r\ngot hello\r\nbye\r\n" {
		t.Errorf("got %q", got)
	}
	s.monitorGone(s.conn.pid)
	if !strings.Contains(s.logText(), `{"log":"33 77\r\n","stream":"stdout",`) {
		t.Errorf("log %s", s.logText())
	}
}

func TestBigTerminalOutput(t *testing.T) {
	s := newStand(t)
	s.cfg.Terminal = true
	s.start()
	st := s.attach(Want{Stdout: true})
	s.first("seq 1 50000")
	got := readAll(t, st.Stdout)
	if n := strings.Count(got, "\r\n"); n != 50000 || !strings.HasSuffix(got, "50000\r\n") {
		t.Errorf("%d lines, the end is %q", n, got[max(0, len(got)-20):])
	}
}

func TestPassthroughHasNoStreams(t *testing.T) {
	s := newStand(t)
	s.cfg.Passthrough = true
	s.start()
	if _, err := s.conn.Attach(Want{Stdout: true}); err == nil {
		t.Error("attached to streams that the monitor has not")
	}
}
