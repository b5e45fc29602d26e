// Package pidfd refers to processes by descriptor, which a new process with
// the same number cannot take over: pidfd_open(2).
//
// It says nothing of which process that is. Row 1.
package pidfd

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Open returns a descriptor of process pid. The error unwraps to ESRCH if there
// is none.
func Open(pid int) (*os.File, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, fmt.Errorf("open process %d: %w", pid, os.NewSyscallError("pidfd_open", err))
	}
	return os.NewFile(uintptr(fd), fmt.Sprintf("pidfd of %d", pid)), nil
}

// Signal sends a signal, 0 to ask whether the process exists. The error unwraps
// to ESRCH when it has ended and was reaped.
func Signal(f *os.File, sig unix.Signal) error {
	err := control(f, func(fd int) error { return unix.PidfdSendSignal(fd, sig, nil, 0) })
	if err != nil {
		return fmt.Errorf("send signal %d to %s: %w", int(sig), f.Name(), err)
	}
	return nil
}

// Wait blocks until the process has ended or the time is up, and reports
// whether it has ended. A negative time is endless. It reaps nothing.
func Wait(f *os.File, limit time.Duration) (ended bool, err error) {
	deadline := time.Now().Add(limit)
	err = control(f, func(fd int) error {
		for {
			ms := -1
			if limit >= 0 {
				// Rounded up, so that poll does not spin at the end.
				ms = int(max(0, (time.Until(deadline)+time.Millisecond-1)/time.Millisecond))
			}
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, ms)
			if err == unix.EINTR {
				continue
			}
			ended = n == 1
			return err
		}
	})
	if err != nil {
		return false, fmt.Errorf("wait for %s: %w", f.Name(), err)
	}
	return ended, nil
}

// GetFD takes a copy of descriptor number of the process. It takes the rights
// of ptrace(2) over it, see pidfd_getfd(2).
func GetFD(f *os.File, number int) (*os.File, error) {
	got := -1
	err := control(f, func(fd int) (err error) {
		got, err = unix.PidfdGetfd(fd, number, 0)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("take descriptor %d of %s: %w", number, f.Name(), err)
	}
	return os.NewFile(uintptr(got), fmt.Sprintf("descriptor %d of %s", number, f.Name())), nil
}

// control runs do with the number behind f, which stays open meanwhile.
func control(f *os.File, do func(fd int) error) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := c.Control(func(fd uintptr) { inner = do(int(fd)) }); err != nil {
		return err
	}
	return inner
}
