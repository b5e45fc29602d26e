// Package console is the parent's side of a container's terminal: it reaches
// the socket that takes the terminal's master, and relays between an attached
// caller's own terminal and that master.
//
// The terminal itself is made inside the container by package initproc; the
// caller's terminal is never given to the container (security class V27).
// Row 2.
package console

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/runtime/plan"
	"berth/sys/fdpass"
)

// Socket returns an opener of a connection to the AF_UNIX stream socket at
// path (--console-socket). The path may be longer than sun_path.
func Socket(path string) plan.Opener {
	return func(*plan.Host) (*os.File, error) { return connect(path) }
}

func connect(path string) (*os.File, error) {
	at, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open console socket %s: %w", path, err)
	}
	defer unix.Close(at)
	var st unix.Stat_t
	if err := unix.Fstat(at, &st); err != nil {
		return nil, fmt.Errorf("look at console socket %s: %w", path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return nil, fault.New(fault.Invalid, "console socket %s: not a socket", path)
	}
	sock, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("connect to console socket %s: %w", path, os.NewSyscallError("socket", err))
	}
	if err := connectSocket(sock, "/proc/self/fd/"+strconv.Itoa(at)); err != nil {
		unix.Close(sock)
		return nil, fmt.Errorf("connect to console socket %s: %w", path, err)
	}
	return os.NewFile(uintptr(sock), path), nil
}

func connectSocket(sock int, name string) error {
	for {
		err := unix.Connect(sock, &unix.SockaddrUnix{Name: name})
		if err != unix.EINTR {
			return err
		}
	}
}

// Pair is the way on which an attached caller receives the master.
type Pair struct{ ours, theirs *os.File }

// NewPair makes a pair. A nil *Pair is a process without a terminal: its
// methods do nothing.
func NewPair() (*Pair, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	return &Pair{os.NewFile(uintptr(fds[0]), "console"), os.NewFile(uintptr(fds[1]), "console")}, nil
}

// Open is the plan's opener for the helper's end.
func (p *Pair) Open(h *plan.Host) (*os.File, error) { return plan.Copy(p.theirs)(h) }

// Receive returns the master, which the helper has sent by then. nil of a nil
// pair.
func (p *Pair) Receive() (*os.File, error) {
	if p == nil {
		return nil, nil
	}
	fd, err := p.receive()
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "terminal"), nil
}

func (p *Pair) receive() (int, error) {
	// Without our copy of the helper's end its death is seen here.
	p.theirs.Close()
	_, fds, err := fdpass.Receive(int(p.ours.Fd()), 1)
	if err != nil {
		return -1, fmt.Errorf("receive the terminal: %w", err)
	}
	return fds[0], nil
}

// Start receives the master and relays between it and the caller's standard
// streams. Each value on resize copies the size of the caller's terminal. Close
// the relay after the process has ended.
func (p *Pair) Start(resize <-chan struct{}) (*Relay, error) {
	if p == nil {
		return nil, nil
	}
	fd, err := p.receive()
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("receive the terminal: %w", err)
	}
	return Attach(os.NewFile(uintptr(fd), "terminal"), os.Stdin, os.Stdout, resize)
}

// Close releases both ends.
func (p *Pair) Close() error {
	if p == nil {
		return nil
	}
	p.theirs.Close()
	return p.ours.Close()
}
