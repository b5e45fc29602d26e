package monitor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/monitor/wire"
	"berth/sys/clone"
)

// monitorEnv keeps the monitor small: one scheduler thread, an eager collector.
var monitorEnv = []string{"GOMAXPROCS=1", "GOGC=10", "GODEBUG=asyncpreemptoff=1"}

// Begin starts a monitor from the helper program, whose container need not be
// known yet. It returns as soon as the monitor is on its way. Close ends a monitor
// that has adopted nothing.
//
// The monitor is a child of the caller. A caller that lives on reaps it, see
// Conn.Reap.
func Begin(program *os.File, place Place) (*Conn, error) {
	fd, pid, err := begin(program, place, "monitor", monitorEnv)
	if err != nil {
		return nil, fmt.Errorf("start a monitor: %w", err)
	}
	return &Conn{fd: fd, pid: pid}, nil
}

// siblingEnv keeps a sibling small too; it collects when it has grown.
var siblingEnv = []string{"GOMAXPROCS=1", "GOGC=50", "GOMEMLIMIT=64MiB", "GODEBUG=asyncpreemptoff=1"}

// Sibling starts another word of the helper that lives outside of all containers,
// where monitors do, and returns a socket to it as soon as it is on its way. It is a
// child of the caller, and belongs to nobody; if it ends first, it leaves no dead one.
func Sibling(program *os.File, place Place, word string) (sock *os.File, pid int, err error) {
	fd, pid, err := begin(program, place, word, siblingEnv)
	if err != nil {
		return nil, 0, fmt.Errorf("start the helper %s: %w", word, err)
	}
	go reap(pid)
	return os.NewFile(uintptr(fd), "helper "+word), pid, nil
}

// begin starts a word of the helper with one end of a socket pair; the other one is
// given back.
func begin(program *os.File, place Place, word string, env []string) (fd, pid int, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, 0, os.NewSyscallError("socketpair", err)
	}
	defer func() {
		if err != nil {
			unix.Close(pair[0])
		}
	}()
	dir := -1
	if place.Dir != nil {
		dir = int(place.Dir.Fd())
	}
	var join []clone.Join
	if place.Net != nil {
		join = append(join, clone.Join{FD: int(place.Net.Fd()), Flag: unix.CLONE_NEWNET})
	}
	pid, _, err = clone.Start(&clone.Attr{
		Join: join, CgroupDir: dir, Program: int(program.Fd()), Sock: pair[1],
		Argv: []string{"berth-helper", word, "SOCKET"}, SockArg: 2, Env: env,
	})
	unix.Close(pair[1]) // its end is then seen
	if err != nil {
		return -1, 0, err
	}
	if err := ready(pair[0]); err != nil {
		return -1, 0, err
	}
	tasks := make([]int, len(place.Tasks))
	for i, f := range place.Tasks {
		tasks[i] = int(f.Fd())
	}
	if err := clone.Go(pair[0], tasks, -1); err != nil {
		return -1, 0, err
	}
	return pair[0], pid, nil
}

// Configure says, once, what the monitor is to do. What is wrong with it shows in
// the next call.
func (c *Conn) Configure(cfg Config) error {
	if err := c.post(wire.OpConfigure, cfg.wire()); err != nil {
		return fmt.Errorf("start a monitor: %w", err)
	}
	return nil
}

// ready waits for the child that is going to be the monitor.
func ready(fd int) error {
	var b [clone.FrameHeader + 8]byte
	n, err := readEINTR(fd, b[:])
	switch {
	case err != nil:
		return err
	case n >= clone.FrameHeader && b[0] == clone.FrameReady:
		return nil
	case n == len(b) && b[0] == clone.FrameFail && binary.NativeEndian.Uint32(b[4:]) == 8:
		return clone.FailError(b[clone.FrameHeader:])
	}
	return errGone
}

// errGone has kind Unavailable: it may have ended as its container did.
var errGone = fault.New(fault.Unavailable, "the monitor is gone")

// Dial connects to the monitor of a container by its run folder. The error is of
// kind NotFound if there is none, or no more.
func Dial(dir string) (*Conn, error) {
	c, err := dial(dir)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ECONNREFUSED):
		return nil, fault.New(fault.NotFound, "connect to the monitor in %s: none runs", dir)
	case err != nil:
		return nil, fmt.Errorf("connect to the monitor in %s: %w", dir, err)
	}
	return c, nil
}

func dial(dir string) (*Conn, error) {
	at, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(at)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	// The folder's path may be longer than sun_path.
	name := &unix.SockaddrUnix{Name: "/proc/self/fd/" + strconv.Itoa(at) + "/" + wire.Socket}
	for err = unix.Connect(fd, name); err == unix.EINTR; {
		err = unix.Connect(fd, name)
	}
	if err != nil && err != unix.EISCONN {
		unix.Close(fd)
		return nil, err
	}
	return &Conn{fd: fd}, nil
}

// ownOOMScoreAdj is what the monitor's children get back.
func ownOOMScoreAdj() int {
	b, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return n
}
