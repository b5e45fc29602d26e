package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// addProcessVerbs adds what is about processes:
//
//	sleep SECONDS · exit CODE · env · echo TEXT… · die SIGNAL
//	wait-signal              says "ready", then the number of the first signal it gets
//	fork N                   how many of N sleeping children could be made
//	spin SECONDS             burns CPU; prints the CPU seconds it got
//	eat BYTES                touches that much memory
//	run PATH ARGS…           runs a program; prints its output
//	kill PID SIGNAL · pids   numbers seen in /proc
//	ptrace PID · fds PID     attach to it; list its descriptors
//	winsize                  rows and columns of standard input, after the first SIGWINCH
func addProcessVerbs() {
	verbs["sleep"] = func(a []string) (string, error) {
		s, err := strconv.ParseFloat(arg(a, 0, ""), 64)
		time.Sleep(time.Duration(s * float64(time.Second)))
		return "ok", err
	}
	verbs["exit"] = func(a []string) (string, error) { os.Exit(number(arg(a, 0, "0"))); return "", nil }
	verbs["env"] = func([]string) (string, error) { return strings.Join(os.Environ(), "\n"), nil }
	verbs["echo"] = func(a []string) (string, error) { return strings.Join(a, " "), nil }
	verbs["die"] = func(a []string) (string, error) {
		sig := syscall.Signal(number(arg(a, 0, "9")))
		signal.Reset(sig)
		err := unix.Kill(os.Getpid(), sig)
		time.Sleep(time.Second)
		return "still here", err
	}
	verbs["wait-signal"] = waitSignal
	verbs["fork"] = fork
	verbs["spin"] = spin
	verbs["eat"] = eat
	verbs["run"] = func(a []string) (string, error) {
		if len(a) == 0 {
			return "", errArgs
		}
		out, err := exec.Command(a[0], a[1:]...).CombinedOutput()
		return strings.TrimRight(string(out), "\n"), err
	}
	verbs["kill"] = func(a []string) (string, error) {
		return "ok", unix.Kill(number(arg(a, 0, "")), syscall.Signal(number(arg(a, 1, "0"))))
	}
	verbs["pids"] = pids
	verbs["ptrace"] = ptrace
	verbs["fds"] = func(a []string) (string, error) { return list([]string{"/proc/" + arg(a, 0, "self") + "/fd"}) }
	verbs["winsize"] = winsize
}

func waitSignal([]string) (string, error) {
	got := make(chan os.Signal, 8)
	signal.Notify(got)
	signal.Reset(syscall.SIGURG) // Go's own, for preemption
	fmt.Println("ready")
	for s := range got {
		if n, ok := s.(syscall.Signal); ok && n != syscall.SIGCHLD {
			return strconv.Itoa(int(n)), nil
		}
	}
	return "", errors.New("no signal")
}

// fork starts up to n children that sleep, counts them, then ends them.
func fork(a []string) (string, error) {
	var children []*exec.Cmd
	defer func() {
		for _, c := range children {
			_ = c.Process.Kill()
			_ = c.Wait()
		}
	}()
	for range number(arg(a, 0, "1")) {
		c := exec.Command("/probe", "sleep", "60")
		if err := c.Start(); err != nil {
			return strconv.Itoa(len(children)), err
		}
		children = append(children, c)
	}
	return strconv.Itoa(len(children)), nil
}

func spin(a []string) (string, error) {
	s, err := strconv.ParseFloat(arg(a, 0, "1"), 64)
	for end := time.Now().Add(time.Duration(s * float64(time.Second))); time.Now().Before(end); {
	}
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return fmt.Sprintf("%.3f", float64(u.Utime.Nano()+u.Stime.Nano())/1e9), err
}

func eat(a []string) (string, error) {
	size := number(arg(a, 0, "0"))
	mem, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return "", err
	}
	defer func() { _ = unix.Munmap(mem) }()
	for i := 0; i < size; i += os.Getpagesize() {
		mem[i] = 1
	}
	return "ok", nil
}

func pids([]string) (string, error) {
	entries, err := os.ReadDir("/proc")
	var all []string
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err == nil {
			all = append(all, e.Name())
		}
	}
	return strings.Join(all, " "), err
}

func ptrace(a []string) (string, error) {
	pid := number(arg(a, 0, ""))
	if err := unix.PtraceSeize(pid); err != nil {
		return "", err
	}
	return "ok", unix.PtraceDetach(pid)
}

func winsize([]string) (string, error) {
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, unix.SIGWINCH)
	fmt.Println("ready")
	select {
	case <-changed:
	case <-time.After(5 * time.Second):
	}
	w, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d %d", w.Row, w.Col), nil
}
