package rootless

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"berth/sys/clone"
)

// inside runs this program once more, in the user's namespace and a mount
// namespace of its own, and waits for its end. It is given the holder's program.
func inside(ns, program *os.File) (int, error) {
	runtime.LockOSThread() // whose end is what the process inside ends with, prctl(2)
	defer runtime.UnlockOSThread()
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return 0, fmt.Errorf("enter a user namespace: %w", err)
	}
	defer self.Close()
	env := slices.DeleteFunc(os.Environ(), func(e string) bool {
		return strings.HasPrefix(e, uidName+"=") || strings.HasPrefix(e, sockName+"=") || strings.HasPrefix(e, helperName+"=")
	})
	env = append(env, uidName+"="+strconv.Itoa(os.Getuid()), sockName+"=")
	var keep []int
	if program != nil {
		keep, env = []int{int(program.Fd())}, append(env, helperName+"="+strconv.Itoa(int(program.Fd())))
	}
	// The terminal's signals reach the process inside by themselves; others are
	// passed on.
	caught := make(chan os.Signal, 8)
	signal.Notify(caught, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	defer signal.Stop(caught)
	c, err := start(&clone.Attr{
		Program: int(self.Fd()), Argv: os.Args, Env: env, Keep: keep, New: unix.CLONE_NEWNS,
		Join: []clone.Join{{FD: int(ns.Fd()), Flag: unix.CLONE_NEWUSER}},
	})
	if err != nil {
		return 0, err
	}
	defer c.close()
	if err := c.proceed(); err != nil {
		_ = c.kill()
		return 0, err
	}
	type end struct {
		status unix.WaitStatus
		err    error
	}
	done := make(chan end, 1)
	go func() {
		ws, err := c.wait()
		done <- end{ws, err}
	}()
	for {
		select {
		case s := <-caught:
			if s != syscall.SIGINT && s != syscall.SIGQUIT {
				_ = unix.Kill(c.pid, s.(syscall.Signal)) // it may have ended by now
			}
		case e := <-done:
			switch {
			case e.err != nil:
				return 0, e.err
			case e.status.Signaled():
				return 128 + int(e.status.Signal()), nil
			}
			return e.status.ExitStatus(), nil
		}
	}
}
