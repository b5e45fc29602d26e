// Command tracer runs a command under ptrace(2), with all processes that it
// makes, and at one chosen system call that changes something either kills
// the process that makes it with SIGKILL, before the kernel performs it, or
// lets the call fail; or only counts.
//
//	tracer REPORT count|kill|ENOSPC|EIO CALL COMMAND…
//
// Calls are numbered from 1 over all processes and threads, in the order in
// which they begin: for kill those that anybody outside of the process could
// see (see changes), for an error those that change a file. REPORT gets JSON,
// see report. After the call everything goes on untraced.
//
// It is a process of its own because a tracer waits for whatever it traces. It
// belongs to the tests, outside the rows.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// report is what happened; the tests read the same fields.
type report struct {
	Calls, Files int      // that change something; of these, those that change a file
	Hit          string   // the call that was chosen and the process; empty: it did not come
	Exit         int      // of the command, 128 plus the signal if one ended it
	Seen         []string // pid and start time of each process
}

const options = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEFORK |
	unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_TRACEEXEC

// tracer is the state of the one thread that traces.
type tracer struct {
	errno  unix.Errno // that the call fails with; 0: it is killed
	kill   bool
	at     int
	main   int // pid of the command
	report report
	known  map[int]bool // pids
	tasks  map[int]int  // thread → pid
	failed int          // thread whose call fails when it ends
	over   bool         // the call came: everything is let go
}

func main() {
	if len(os.Args) < 5 {
		fmt.Fprintln(os.Stderr, "usage: tracer REPORT count|kill|ENOSPC|EIO CALL COMMAND…")
		os.Exit(2)
	}
	at, err := strconv.Atoi(os.Args[3])
	t := &tracer{at: at, known: map[int]bool{}, tasks: map[int]int{}}
	switch os.Args[2] {
	case "count":
	case "kill":
		t.kill = true
	case "ENOSPC":
		t.errno = unix.ENOSPC
	case "EIO":
		t.errno = unix.EIO
	default:
		err = errors.New("what is to be done is not known")
	}
	runtime.LockOSThread()
	if err == nil {
		err = t.run(os.Args[4:])
	}
	if err == nil {
		var data []byte
		if data, err = json.Marshal(t.report); err == nil {
			err = os.WriteFile(os.Args[1], data, 0o600)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tracer:", err)
		os.Exit(2)
	}
}

// run starts the command and follows it to its end.
func (t *tracer) run(words []string) error {
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	t.main = cmd.Process.Pid
	if err := t.stopped(); err != nil {
		return err
	}
	// Exchanged for PTRACE_SEIZE: only then do new processes of the command
	// not begin with a SIGSTOP, which would stay with those that are let go.
	const seize = 0x4206
	if err := ptrace(unix.PTRACE_DETACH, t.main, uintptr(unix.SIGSTOP)); err != nil {
		return err
	}
	if err := ptrace(seize, t.main, options); err != nil {
		return err
	}
	if err := t.stopped(); err != nil {
		return err
	}
	t.task(t.main)
	if err := unix.Kill(t.main, unix.SIGCONT); err != nil {
		return err
	}
	if err := unix.PtraceSyscall(t.main, 0); err != nil {
		return err
	}
	for {
		var ws unix.WaitStatus
		tid, err := unix.Wait4(-1, &ws, unix.WALL, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("wait: %w", err)
		case ws.Stopped():
			t.stop(tid, ws)
		case tid == t.main:
			t.report.Exit = ws.ExitStatus()
			if ws.Signaled() {
				t.report.Exit = 128 + int(ws.Signal())
			}
			return nil // what is still traced is let go
		default:
			delete(t.tasks, tid)
		}
	}
}

// stopped waits for the first stops of the command.
func (t *tracer) stopped() error {
	var ws unix.WaitStatus
	if _, err := unix.Wait4(t.main, &ws, unix.WALL, nil); err != nil || !ws.Stopped() {
		return fmt.Errorf("wait for the stop: %v %v", ws, err)
	}
	return nil
}

func ptrace(request, tid int, data uintptr) error {
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, uintptr(request), uintptr(tid), 0, data, 0, 0)
	if errno != 0 {
		return fmt.Errorf("ptrace %#x: %w", request, errno)
	}
	return nil
}

// task notes a thread, and the process if it is new.
func (t *tracer) task(tid int) int {
	if pid, ok := t.tasks[tid]; ok {
		return pid
	}
	pid := tid
	if data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid)); err == nil {
		_, rest, _ := strings.Cut(string(data), "\nTgid:\t")
		line, _, _ := strings.Cut(rest, "\n")
		if n, err := strconv.Atoi(line); err == nil {
			pid = n
		}
	}
	t.tasks[tid] = pid
	if !t.known[pid] {
		t.known[pid] = true
		t.report.Seen = append(t.report.Seen, fmt.Sprintf("%d %s", pid, startTime(pid)))
	}
	return pid
}

// startTime is field 22 of proc_pid_stat(5).
func startTime(pid int) string {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	if len(fields) < 20 {
		return "?"
	}
	return fields[19]
}

// stop handles one stop of a thread and lets it go on.
func (t *tracer) stop(tid int, ws unix.WaitStatus) {
	pid := t.task(tid)
	signal := 0
	switch s := ws.StopSignal(); {
	case s == unix.SIGTRAP|0x80:
		if tid == t.failed {
			t.failed = 0
			_ = fail(tid, t.errno)
		} else if !t.over && t.entry(tid, pid) {
			return // it is dead
		}
	case s == unix.SIGTRAP && ws.TrapCause() > 0:
		// A new thread or process, or one that makes or becomes one.
	case ws.TrapCause() > 0:
		// A stop of the whole process, as PTRACE_SEIZE tells it.
	default:
		signal = int(s)
	}
	if t.over && tid != t.failed {
		_ = ptrace(unix.PTRACE_DETACH, tid, uintptr(signal))
		return
	}
	_ = unix.PtraceSyscall(tid, signal)
}

// entry counts a call that begins, and strikes if it is the one.
func (t *tracer) entry(tid, pid int) (dead bool) {
	c, ok := entering(tid)
	if !ok {
		return false
	}
	name, file := c.changes()
	if name == "" {
		return false
	}
	t.report.Calls++
	n := t.report.Calls
	if file {
		t.report.Files++
	}
	if t.errno != 0 {
		if !file {
			return false
		}
		n = t.report.Files
	}
	if n != t.at || t.errno == 0 && !t.kill {
		return false
	}
	t.report.Hit = fmt.Sprintf("%s of process %d of %d", name, t.index(pid), len(t.report.Seen))
	t.over = true
	if t.kill {
		_ = unix.Kill(pid, unix.SIGKILL)
		return true
	}
	if err := divert(tid); err != nil {
		t.report.Hit = ""
		return false
	}
	t.failed = tid
	return false
}

// index is the place of a process in the order in which they began, from 0.
func (t *tracer) index(pid int) int {
	for i, seen := range t.report.Seen {
		if strings.HasPrefix(seen, strconv.Itoa(pid)+" ") {
			return i
		}
	}
	return -1
}
