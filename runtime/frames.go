package runtime

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"berth/runtime/initproc"
	"berth/sys/clone"
)

// maxFrame bounds what the helper may say at once.
const maxFrame = 64 << 10

// errExecuted is the end of the conversation: the socket closed at execve.
var errExecuted = errors.New("the program runs")

func u32(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(b)
}

// next reads the child's next frame. Until the child has said hello we hold
// its end of the socket too, so that only the pidfd tells of its death.
func (c *child) next() (kind byte, payload []byte, err error) {
	fds := []unix.PollFd{{Fd: int32(c.sock), Events: unix.POLLIN}, {Fd: int32(c.pidfd), Events: unix.POLLIN}}
	for watched, patience := fds, -1; fds[0].Revents == 0; {
		n, err := unix.Poll(watched, patience)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0, nil, os.NewSyscallError("poll", err)
		case n == 0 && c.theirs < 0:
			// Stage 1, which ends when it gets a processor, still has a copy of the
			// child's end.
			return 0, nil, errExecuted
		case n == 0:
			return 0, nil, errDied
		default:
			// poll looks at one after the other: what the child said, and that it
			// executed its program, may have come between the two looks.
			watched, patience = fds[:1], 0
		}
	}
	var head [clone.FrameHeader]byte
	n, err := readFull(c.sock, head[:])
	if err != nil {
		return 0, nil, err
	}
	if n == 0 {
		return 0, nil, errExecuted
	}
	size := u32(head[4:])
	if n < len(head) || size > maxFrame {
		return 0, nil, errDied
	}
	payload = make([]byte, size)
	if n, err := readFull(c.sock, payload); err != nil || n < len(payload) {
		return 0, nil, errDied
	}
	return head[0], payload, nil
}

var errDied = errors.New("the first process died before it could start the program: it was killed, perhaps for want of memory")

// readFull reads until b is full or the other side has closed, and returns how
// much came.
func readFull(fd int, b []byte) (int, error) {
	got := 0
	for got < len(b) {
		n, err := unix.Read(fd, b[got:])
		switch {
		case err == unix.EINTR:
		case err == unix.ECONNRESET:
			return got, nil
		case err != nil:
			return got, os.NewSyscallError("read", err)
		case n == 0:
			return got, nil
		default:
			got += n
		}
	}
	return got, nil
}

// goOn lets the helper take its next step.
func (c *child) goOn() error {
	for {
		err := unix.Sendmsg(c.sock, []byte{1}, nil, nil, unix.MSG_NOSIGNAL)
		if err != unix.EINTR {
			return os.NewSyscallError("sendmsg", err)
		}
	}
}

// leave tells a child that waits for start that it may do so without us: it
// would end with us before that.
func (c *child) leave() error {
	if !c.waiting {
		return nil
	}
	if err := c.goOn(); err != nil {
		return fmt.Errorf("let the first process wait for start: %w", err)
	}
	return nil
}

// StartError is a failure inside the first process.
type StartError struct {
	Cause initproc.Cause
	Errno syscall.Errno // 0 if none
	Text  string        // step, what it was tried on, and why it failed
}

func (e *StartError) Error() string { return e.Text }

func (e *StartError) Unwrap() error {
	if e.Errno == 0 {
		return nil
	}
	return e.Errno
}

func helperError(payload []byte) error {
	if len(payload) < 8 {
		return errDied
	}
	e := &StartError{Errno: syscall.Errno(u32(payload)), Cause: initproc.Cause(u32(payload[4:])), Text: string(payload[8:])}
	if e.Text == "" {
		e.Text = fmt.Sprintf("the first process failed with errno %d", e.Errno)
	}
	return e
}

// NotFound tells that the program is not there, NotExecutable that it cannot be
// executed; other failures are neither.
func (e *StartError) NotFound() bool { return e.Cause == initproc.CauseNotFound }

// NotExecutable tells that the program was found and cannot be executed.
func (e *StartError) NotExecutable() bool { return e.Cause == initproc.CauseNoExec }
