package attach

import (
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// passed reports whether a signal means the process in the container: not those
// that tell this program of its own children, pipes, terminal and scheduler.
func passed(s os.Signal) bool {
	switch s {
	case syscall.SIGCHLD, syscall.SIGPIPE, syscall.SIGURG, syscall.SIGWINCH:
		return false
	}
	return true
}

// name is the signal's name, or its number where it has none.
func name(s os.Signal) string {
	no, ok := s.(syscall.Signal)
	if !ok {
		return s.String()
	}
	if n := unix.SignalName(no); n != "" {
		return n
	}
	return strconv.Itoa(int(no))
}

// passSignals hands every signal to the far process until stop is called.
func passSignals(f *Far) (stop func()) {
	signals, done := make(chan os.Signal, 128), make(chan struct{})
	signal.Notify(signals)
	go func() {
		for {
			select {
			case s := <-signals:
				if passed(s) {
					_ = f.Signal(name(s)) // a process that has ended takes none
				}
			case <-done:
				return
			}
		}
	}()
	return func() { signal.Stop(signals); close(done) }
}
