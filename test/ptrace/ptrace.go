// Package ptrace is what the tests' tracers share: a command that runs under
// ptrace(2) with all processes that it makes, who is who among its threads,
// and the system calls that begin. What is counted, killed or let fail is the
// tracers' business (test/crash/tracer, test/stress/killer).
//
// All of it belongs to the one thread that traces: lock it before Start.
// It belongs to the tests, outside the rows.
package ptrace

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const options = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEFORK |
	unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_TRACEEXEC | unix.PTRACE_O_TRACESECCOMP

// Start starts a command with this process's standard files, as another user unless
// as is nil: what is set-user-id stays so, if the tracer is root. It is stopped before
// its first instruction, until Go.
func Start(words []string, as *syscall.Credential) (pid int, err error) {
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true, Credential: as}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	pid = cmd.Process.Pid
	if err := stopped(pid); err != nil {
		return 0, err
	}
	// Exchanged for PTRACE_SEIZE: only then do new processes of the command
	// not begin with a SIGSTOP, which would stay with those that are let go.
	const seize = 0x4206
	if err := request(unix.PTRACE_DETACH, pid, uintptr(unix.SIGSTOP)); err != nil {
		return 0, err
	}
	if err := request(seize, pid, options); err != nil {
		return 0, err
	}
	return pid, stopped(pid)
}

// Go lets the started command go: by unix.PtraceSyscall to its first call, by
// unix.PtraceCont to the first one that its filter has.
func Go(pid int, on func(tid, signal int) error) error {
	if err := unix.Kill(pid, unix.SIGCONT); err != nil {
		return err
	}
	return on(pid, 0)
}

// stopped waits for one of the first stops of the command.
func stopped(pid int) error {
	for {
		var ws unix.WaitStatus
		_, err := unix.Wait4(pid, &ws, unix.WALL, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil || !ws.Stopped() {
			return fmt.Errorf("wait for the stop: %v %v", ws, err)
		}
		return nil
	}
}

// Detach lets a thread that has stopped go untraced.
func Detach(tid, signal int) { _ = request(unix.PTRACE_DETACH, tid, uintptr(signal)) }

func request(request, tid int, data uintptr) error {
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, uintptr(request), uintptr(tid), 0, data, 0, 0)
	if errno != 0 {
		return fmt.Errorf("ptrace %#x: %w", request, errno)
	}
	return nil
}

// Threads knows whose a thread is.
type Threads struct {
	pids   map[int]int // of threads
	number map[int]int // of processes, in the order in which they began
	Seen   []string    // pid and start time of each process
}

// Process gives the process that a thread belongs to, and the process's number.
func (t *Threads) Process(tid int) (pid, number int) {
	if t.pids == nil {
		t.pids, t.number = map[int]int{}, map[int]int{}
	}
	pid, ok := t.pids[tid]
	if !ok {
		pid = leader(tid)
		t.pids[tid] = pid
		if _, ok := t.number[pid]; !ok {
			t.number[pid] = len(t.Seen)
			t.Seen = append(t.Seen, fmt.Sprintf("%d %s", pid, startTime(pid)))
		}
	}
	return pid, t.number[pid]
}

// Gone forgets a thread that has ended: its number may come again.
func (t *Threads) Gone(tid int) { delete(t.pids, tid) }

// leader is proc_pid_status(5)'s Tgid.
func leader(tid int) int {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid))
	if err == nil {
		_, rest, _ := strings.Cut(string(data), "\nTgid:\t")
		line, _, _ := strings.Cut(rest, "\n")
		if n, err := strconv.Atoi(line); err == nil {
			return n
		}
	}
	return tid
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

// Call is a system call that begins.
type Call struct {
	TID  int
	NR   uint64
	Args [6]uint64
}

// Entering asks for the call at whose beginning a thread has stopped, by itself
// or by its filter; false at its end. The layout is struct ptrace_syscall_info's of ptrace(2).
func Entering(tid int) (Call, bool) {
	var info [88]byte
	const getInfo, entry, filtered = 0x420e, 1, 3
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, getInfo, uintptr(tid), uintptr(len(info)), uintptr(unsafe.Pointer(&info)), 0, 0)
	if errno != 0 || info[0] != entry && info[0] != filtered {
		return Call{}, false
	}
	c := Call{TID: tid, NR: binary.NativeEndian.Uint64(info[24:])}
	for i := range c.Args {
		c.Args[i] = binary.NativeEndian.Uint64(info[32+8*i:])
	}
	return c, true
}
