// Package reaper is the first process of a container with --init: it starts the
// program as its only child of its own, passes signals on to it, reaps whoever
// is left to it, and ends with the program's exit code. The helper is it when it
// is called "INIT -- PROGRAM ARGS…"; it runs with what rights the container has
// and knows nothing of berth.
//
// It links neither fmt nor os/signal and stays on one thread's worth of memory.
// Row 2, for the helper alone.
package reaper

import (
	"os"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"berth/sys/catch"
)

// Exit codes of a program that cannot be executed, as shells have them.
const (
	notExecutable = 126
	notFound      = 127
)

// Main is the life of the process: args are the program and its arguments. It
// returns the exit code.
func Main(args []string) int {
	// The file that we are of cannot be read, so the kernel hides /proc/1 from the
	// container's own root, whose programs look at /proc/1/fd/1.
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0)
	setName(os.Args[0][strings.LastIndexByte(os.Args[0], '/')+1:])
	c, err := catch.Start(caught())
	if err != nil {
		return complain(args[0], err)
	}
	// We were executed with all of them blocked, so that none was lost till now.
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &unix.Sigset_t{}, nil); err != nil {
		return complain(args[0], err)
	}
	pid, err := start(args)
	if err != nil {
		return complain(args[0], err)
	}
	for {
		for _, s := range c.Take() {
			if passed(s) {
				_ = unix.Kill(pid, s)
			}
		}
		if code, ended := reap(pid); ended {
			return code
		}
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(c.FD()), Events: unix.POLLIN}}, -1)
	}
}

func complain(what string, err error) int {
	os.Stderr.WriteString("init: exec " + what + ": " + err.Error() + "\n")
	switch err {
	case unix.ENOENT, unix.ENOTDIR:
		return notFound
	}
	return notExecutable
}

// caught are all signals that can be: not those of faults of our own, nor the
// one with which Go's scheduler interrupts its threads.
func caught() []unix.Signal {
	return catch.But(unix.SIGSEGV, unix.SIGBUS, unix.SIGFPE, unix.SIGILL, unix.SIGTRAP, unix.SIGSYS, unix.SIGURG)
}

// passed tells whether a signal is the program's: not what the kernel tells of
// our children, and of our own use of the terminal.
func passed(s unix.Signal) bool {
	return s != unix.SIGCHLD && s != unix.SIGTTIN && s != unix.SIGTTOU
}

// start starts the program as the leader of a process group, which has the
// terminal if there is one: what is typed there concerns it and not us.
func start(args []string) (pid int, err error) {
	attr := &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{Setpgid: true}}
	if _, err := unix.IoctlGetInt(0, unix.TIOCGPGRP); err == nil {
		attr.Sys.Foreground, attr.Sys.Ctty = true, 0
	}
	if strings.Contains(args[0], "/") {
		return syscall.ForkExec(args[0], args, attr)
	}
	last := error(unix.ENOENT)
	for _, dir := range strings.Split(os.Getenv("PATH"), ":") {
		if dir == "" {
			dir = "."
		}
		pid, err := syscall.ForkExec(dir+"/"+args[0], args, attr)
		switch err {
		case nil:
			return pid, nil
		case unix.ENOENT, unix.ENOTDIR:
		default:
			last = err
		}
	}
	return 0, last
}

// reap takes in all who have ended. When the program has, its exit code is ours.
func reap(pid int) (code int, ended bool) {
	for {
		var ws unix.WaitStatus
		got, err := unix.Wait4(-1, &ws, unix.WNOHANG, nil)
		switch {
		case err == unix.EINTR:
		case err != nil || got == 0:
			return code, ended
		case got != pid:
		case ws.Signaled():
			code, ended = 128+int(ws.Signal()), true
		case ws.Exited():
			code, ended = ws.ExitStatus(), true
		}
	}
}

// setName sets what ps shows as our command's name: we were executed through
// a mount of another name.
func setName(name string) {
	if p, err := unix.BytePtrFromString(name); err == nil {
		_ = unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(p)), 0, 0, 0)
	}
}
