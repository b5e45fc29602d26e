package monitor

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"berth/monitor/logread"
)

// sentTo gives the stand a program that takes the log.
func (s *stand) sentTo(script string) {
	s.cfg.Log = Log{Driver: "local", MaxFile: 1, Send: []string{"/bin/sh", "-c", script}, Head: "head\n"}
	s.cfg.Words.Env = []string{"PATH=/usr/bin:/bin"}
}

// lines are the entries of a file that was sent.
func lines(t *testing.T, path string) (all []string) {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	r := bufio.NewReader(f)
	var e logread.Entry
	for {
		err := logread.NextLocal(r, &e)
		if errors.Is(err, io.EOF) {
			return all
		}
		must(t, err)
		all = append(all, string(e.Line))
	}
}

// A log that is sent goes to its program whole, though that is slow; the monitor
// ends after it.
func TestSend(t *testing.T) {
	s := newStand(t)
	got, gate := filepath.Join(s.cfg.Dir, "got"), fifo(t)
	s.sentTo("read head; test $head = head || exit 1; read x < " + gate + "; cat > " + got)
	s.cfg.Log.Path = filepath.Join(s.cfg.Dir, "cached")
	s.start()
	exit := s.watch(s.conn, "")
	s.first("seq 1 50000; exit 3")
	must(t, os.WriteFile(gate, []byte("\n"), 0))
	if e := exit(); e.Code != 3 || e.Incomplete {
		t.Errorf("exit %+v", e)
	}
	s.monitorGone(s.conn.pid)
	for _, path := range []string{got, s.cfg.Log.Path} {
		if all := lines(t, path); len(all) != 50000 || all[49999] != "50000\n" {
			t.Errorf("%s: %d lines", filepath.Base(path), len(all))
		}
	}
}

// One that dies is started again, and holds nobody up.
func TestSendDies(t *testing.T) {
	s := newStand(t)
	count := filepath.Join(s.cfg.Dir, "count")
	s.sentTo("echo x >> " + count + "; head -c 1000 > /dev/null; exit 1")
	s.start()
	exit := s.watch(s.conn, "")
	gate := fifo(t)
	s.first("seq 1 50000; read x < " + gate + "; seq 1 50000; exit 4")
	eventually(t, "a second program", func() bool {
		b, _ := os.ReadFile(count)
		return strings.Count(string(b), "x") > 1
	})
	must(t, os.WriteFile(gate, []byte("\n"), 0))
	if e := exit(); e.Code != 4 {
		t.Errorf("exit %+v", e)
	}
	s.monitorGone(s.conn.pid)
}

// Sockets that the monitor holds are open as long as it lives, or until others
// take their place.
func TestHold(t *testing.T) {
	s := newStand(t)
	s.start()
	s.first("exec sleep 1000")
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	must(t, s.conn.Hold(w, w))
	w.Close()
	held, err := s.conn.Held()
	must(t, err)
	if len(held) != 2 {
		t.Fatalf("%d are held", len(held))
	}
	_, err = held[0].WriteString("through")
	must(t, err)
	closeAll(held)
	must(t, s.conn.Hold())
	if got := readAll(t, r); got != "through" {
		t.Errorf("got %q", got)
	}
	if held, err := s.conn.Held(); err != nil || len(held) != 0 {
		t.Errorf("%d are held, %v", len(held), err)
	}
}

// A socket that is not held any more is free at once, also while a child has not come to its program yet.
func TestHoldAndChild(t *testing.T) {
	s := newStand(t)
	s.start()
	s.first("exec sleep 1000")
	held, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	file, err := held.(*net.TCPListener).File()
	must(t, err)
	must(t, s.conn.Hold(file))
	file.Close()
	held.Close()
	c := s.dial()
	b, err := cloneOnly(c, 0, "never", "SOCK")
	must(t, err)
	defer unix.Close(b.sock)
	if again, err := net.Listen("tcp4", held.Addr().String()); err == nil {
		again.Close()
		t.Error("the port is not held")
	}
	must(t, s.conn.Hold())
	again, err := net.Listen("tcp4", held.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	must(t, c.Abandon(b.pid))
}
