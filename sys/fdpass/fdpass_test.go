package fdpass

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func pair(t *testing.T, kind int) (a, b int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[0]); unix.Close(fds[1]) })
	return fds[0], fds[1]
}

func TestSendReceive(t *testing.T) {
	for _, kind := range []int{unix.SOCK_STREAM, unix.SOCK_SEQPACKET} {
		a, b := pair(t, kind)
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if err := Send(a, []byte("/dev/pts/ptmx"), int(w.Fd()), 0); err != nil {
			t.Fatal(err)
		}
		w.Close()
		text, fds, err := Receive(b, 2)
		if err != nil || string(text) != "/dev/pts/ptmx" {
			t.Fatalf("%q, %v", text, err)
		}
		for _, fd := range fds {
			if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
				t.Errorf("descriptor %d: flags %#x, %v", fd, flags, err)
			}
		}
		if _, err := unix.Write(fds[0], []byte("x")); err != nil {
			t.Error(err)
		}
		for _, fd := range fds {
			unix.Close(fd)
		}
		var buf [2]byte
		if n, err := r.Read(buf[:]); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	}
}

func open(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestWrongCountLeaksNothing(t *testing.T) {
	a, b := pair(t, unix.SOCK_STREAM)
	before := open(t)
	for _, sent := range [][]int{{0, 1}, nil, {0, 1, 2}} {
		if err := Send(a, []byte("x"), sent...); err != nil {
			t.Fatal(err)
		}
		if _, fds, err := Receive(b, 1); err == nil || fds != nil {
			t.Errorf("sent %d, got %v, %v", len(sent), fds, err)
		}
	}
	if now := open(t); now != before {
		t.Errorf("%d descriptors, then %d", before, now)
	}
}

func TestClosed(t *testing.T) {
	a, b := pair(t, unix.SOCK_STREAM)
	if err := unix.Shutdown(a, unix.SHUT_WR); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Receive(b, 1); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("%v", err)
	}
	if err := Send(a, []byte("x"), 0); err == nil {
		t.Error("sent on a socket that was shut down")
	}
	if err := Send(a, []byte("x"), make([]int, MaxFDs+1)...); err == nil {
		t.Error("sent too many")
	}
}
