package runtime

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"berth/sys/fdpass"
)

// child is a process that launch made.
type child struct {
	parent  Parent // never nil
	pid     int
	pidfd   int
	sock    int // ours
	theirs  int // the child's end, open until it says hello; -1 then
	waiting bool
}

func (c *child) close() {
	closeFD(&c.pidfd)
	closeFD(&c.sock)
	closeFD(&c.theirs)
}

func closeFD(fd *int) {
	if *fd >= 0 {
		unix.Close(*fd)
		*fd = -1
	}
}

// kill ends a child that is not wanted any more, and has it reaped.
func (c *child) kill() error {
	if c.pid <= 0 {
		return nil
	}
	if c.pidfd >= 0 { // so that it ends even when the parent is gone
		_ = unix.PidfdSendSignal(c.pidfd, unix.SIGKILL, nil, 0)
	}
	err := c.parent.Abandon(c.pid)
	c.pid = 0
	return err
}

// wait reaps a child and returns its wait status.
func wait(pid int) (unix.WaitStatus, error) {
	var ws unix.WaitStatus
	for {
		_, err := unix.Wait4(pid, &ws, 0, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return ws, os.NewSyscallError("wait4", err)
		}
		return ws, nil
	}
}

func (c *child) openPidfd() error {
	fd, err := unix.PidfdOpen(c.pid, 0)
	if err != nil {
		return os.NewSyscallError("pidfd_open", err)
	}
	c.pidfd = fd
	return nil
}

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
