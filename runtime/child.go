package runtime

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// child is a process that launch made.
type child struct {
	pid     int
	first   int // stage 1 of a clone, which goes once its second has executed; 0 none
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

// kill ends a child that is not wanted any more, and reaps it.
func (c *child) kill() error {
	if c.pid <= 0 {
		return nil
	}
	_ = unix.Kill(c.pid, unix.SIGKILL)
	_, err := wait(c.pid)
	c.pid = 0
	return errors.Join(err, c.reapFirst())
}

// reapFirst reaps stage 1, which ends by itself.
func (c *child) reapFirst() error {
	if c.first <= 0 {
		return nil
	}
	_, err := wait(c.first)
	c.first = 0
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
