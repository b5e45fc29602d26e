package attach

import (
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"

	"berth/sys/catch"
)

// passed are the signals that mean the process in the container: not those that
// tell this program of its own children, pipes, terminal, faults and scheduler, nor a
// C library's own (32 and 33, signal(7)).
func passed() []unix.Signal {
	return catch.But(unix.SIGCHLD, unix.SIGPIPE, unix.SIGWINCH, unix.SIGURG, unix.SIGPROF,
		unix.SIGILL, unix.SIGTRAP, unix.SIGBUS, unix.SIGFPE, unix.SIGSEGV, 32, 33)
}

// name is the signal's name, or its number where it has none.
func name(s unix.Signal) string {
	if n := unix.SignalName(s); n != "" {
		return n
	}
	return strconv.Itoa(int(s))
}

// passSignals hands every signal to the far process until stop is called.
func passSignals(f *Far) (stop func(), err error) {
	stop, err = catch.Each(passed(), func(s unix.Signal, _ func()) {
		_ = f.Signal(name(s)) // a process that has ended takes none
	})
	if err != nil {
		return nil, fmt.Errorf("pass signals on: %w", err)
	}
	return stop, nil
}
