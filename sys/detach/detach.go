// Package detach takes a helper's process away from whoever started it, so that
// neither a session nor a folder nor a file of the starter's goes with it.
//
// Signals, masks and rights are the caller's business. It links no fmt. Row 1.
package detach

import (
	"os"

	"golang.org/x/sys/unix"
)

// From leaves session and terminal, folder and descriptors: all but those to keep, in
// ascending order, which are closed on execve(2) from now on. Standard streams are the null
// device.
func From(keep ...int) error {
	if _, err := unix.Setsid(); err != nil && err != unix.EPERM {
		return os.NewSyscallError("setsid", err)
	}
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: "/dev/null", Err: err}
	}
	for fd := range 3 {
		if err := unix.Dup3(null, fd, 0); err != nil && err != unix.EINVAL {
			return os.NewSyscallError("dup3", err)
		}
	}
	first := 3
	for _, fd := range keep {
		if err := closeAll(first, fd-1); err != nil {
			return err
		}
		unix.CloseOnExec(fd)
		first = fd + 1
	}
	if err := closeAll(first, maxFD); err != nil {
		return err
	}
	if err := unix.Chdir("/"); err != nil {
		return os.NewSyscallError("chdir", err)
	}
	return nil
}

// closeAll closes a range of descriptors, which may be empty.
func closeAll(first, last int) error {
	if first > last {
		return nil
	}
	return os.NewSyscallError("close_range", unix.CloseRange(uint(first), uint(last), 0))
}

// maxFD is the largest descriptor that close_range(2) takes.
const maxFD = 1<<31 - 1
