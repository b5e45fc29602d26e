// Package catch collects signals that are sent to this process until somebody
// has time for them: a descriptor becomes readable, Take tells which came.
//
// Package os/signal does that too, with three more threads and two changes of
// thread for each signal that it is asked for, some 0.4 ms of CPU in all: as
// much as a tenth of an exec. Here a handler in assembly notes the signal and
// wakes the descriptor; where there is none for the machine, os/signal does it.
//
// It passes no signal on and knows no policy. Row 1.
package catch

import (
	"errors"
	"math/bits"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Catcher catches signals from Start to Stop.
type Catcher struct {
	fd    int
	hooks hooks
}

// A process has one handler for a signal, and so one Catcher.
var (
	active  atomic.Bool
	pending atomic.Uint64 // bit n-1 is signal n
	//lint:ignore U1000 the handler in assembly reads it
	one = uint64(1) // what wakes an eventfd
	//lint:ignore U1000 the handler in assembly reads it
	wake int32 // the eventfd
)

var errActive = errors.New("catch signals: they are caught already")

// Start begins to catch the signals, whose actions it replaces until Stop.
// Signals of the Go runtime's own and those above 64 do not belong in the list.
func Start(list []unix.Signal) (*Catcher, error) {
	if !active.CompareAndSwap(false, true) {
		return nil, errActive
	}
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		active.Store(false)
		return nil, os.NewSyscallError("eventfd", err)
	}
	c := &Catcher{fd: fd}
	pending.Store(0)
	wake = int32(fd)
	if err := c.hooks.start(list); err != nil {
		c.Stop()
		return nil, err
	}
	return c, nil
}

// FD is readable when a signal has come since the last Take: for poll(2).
func (c *Catcher) FD() int { return c.fd }

// Take returns the signals that came since the last Take, each once, in the
// order of their numbers.
func (c *Catcher) Take() []unix.Signal {
	if c.fd >= 0 {
		var count [8]byte
		_, _ = unix.Read(c.fd, count[:]) // EAGAIN if there were none
	}
	var list []unix.Signal
	for set := pending.Swap(0); set != 0; set &= set - 1 {
		list = append(list, unix.Signal(bits.TrailingZeros64(set)+1))
	}
	return list
}

// Stop gives the signals back to whom they belonged before Start. What came in
// between can still be taken.
func (c *Catcher) Stop() {
	if c.fd < 0 {
		return
	}
	c.hooks.stop()
	unix.Close(c.fd)
	c.fd = -1
	active.Store(false)
}
