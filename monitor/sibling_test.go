package monitor

import (
	"os"
	"runtime"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// A sibling is in the network namespace that it is given.
func TestSiblingIn(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: to enter a network namespace")
	}
	namespace := make(chan *os.File)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread goes with the goroutine
		check(unix.Unshare(unix.CLONE_NEWNET))
		f, err := os.Open("/proc/thread-self/ns/net")
		check(err)
		namespace <- f
	}()
	in := <-namespace
	defer in.Close()
	want, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(int(in.Fd())))
	must(t, err)
	own, err := os.Readlink("/proc/thread-self/ns/net") // the main thread may be the other's
	must(t, err)
	program, err := os.Open("/proc/self/exe")
	must(t, err)
	defer program.Close()
	for f, want := range map[*os.File]string{in: want, nil: own} {
		sock, _, err := Sibling(program, Place{Net: f}, "where")
		must(t, err)
		b := make([]byte, 100)
		n, err := unix.Read(int(sock.Fd()), b)
		sock.Close()
		if got := string(b[:max(n, 0)]); err != nil || got != want {
			t.Errorf("it is in %q, not in %q: %v", got, want, err)
		}
	}
}

// where is such a sibling.
func where() {
	sock, err := strconv.Atoi(os.Args[2])
	check(err)
	link, err := os.Readlink("/proc/self/ns/net")
	check(err)
	check(unix.Sendto(sock, []byte(link), unix.MSG_NOSIGNAL, nil))
	os.Exit(0)
}
