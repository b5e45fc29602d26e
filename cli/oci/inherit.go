package oci

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"berth/base/fault"
)

const (
	firstFD = 3
	// maxInherited bounds descriptors that a command line asks to pass on.
	maxInherited = 1 << 16
)

// listenFDs is the number of sockets that a service manager left open for this
// very process (sd_listen_fds(3)).
func listenFDs() int {
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return 0
	}
	n, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if err != nil || n < 0 || n > maxInherited {
		return 0
	}
	return n
}

// inherited is the number of descriptors from 3 on that a process keeps: listen
// sockets and n others, which must have been open when this program started:
// Go's own all have FD_CLOEXEC set, inherited ones cannot.
func inherited(listen, n int) (int, error) {
	if n < 0 || n > maxInherited {
		return 0, fault.New(fault.Invalid, "--preserve-fds %d: not between 0 and %d", n, maxInherited)
	}
	for i := range n {
		fd := firstFD + listen + i
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err == nil && flags&unix.FD_CLOEXEC != 0 {
			err = unix.EBADF
		}
		if err != nil {
			return 0, fmt.Errorf("--preserve-fds %d: descriptor %d: %w", n, fd, err)
		}
	}
	return listen + n, nil
}
