package runtime

import (
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
)

// signals are those that an attached run or exec passes on to its process.
//
// They stay caught when it has ended, as the caller's process ends then too:
// catching and letting go costs some 10 µs of CPU for each of 64 signals, which
// a short run would feel. For the same reason the rare ones are caught only
// when the process has lived a while.
type signals struct {
	ch     chan os.Signal
	resize chan struct{}
}

// quickSignals are caught before the process starts.
var quickSignals = []os.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2}

// whileBeforeRare is how long a process lives before all signals are caught.
const whileBeforeRare = 20 * time.Millisecond

// catchSignals begins to collect signals, so that none is lost between the
// start of the process and the time when it can be passed on.
func catchSignals(detach bool) *signals {
	s := &signals{resize: make(chan struct{}, 1)}
	if detach {
		return s
	}
	s.ch = make(chan os.Signal, 64)
	signal.Notify(s.ch, quickSignals...)
	return s
}

// forward passes collected and coming signals to pid until done is closed.
func (s *signals) forward(pid int, done <-chan struct{}) {
	if s.ch == nil {
		return
	}
	go func() {
		rare := time.After(whileBeforeRare)
		for {
			select {
			case sig := <-s.ch:
				s.pass(pid, sig.(unix.Signal))
			case <-rare:
				signal.Notify(s.ch)
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
