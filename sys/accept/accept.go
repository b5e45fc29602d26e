// Package accept takes connections from a listening socket that Go's poller waits for,
// without package net: for helpers that link none of it. Row 1.
package accept

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// pause is between two attempts while there are no descriptors, or after a client that is
// gone.
const pause = 10 * time.Millisecond

// Next waits for a connection (accept4(2), close-on-exec and not blocking); false when
// the socket was closed.
func Next(listener syscall.RawConn) (client *os.File, open bool) {
	for {
		fd := -1
		var failed error
		err := listener.Read(func(l uintptr) bool {
			fd, _, failed = unix.Accept4(int(l), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
			return failed != unix.EAGAIN && failed != unix.EINTR
		})
		if err != nil {
			return nil, false
		}
		if failed == nil {
			return os.NewFile(uintptr(fd), "client"), true
		}
		time.Sleep(pause)
	}
}
