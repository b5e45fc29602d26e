package monitor

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pairOf makes a socket to watch, and what holds its other end.
func pairOf(t *testing.T) (watched, held *os.File) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	watched, held = os.NewFile(uintptr(pair[0]), "watched"), os.NewFile(uintptr(pair[1]), "held")
	t.Cleanup(func() { watched.Close(); held.Close() })
	return watched, held
}

// What stands beside the container is missed when its socket hangs up, until the word
// has helped; not when another socket has come, nor after the container's end.
func TestBeside(t *testing.T) {
	s := newStand(t)
	count := filepath.Join(s.cfg.Dir, "count")
	s.cfg.Words.Beside = []string{"/bin/sh", "-c", "echo x >> " + count + "; test $(wc -l < " + count + ") -gt 2 || echo again 5"}
	runs := func() int {
		b, _ := os.ReadFile(count)
		return len(b) / 2
	}
	s.start()
	exit := s.watch(s.conn, "")
	s.first("while test ! -e " + s.cfg.Dir + "/stop; do sleep 0.01; done")
	first, firstHeld := pairOf(t)
	must(t, Beside(s.conn, first))
	second, secondHeld := pairOf(t)
	must(t, Beside(s.conn, second))
	must(t, s.conn.Settle())
	firstHeld.Close()
	time.Sleep(200 * time.Millisecond)
	if n := runs(); n != 0 {
		t.Errorf("the word ran %d times for a socket that was replaced", n)
	}
	secondHeld.Close()
	eventually(t, "the word has run three times", func() bool { return runs() == 3 })
	third, thirdHeld := pairOf(t)
	must(t, Beside(s.conn, third))
	must(t, s.conn.Settle())
	must(t, os.WriteFile(s.cfg.Dir+"/stop", nil, 0o600))
	exit()
	thirdHeld.Close()
	s.monitorGone(s.conn.pid)
	if n := runs(); n != 3 {
		t.Errorf("the word ran %d times in all", n)
	}
}
