package runtime

import (
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"

	"berth/sys/catch"
)

// signals are those that an attached run or exec passes on to its process.
//
// They stay caught when it has ended, as the caller's process ends then too:
// letting go of 64 signals costs some 10 µs of CPU for each. For the same
// reason the rare ones are caught only when the process has lived a while, and
// the others by package os/signal only from then on.
type signals struct {
	quick  *catch.Catcher // nil when detached
	resize chan struct{}
}

// quickSignals are caught before the process starts.
var quickSignals = []unix.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2}

// whileBeforeRare is how long a process lives before all signals are caught.
const whileBeforeRare = 20 * time.Millisecond

// catchSignals begins to collect signals, so that none is lost between the
// start of the process and the time when it can be passed on.
func catchSignals(detach bool) (*signals, error) {
	s := &signals{resize: make(chan struct{}, 1)}
	if detach {
		return s, nil
	}
	var err error
	s.quick, err = catch.Start(quickSignals)
	return s, err
}

// close lets go of the quick signals.
func (s *signals) close() {
	if s.quick != nil {
		s.quick.Stop()
	}
}

// wait passes collected and coming signals on until the process has ended, and
// reaps it.
func (s *signals) wait(ch *child) (unix.WaitStatus, error) {
	if s.quick == nil {
		return wait(ch.pid)
	}
	fds := []unix.PollFd{{Fd: int32(ch.pidfd), Events: unix.POLLIN}, {Fd: int32(s.quick.FD()), Events: unix.POLLIN}}
	for until := time.Now().Add(whileBeforeRare); ; {
		left := time.Until(until)
		if left <= 0 {
			break
		}
		// A failed poll only brings the slow way sooner.
		if _, err := unix.Poll(fds, int(left/time.Millisecond)+1); err != nil && err != unix.EINTR {
			break
		}
		if fds[0].Revents != 0 {
			return wait(ch.pid)
		}
		s.passQuick(ch.pid)
	}
	done := make(chan struct{})
	s.forward(ch.pid, done)
	ws, err := wait(ch.pid)
	close(done)
	return ws, err
}

func (s *signals) passQuick(pid int) {
	for _, sig := range s.quick.Take() {
		s.pass(pid, sig)
	}
}

// forward passes all signals to pid until done is closed.
func (s *signals) forward(pid int, done <-chan struct{}) {
	all := make(chan os.Signal, 64)
	signal.Notify(all)
	s.quick.Stop() // only now, so that none falls between the two
	s.passQuick(pid)
	go func() {
		for {
			select {
			case sig := <-all:
				s.pass(pid, sig.(unix.Signal))
			case <-done:
				return
			}
		}
	}()
}

func (s *signals) pass(pid int, sig unix.Signal) {
	switch sig {
	case unix.SIGCHLD, unix.SIGURG, unix.SIGPIPE: // ours, or the Go runtime's
	case unix.SIGWINCH:
		select {
		case s.resize <- struct{}{}:
		default:
		}
	default:
		_ = unix.Kill(pid, sig)
	}
}
