package netlink

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Listener is told of what changes in the network namespace in which it was made.
type Listener struct {
	f   *os.File
	buf []byte
}

// Listen listens to groups of a netlink protocol, linux/netlink.h. Groups that the
// kernel does not have are left out.
func Listen(protocol int, groups ...int) (*Listener, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	for _, g := range groups {
		if err != nil {
			break
		}
		if err = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, g); errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			err = nil
		}
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("listen to netlink %d: %w", protocol, err)
	}
	return &Listener{os.NewFile(uintptr(fd), "netlink"), make([]byte, 64<<10)}, nil
}

// Wait waits until something is told. What it was is not said: so much may be told
// that the kernel drops some.
func (l *Listener) Wait() error {
	_, err := l.f.Read(l.buf)
	if errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.EMSGSIZE) {
		return nil
	}
	return err
}

// Close ends the listener, and a Wait.
func (l *Listener) Close() error { return l.f.Close() }
