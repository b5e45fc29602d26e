// Command killer runs a command under ptrace(2) and kills one of its
// processes with SIGKILL at a chosen system call, before the kernel performs
// it; or, with no process chosen, counts the calls.
//
//	killer REPORT PROCESS CALL COMMAND…
//
// Processes are numbered as they begin: 0 is the command itself, 1 the first
// that it makes. Calls are numbered from 1, over all threads of the process;
// left out are those that change nothing that another process could see
// (see private). A process that executes busybox, the container's program, is
// let go. REPORT gets JSON, see report. The rest of the command's processes go on
// untraced after the kill.
//
// It is a process of its own because a tracer waits for whatever it traces,
// which would take the exit codes of a test's other commands. It belongs to
// the tests, outside the rows.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"berth/test/ptrace"
)

// report is what happened; test/stress reads the same fields.
type report struct {
	Calls  []int    // made by each process, as far as it was traced
	Killed string   // the call at which the kill came; empty: it did not come
	Exit   int      // of the command when another process was killed; -1: it goes on
	Seen   []string // pid and start time of each process
}

// idle is how long nothing may be called before the command is taken to wait
// for its container; patience is what the command gets to end by itself after
// another process was killed.
const (
	idle     = 300 * time.Millisecond
	patience = 5 * time.Second
)

// tracer is the state of the one thread that traces.
type tracer struct {
	path    string
	target  int // number of the process to kill, -1: none
	at      int // its call
	main    int // pid of the command
	report  report
	who     ptrace.Threads
	victim  int          // pid that was killed, 0 before: everything else is then let go
	stopped atomic.Int64 // time of the last stop
	last    sync.Mutex
}

func main() {
	if len(os.Args) < 5 {
		fmt.Fprintln(os.Stderr, "usage: killer REPORT PROCESS CALL COMMAND…")
		os.Exit(2)
	}
	target, err1 := strconv.Atoi(os.Args[2])
	at, err2 := strconv.Atoi(os.Args[3])
	if err1 != nil || err2 != nil {
		fmt.Fprintln(os.Stderr, "killer: PROCESS and CALL are numbers")
		os.Exit(2)
	}
	runtime.LockOSThread()
	t := &tracer{path: os.Args[1], target: target, at: at}
	if err := t.start(os.Args[4:]); err != nil {
		fmt.Fprintln(os.Stderr, "killer:", err)
		os.Exit(2)
	}
	go t.watch()
	t.loop()
}

func (t *tracer) start(words []string) error {
	var err error
	if t.main, err = ptrace.Start(words, nil); err != nil {
		return err
	}
	t.process(t.main)
	t.stopped.Store(time.Now().UnixNano())
	return ptrace.Go(t.main, unix.PtraceSyscall)
}

// process is who a thread belongs to, with a count of its own.
func (t *tracer) process(tid int) (pid, number int) {
	pid, number = t.who.Process(tid)
	if number == len(t.report.Calls) {
		t.report.Calls = append(t.report.Calls, 0)
	}
	return pid, number
}

// finish writes the report and ends, which lets go what is still traced.
func (t *tracer) finish() {
	t.last.Lock() // for good: the other thread may be about to end, too
	t.report.Seen = t.who.Seen
	data, err := json.Marshal(t.report)
	if err == nil {
		err = os.WriteFile(t.path, data, 0o600)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "killer:", err)
		os.Exit(2)
	}
	os.Exit(0)
}

// watch ends the whole when nothing happens any more.
func (t *tracer) watch() {
	for {
		time.Sleep(20 * time.Millisecond)
		limit := idle
		if t.victim != 0 {
			limit = patience
		}
		if time.Since(time.Unix(0, t.stopped.Load())) < limit {
			continue
		}
		_ = unix.Kill(t.main, unix.SIGKILL)
		t.report.Exit = -1
		t.finish()
	}
}

