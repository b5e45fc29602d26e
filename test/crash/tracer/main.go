// Command tracer runs a command under ptrace(2), with all processes that it
// makes, and at one chosen system call that changes something either kills
// the process that makes it with SIGKILL, before the kernel performs it, or
// lets the call fail; or only counts.
//
//	tracer [-ends] [-as UID:GID] REPORT count|kill|ENOSPC|EIO CALL COMMAND…
//
// Calls are numbered from 1 over all processes and threads, in the order in
// which they begin: for kill those that anybody outside of the process could
// see (see changes), for an error those that change a file. REPORT gets JSON,
// see report. After the call everything goes on untraced.
//
// With -ends, which is several times faster, nothing that the command makes
// may outlive it by long: all is waited for. With -as the command is another user's.
//
// It is a process of its own because a tracer waits for whatever it traces. It
// belongs to the tests, outside the rows.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"berth/test/ptrace"
)

// report is what happened; the tests read the same fields.
type report struct {
	Calls, Files int      // that change something; of these, those that change a file
	Hit          string   // the call that was chosen and the process; empty: it did not come
	Of           string   // the words of that process, proc_pid_cmdline(5)
	Exit         int      // of the command, 128 plus the signal if one ended it
	Seen         []string // pid and start time of each process
	// By is the calls by their names; Opens, when only counting, the files that were
	// opened, by the last parts of their paths.
	By, Opens map[string]int
}

// tracer is the state of the one thread that traces.
type tracer struct {
	errno  unix.Errno // that the call fails with; 0: it is killed
	kill   bool
	as     *syscall.Credential // of the command; nil: the tracer's
	at     int
	main   int // pid of the command
	report report
	who    ptrace.Threads
	failed int  // thread whose call fails when it ends
	over   bool // the call came: everything is let go
	ends   bool // calls stop by a filter, and nothing can be let go
	begun  bool // the command itself is there, no longer the tracer that becomes it
}

// becomes is the first word by which the tracer calls itself, to become the command.
const becomes = "-become"

// whose takes -as and its user off the words.
func whose(words []string) (as *syscall.Credential, rest []string) {
	if len(words) < 2 || words[0] != "-as" {
		return nil, words
	}
	as = &syscall.Credential{}
	if _, err := fmt.Sscanf(words[1], "%d:%d", &as.Uid, &as.Gid); err != nil {
		fmt.Fprintln(os.Stderr, "tracer: -as:", err)
		os.Exit(2)
	}
	return as, words[2:]
}

func main() {
	words := os.Args[1:]
	if len(words) > 1 && words[0] == becomes {
		as, words := whose(words[1:])
		fmt.Fprintln(os.Stderr, "tracer:", ptrace.Exec(words, os.Environ(), stops(), as))
		os.Exit(2)
	}
	ends := len(words) > 0 && words[0] == "-ends"
	if ends {
		words = words[1:]
	}
	as, words := whose(words)
	if len(words) < 4 {
		fmt.Fprintln(os.Stderr, "usage: tracer [-ends] [-as UID:GID] REPORT count|kill|ENOSPC|EIO CALL COMMAND…")
		os.Exit(2)
	}
	at, err := strconv.Atoi(words[2])
	t := &tracer{at: at, ends: ends, as: as, report: report{By: map[string]int{}, Opens: map[string]int{}}}
	switch words[1] {
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
		err = t.run(words[3:])
	}
	if err == nil {
		t.report.Seen = t.who.Seen
		var data []byte
		if data, err = json.Marshal(t.report); err == nil {
			err = os.WriteFile(words[0], data, 0o600)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tracer:", err)
		os.Exit(2)
	}
}

// run starts the command and follows it to its end.
func (t *tracer) run(words []string) error {
	var err error
	as := t.as
	if t.ends {
		by := []string{"/proc/self/exe", becomes}
		if as != nil { // the filter is root's to set
			by, as = append(by, "-as", fmt.Sprintf("%d:%d", as.Uid, as.Gid)), nil
		}
		words = append(by, words...)
	}
	if t.main, err = ptrace.Start(words, as); err != nil {
		return err
	}
	t.who.Process(t.main)
	if err := ptrace.Go(t.main, t.on); err != nil {
		return err
	}
	for {
		var ws unix.WaitStatus
		tid, err := unix.Wait4(-1, &ws, unix.WALL, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case t.ends && errors.Is(err, unix.ECHILD):
			return nil
		case err != nil:
			return fmt.Errorf("wait: %w", err)
		case ws.Stopped():
			t.stop(tid, ws)
		case tid == t.main:
			t.report.Exit = ws.ExitStatus()
			if ws.Signaled() {
				t.report.Exit = 128 + int(ws.Signal())
			}
			if !t.ends {
				return nil // what is still traced is let go
			}
		default:
			t.who.Gone(tid)
		}
	}
}

// on lets a thread go on to its next stop.
func (t *tracer) on(tid, signal int) error {
	if t.ends {
		return unix.PtraceCont(tid, signal)
	}
	return unix.PtraceSyscall(tid, signal)
}

// stop handles one stop of a thread and lets it go on.
func (t *tracer) stop(tid int, ws unix.WaitStatus) {
	pid, number := t.who.Process(tid)
	signal := 0
	switch s := ws.StopSignal(); {
	case s == unix.SIGTRAP|0x80:
		if tid == t.failed {
			t.failed = 0
			_ = fail(tid, t.errno)
		} else if !t.over && t.entry(tid, pid, number) {
			return // it is dead
		}
	case s == unix.SIGTRAP && ws.TrapCause() == unix.PTRACE_EVENT_SECCOMP:
		if !t.over && t.entry(tid, pid, number) {
			return
		}
	case s == unix.SIGTRAP && ws.TrapCause() > 0:
		t.begun = t.begun || ws.TrapCause() == unix.PTRACE_EVENT_EXEC
		// A new thread or process, or one that makes or becomes one.
	case ws.TrapCause() > 0:
		// A stop of the whole process, as PTRACE_SEIZE tells it.
	default:
		signal = int(s)
	}
	if t.over && tid != t.failed && !t.ends {
		ptrace.Detach(tid, signal)
		return
	}
	_ = t.on(tid, signal)
}

// entry counts a call that begins, and strikes if it is the one.
func (t *tracer) entry(tid, pid, number int) (dead bool) {
	c, ok := ptrace.Entering(tid)
	if !ok || t.ends && !t.begun {
		return false
	}
	if c.NR == unix.SYS_OPENAT && t.errno == 0 && !t.kill {
		t.report.Opens[opened(c)]++
	}
	name, file := changes(c)
	if name == "" {
		return false
	}
	t.report.By[name]++
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
	var err error
	t.report.Hit = fmt.Sprintf("%s of process %d of %d", name, number, len(t.who.Seen))
	cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	t.report.Of = strings.ReplaceAll(strings.TrimSuffix(string(cmdline), "\x00"), "\x00", " ")
	t.over = true
	if t.kill {
		_ = unix.Kill(pid, unix.SIGKILL)
		return true
	}
	if t.ends {
		err = skip(tid, t.errno)
	} else if err = divert(tid); err == nil {
		t.failed = tid
	}
	if err != nil {
		t.report.Hit = ""
	}
	return false
}
