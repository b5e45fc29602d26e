// Package hold is the holder, the helper's word "hold": a process that does
// nothing but live, so that a user's namespace does. Whoever ends it sends
// SIGKILL. Row 4, and the second door of room rootless for the helper.
package hold

import (
	"golang.org/x/sys/unix"
)

// maxFD is the largest descriptor that close_range(2) takes.
const maxFD = 1<<31 - 1

// Main leaves all that was its starter's, closes the socket to say so, and
// sleeps for ever. It returns the exit code.
func Main(sock int) int {
	if _, err := unix.Setsid(); err != nil && err != unix.EPERM {
		return 1
	}
	if err := unix.Chdir("/"); err != nil {
		return 1
	}
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return 1
	}
	for fd := range 3 {
		if err := unix.Dup3(null, fd, 0); err != nil && err != unix.EINVAL {
			return 1
		}
	}
	for _, gap := range [][2]int{{3, sock - 1}, {sock + 1, maxFD}} {
		if gap[0] <= gap[1] {
			if err := unix.CloseRange(uint(gap[0]), uint(gap[1]), 0); err != nil {
				return 1
			}
		}
	}
	unix.Close(sock)
	for {
		_ = unix.Pause() // signals that do not end it are nothing to it
	}
}
