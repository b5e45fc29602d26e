package accept

import (
	"io"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A connection comes through, and the close of the socket ends the wait.
func TestNext(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	must(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	must(t, unix.Listen(fd, 1))
	at, err := unix.Getsockname(fd)
	must(t, err)
	listener := os.NewFile(uintptr(fd), "listener")
	c, err := listener.SyscallConn()
	must(t, err)
	caller, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	must(t, unix.Connect(caller, at))
	client, open := Next(c)
	if !open {
		t.Fatal("the socket is said to be closed")
	}
	defer client.Close()
	_, err = unix.Write(caller, []byte("hello"))
	must(t, err)
	must(t, unix.Close(caller))
	must(t, client.SetDeadline(time.Now().Add(10*time.Second)))
	if b, err := io.ReadAll(client); err != nil || string(b) != "hello" {
		t.Errorf("%q, %v", b, err)
	}
	ended := make(chan bool)
	go func() {
		_, open := Next(c)
		ended <- open
	}()
	must(t, listener.Close())
	select {
	case open := <-ended:
		if open {
			t.Error("a closed socket gave a connection")
		}
	case <-time.After(10 * time.Second):
		t.Error("it waits at a closed socket")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
