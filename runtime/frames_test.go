package runtime

import (
	"testing"

	"golang.org/x/sys/unix"

	"berth/test/sample"
)

// TestLastWords: a child that speaks, or executes its program, and ends at once is
// heard, at whatever moment we look; one that only ends has died.
func TestLastWords(t *testing.T) {
	rounds := sample.Rounds(1_000_000) // of some hundred thousand one met the moment
	ends := make(chan [2]int)          // the child's socket, and what is readable when it has ended
	go func() {
		for e := range ends {
			_ = unix.Close(e[0])
			_, _ = unix.Write(e[1], []byte{1, 0, 0, 0, 0, 0, 0, 0})
			_ = unix.Close(e[1])
		}
	}()
	defer close(ends)
	for i := range rounds {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		c := &child{sock: pair[0], pidfd: eventfd(t), theirs: -1}
		end, err := unix.FcntlInt(uintptr(c.pidfd), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			t.Fatal(err)
		}
		ends <- [2]int{pair[1], end}
		if _, _, err := c.next(); err != errExecuted {
			t.Fatalf("round %d: %v", i, err)
		}
		c.close()
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	c := &child{sock: pair[0], pidfd: eventfd(t), theirs: pair[1]}
	defer c.close()
	if _, err := unix.Write(c.pidfd, []byte{1, 0, 0, 0, 0, 0, 0, 0}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.next(); err != errDied {
		t.Errorf("it ended without a word: %v", err)
	}
}

// eventfd stands for a pidfd: it is readable when somebody wrote to it.
func eventfd(t *testing.T) int {
	t.Helper()
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}
