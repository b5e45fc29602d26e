package monitor

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"berth/monitor/wire"
	"berth/sys/fdpass"
)

// Conn is a connection to a monitor. Its methods may be called at the same
// time; they are answered one after the other.
type Conn struct {
	mu   sync.Mutex
	fd   int
	pid  int       // of the monitor, if we started it
	owed []wire.Op // the requests whose answers are still to be read
}

// answerTime bounds the wait for one answer: a monitor answers at once, unless
// it was stopped.
const answerTime = 60 * time.Second

// PID is the monitor's, if this process has started it, else 0.
func (c *Conn) PID() int { return c.pid }

// Close ends the connection. What was cloned through it and not adopted is
// killed by the monitor.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd >= 0 {
		unix.Close(c.fd)
		c.fd = -1
	}
	return nil
}

// Reap waits for a monitor that this process has started, so that no dead one
// remains. Only a caller that outlives its containers needs it.
func (c *Conn) Reap() {
	if c.pid <= 0 {
		return
	}
	reap(c.pid)
}

func reap(pid int) {
	for {
		if _, err := unix.Wait4(pid, nil, 0, nil); err != unix.EINTR {
			return
		}
	}
}

// call makes one request and reads its answer.
func (c *Conn) call(op wire.Op, m, answer wire.Message, fds ...int) error {
	got, err := c.take(op, m, answer, fds...)
	for _, fd := range got { // an answer that brings some is another's
		unix.Close(fd)
	}
	return err
}

// take is call for an answer that descriptors come with.
func (c *Conn) take(op wire.Op, m, answer wire.Message, fds ...int) ([]int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.settle(); err != nil {
		return nil, err
	}
	if err := c.send(wire.Request(op, m), fds); err != nil {
		return nil, err
	}
	return c.receive(answer)
}

// post makes a request whose answer brings nothing, without waiting for it: the
// next call, or Settle, gives its error.
func (c *Conn) post(op wire.Op, m wire.Message, fds ...int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.send(wire.Request(op, m), fds); err != nil {
		return err
	}
	c.owed = append(c.owed, op)
	return nil
}

// Settle waits for the answers to what was asked without waiting: Configure,
// Prepare, Spoken, Adopt, Keep, Beside, Relay. It gives the first error.
func (c *Conn) Settle() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.settle()
}

func (c *Conn) settle() (first error) {
	for _, op := range c.owed {
		_, err := c.receive(&wire.Nothing{})
		if err != nil && op == wire.OpConfigure {
			err = fmt.Errorf("start a monitor: %w", err)
		}
		if (op == wire.OpBeside || op == wire.OpRelay) && !errors.Is(err, errGone) {
			err = nil // it is of an older build, which does not know that
		}
		first = cmp.Or(first, err)
	}
	c.owed = nil
	return first
}

func (c *Conn) send(b []byte, fds []int) error {
	if c.fd < 0 {
		return errGone
	}
	if len(b) > wire.MaxMessage {
		return fmt.Errorf("ask the monitor: a message of %d bytes, more than %d", len(b), wire.MaxMessage)
	}
	if err := fdpass.Send(c.fd, b, fds...); errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) {
		return errGone
	} else if err != nil {
		return fmt.Errorf("ask the monitor: %w", err)
	}
	return nil
}

func (c *Conn) receive(answer wire.Message) ([]int, error) {
	deadline := time.Now().Add(answerTime)
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return nil, fmt.Errorf("ask the monitor: no answer in %s", answerTime)
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLIN}}, int(left.Milliseconds())+1)
		if err == unix.EINTR || err == nil && n == 0 {
			continue
		}
		if err != nil {
			return nil, os.NewSyscallError("poll", err)
		}
		break
	}
	b, fds, err := fdpass.ReceiveAny(c.fd)
	if err != nil {
		return nil, errGone
	}
	failed, err := wire.ReadAnswer(b, answer)
	switch {
	case err != nil:
		err = fmt.Errorf("understand the monitor: %w", err)
	case failed != nil:
		err = &answerError{failed}
	default:
		return fds, nil
	}
	for _, fd := range fds {
		unix.Close(fd)
	}
	return nil, err
}

// answerError is a failure in the monitor. It unwraps to its errno.
type answerError struct{ f *wire.Failed }

func (e *answerError) Error() string { return e.f.Text }

func (e *answerError) Unwrap() error {
	if e.f.Errno == 0 {
		return nil
	}
	return syscall.Errno(e.f.Errno)
}

func readEINTR(fd int, b []byte) (int, error) {
	for {
		n, err := unix.Read(fd, b)
		if err != unix.EINTR {
			return n, err
		}
	}
}
