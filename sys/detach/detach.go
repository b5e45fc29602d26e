// Package detach takes a helper's process away from whoever started it, so that
// neither a session nor a folder nor a file of the starter's goes with it.
//
// Signals, masks and rights are the caller's business. It links no fmt. Row 1.
package detach

import (
	"os"

	"golang.org/x/sys/unix"
)

// From leaves session and terminal, folder and descriptors: all but sock, which is
// closed on execve(2) from now on. Standard streams are the null device.
func From(sock int) error {
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
	for _, gap := range [][2]int{{3, sock - 1}, {sock + 1, maxFD}} {
		if gap[0] <= gap[1] {
			if err := unix.CloseRange(uint(gap[0]), uint(gap[1]), 0); err != nil {
				return os.NewSyscallError("close_range", err)
			}
		}
	}
	unix.CloseOnExec(sock)
	if err := unix.Chdir("/"); err != nil {
		return os.NewSyscallError("chdir", err)
	}
	return nil
}

// maxFD is the largest descriptor that close_range(2) takes.
const maxFD = 1<<31 - 1
