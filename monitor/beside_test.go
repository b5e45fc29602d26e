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

// running starts a first process that ends when file stop comes; runs is how many lines "x"
// are in the file count.
func running(s *stand, count string) (runs func() int, exit func() *Exit) {
	s.start()
	exit = s.watch(s.conn, "")
	s.first("while test ! -e " + s.cfg.Dir + "/stop; do sleep 0.01; done")
	return func() int {
		b, _ := os.ReadFile(count)
		return len(b) / 2
	}, exit
}

// A relay is started when the bell rings, at once for one that rings already; what was
// watched before is told to end and waited for.
func TestRelay(t *testing.T) {
	s := newStand(t)
	count := filepath.Join(s.cfg.Dir, "count")
	s.cfg.Words.Relay = []string{"/bin/sh", "-c", "echo x >> " + count}
	runs, exit := running(s, count)
	bell := func() (*os.File, int) {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
		must(t, err)
		ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		must(t, err)
		must(t, unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN}))
		t.Cleanup(func() { unix.Close(fd) })
		return os.NewFile(uintptr(ep), "bell"), fd
	}
	ring := func(fd int) {
		_, err := unix.Write(fd, []byte{1, 0, 0, 0, 0, 0, 0, 0})
		must(t, err)
	}
	gone, goneFD := bell()
	must(t, Relay(s.conn, gone))
	gone.Close()
	b, fd := bell()
	must(t, Relay(s.conn, b))
	b.Close()
	must(t, s.conn.Settle())
	ring(goneFD)
	time.Sleep(200 * time.Millisecond)
	if n := runs(); n != 0 {
		t.Errorf("the word ran %d times for a bell that was taken away", n)
	}
	ring(fd)
	eventually(t, "the word has run", func() bool { return runs() == 1 })
	first, firstHeld := pairOf(t)
	must(t, Relay(s.conn, first))
	must(t, s.conn.Settle())
	first.Close()
	ended := make(chan time.Time, 1)
	go func() { // as a relay ends
		_, _ = firstHeld.Read(make([]byte, 1))
		time.Sleep(20 * time.Millisecond)
		ended <- time.Now()
		firstHeld.Close()
	}()
	must(t, Relay(s.conn, nil))
	must(t, s.conn.Settle())
	if now := time.Now(); now.Before(<-ended) {
		t.Error("it did not wait for the relay's end")
	}
	second, secondHeld := pairOf(t)
	must(t, Relay(s.conn, second))
	must(t, s.conn.Settle())
	second.Close()
	secondHeld.Close()
	eventually(t, "the word has run for a relay that was lost", func() bool { return runs() == 2 })
	must(t, os.WriteFile(s.cfg.Dir+"/stop", nil, 0o600))
	exit()
	s.monitorGone(s.conn.pid)
	if n := runs(); n != 2 {
		t.Errorf("the word ran %d times in all", n)
	}
}

// What stands beside the container is missed when its socket hangs up, until the word
// has helped; not when another socket has come, nor after the container's end.
func TestBeside(t *testing.T) {
	s := newStand(t)
	count := filepath.Join(s.cfg.Dir, "count")
	s.cfg.Words.Beside = []string{"/bin/sh", "-c", "echo x >> " + count + "; test $(wc -l < " + count + ") -gt 2 || echo again 5"}
	runs, exit := running(s, count)
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