func (t *tracer) loop() {
	for {
		var ws unix.WaitStatus
		tid, err := unix.Wait4(-1, &ws, unix.WALL, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			t.finish()
		}
		if t.victim == 0 {
			t.stopped.Store(time.Now().UnixNano())
		}
		if !ws.Stopped() {
			t.gone(tid, ws)
			continue
		}
		t.stop(tid, ws)
	}
}

// gone ends the whole with the command, or with the victim when that is it.
func (t *tracer) gone(tid int, ws unix.WaitStatus) {
	t.who.Gone(tid)
	if tid != t.main {
		return
	}
	t.report.Exit = ws.ExitStatus()
	if ws.Signaled() {
		t.report.Exit = 128 + int(ws.Signal())
	}
	t.finish()
}

// stop handles one stop of a thread and lets it go on.
func (t *tracer) stop(tid int, ws unix.WaitStatus) {
	pid, number := t.process(tid)
	signal := 0
	switch s := ws.StopSignal(); {
	case s == unix.SIGTRAP|0x80:
		if t.victim == 0 && t.entry(tid, pid, number) {
			return // it is dead
		}
	case s == unix.SIGTRAP && ws.TrapCause() == unix.PTRACE_EVENT_EXEC:
		if foreign(pid) {
			_ = unix.PtraceDetach(tid)
			return
		}
	case s == unix.SIGTRAP && ws.TrapCause() > 0:
		// A new thread or process, or one that makes it.
	default:
		signal = int(s)
	}
	if t.victim != 0 {
		ptrace.Detach(tid, signal)
		return
	}
	_ = unix.PtraceSyscall(tid, signal)
}

// foreign tells whether a process now runs the container's program, which in
// these tests is busybox; a helper's own file may have no name here.
func foreign(pid int) bool {
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	return err != nil || filepath.Base(exe) == "busybox"
}

// entry counts a call that begins, and kills if it is the one.
func (t *tracer) entry(tid, pid, n int) bool {
	c, ok := ptrace.Entering(tid)
	if !ok || private[c.NR] {
		return false
	}
	t.report.Calls[n]++
	if n != t.target || t.report.Calls[n] != t.at {
		return false
	}
	t.report.Killed = fmt.Sprintf("system call %d", c.NR)
	t.victim = pid
	t.stopped.Store(time.Now().UnixNano())
	_ = unix.Kill(pid, unix.SIGKILL)
	return true
}

// private are the calls that nobody outside of the process can tell: memory,
// signals of its own, time, and questions; and its own end. A kill at one of
// them is a kill at the next one that is not private.
var private = func() map[uint64]bool {
	all := map[uint64]bool{}
	for _, nr := range []uint64{unix.SYS_BRK, unix.SYS_MMAP, unix.SYS_MUNMAP, unix.SYS_MPROTECT, unix.SYS_MADVISE,
		unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_SIGALTSTACK, unix.SYS_GETTID,
		unix.SYS_GETPID, unix.SYS_SCHED_YIELD, unix.SYS_SCHED_GETAFFINITY, unix.SYS_NANOSLEEP, unix.SYS_CLOCK_GETTIME,
		unix.SYS_GETRANDOM, unix.SYS_SET_ROBUST_LIST, unix.SYS_SET_TID_ADDRESS, unix.SYS_RSEQ, unix.SYS_FUTEX,
		unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT, unix.SYS_EVENTFD2, unix.SYS_FCNTL, unix.SYS_FSTAT,
		unix.SYS_GETUID, unix.SYS_GETEUID, unix.SYS_GETGID, unix.SYS_GETEGID, unix.SYS_UNAME, unix.SYS_TGKILL, unix.SYS_LSEEK,
		unix.SYS_PREAD64, unix.SYS_EXIT, unix.SYS_EXIT_GROUP, unix.SYS_READLINKAT, unix.SYS_FSTATFS, unix.SYS_STATFS, unix.SYS_TIMER_CREATE,
		unix.SYS_TIMER_SETTIME, unix.SYS_TIMER_DELETE, unix.SYS_GETDENTS64} {
		all[nr] = true
	}
	return all
}()
