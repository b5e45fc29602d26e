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
	"math/bits"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Catcher catches signals from Start to Stop.
type Catcher struct {
	fd    int
	hooks hooks
	outer *Catcher // which goes on after Stop
}

var (
	mu      sync.Mutex
	newest  *Catcher      // gets all that is caught
	pending atomic.Uint64 // bit n-1 is signal n
	one     = uint64(1)   // what wakes an eventfd
	wake    atomic.Int32  // the eventfd of the newest
)

// Start begins to catch the signals, whose actions it replaces until Stop. It gets
// those of a Catcher before it, too, until its Stop. Signals of the Go runtime's own
// and those above 64 do not belong in the list.
func Start(list []unix.Signal) (*Catcher, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	mu.Lock()
	c := &Catcher{fd: fd, outer: newest}
	if newest = c; c.outer == nil {
		pending.Store(0)
	}
	wake.Store(int32(fd))
	mu.Unlock()
	if err := c.hooks.start(list, fd); err != nil {
		c.Stop()
		return nil, err
	}
	return c, nil
}

// But lists all signals that can be caught, except some.
func But(except ...unix.Signal) []unix.Signal {
	var list []unix.Signal
	for s := unix.Signal(1); s <= 64; s++ {
		if s != unix.SIGKILL && s != unix.SIGSTOP && !slices.Contains(except, s) {
			list = append(list, s)
		}
	}
	return list
}

// Each catches signals and calls f for every one that comes, in a goroutine of its
// own, until stop, which f may call.
func Each(list []unix.Signal, f func(s unix.Signal, stop func())) (stop func(), err error) {
	c, err := Start(list)
	if err != nil {
		return nil, err
	}
	// A copy, so that the Go runtime's poller waits for it, and Close ends that.
	fd, err := unix.FcntlInt(uintptr(c.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		c.Stop()
		return nil, os.NewSyscallError("fcntl", err)
	}
	came := os.NewFile(uintptr(fd), "signals")
	stop = func() {
		came.Close()
		c.Stop()
	}
	go func() {
		for {
			var count [8]byte
			if _, err := came.Read(count[:]); err != nil {
				return
			}
			for _, s := range c.Take() {
				f(s, stop)
			}
		}
	}()
	return stop, nil
}

// ring wakes an eventfd.
func ring(fd int) { _, _ = unix.Write(fd, unsafe.Slice((*byte)(unsafe.Pointer(&one)), 8)) }

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
	mu.Lock()
	defer mu.Unlock()
	if c.fd < 0 {
		return
	}
	c.hooks.stop()
	for at := &newest; *at != nil; at = &(*at).outer {
		if *at == c {
			*at = c.outer
			break
		}
	}
	if newest != nil {
		wake.Store(int32(newest.fd))
		ring(newest.fd) // what was not taken here is the other's
	}
	unix.Close(c.fd)
	c.fd = -1
}
