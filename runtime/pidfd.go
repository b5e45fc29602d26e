package runtime

import (
	"fmt"

	"golang.org/x/sys/unix"

	"berth/sys/fdpass"
)

// Texts of the message that carries a pidfd; runc's.
const (
	pidfdOfFirst = "standard"
	pidfdOfExec  = "setns"
)

// sendPidfd sends the child's pidfd to the AF_UNIX stream socket at path, so
// that the caller can wait for or signal the process with no fear of a reused
// pid. An empty path does nothing.
func (c *child) sendPidfd(path, text string) error {
	if path == "" {
		return nil
	}
	sock, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("make a socket for the pidfd: %w", err)
	}
	defer unix.Close(sock)
	if err := unix.Connect(sock, &unix.SockaddrUnix{Name: path}); err != nil {
		return fmt.Errorf("connect to the pidfd socket %q: %w", path, err)
	}
	if err := fdpass.Send(sock, []byte(text), c.pidfd); err != nil {
		return fmt.Errorf("send the pidfd to %q: %w", path, err)
	}
	return nil
}
