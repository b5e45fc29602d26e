// Package hold is the holder, the helper's word "hold": a process that does
// nothing but live, so that a user's namespace does. Whoever ends it sends
// SIGKILL. Row 4, and the second door of room rootless for the helper.
package hold

import (
	"golang.org/x/sys/unix"

	"berth/sys/detach"
)

// Main leaves all that was its starter's, closes the socket to say so, and
// sleeps for ever. It returns the exit code.
func Main(sock int) int {
	if detach.From(sock) != nil {
		return 1
	}
	unix.Close(sock)
	for {
		_ = unix.Pause() // signals that do not end it are nothing to it
	}
}
