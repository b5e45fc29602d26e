// Package clone starts a process inside namespaces, new or joined, and inside
// cgroups, and makes it execute a program given as a descriptor.
//
// It replaces the C constructor that other engines need for joining a user
// namespace: setns(2) to one demands a single-threaded caller, which a Go
// program never is, but a freshly cloned child is. The child therefore does
// all namespace and cgroup work itself with raw system calls, before execveat.
//
//	parent                       stage 1                     stage 2 (only if needed)
//	  clone ───────────────────▶ setns of joined ones
//	                             clone(CLONE_PARENT) ───────▶ (new pid/user ns, or pid ns joined)
//	  ◀── 'P' pid ─────────────── exit (with joined namespaces alone: when stage 2 has executed)
//	                             unshare the rest             unshare the rest
//	  ◀── 'R' ready ──────────────────────────────────────────
//	  id maps, cgroups, …
//	  ─── go: time namespace, tasks files ──────────────────────▶
//	                             setns to the time namespace
//	                             "0" → cgroup tasks files, setresuid(0),
//	                             unshare(CLONE_NEWCGROUP, CLONE_NEWIPC), execveat(2)
//
// A failure is reported as 'X' with the stage and errno. Messages are frames,
// see Frame.
//
// It has no policy: which namespaces, whose ids, which cgroup is the caller's
// business. Row 1.
package clone

import (
	"errors"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Join is an existing namespace to enter: a descriptor of an nsfs file, or a
// pidfd with several CLONE_NEW* bits, see setns(2).
type Join struct {
	FD   int
	Flag int // CLONE_NEW* of the namespace kinds that FD stands for
}

// Attr says how to start a child. All descriptors stay the caller's.
type Attr struct {
	// Join lists namespaces to enter. Those that need the caller's own rights
	// are entered before a joined user namespace, the others after it.
	Join []Join
	// New is the set of CLONE_NEW* flags of namespaces to create. A new user
	// namespace owns all the others that are created.
	New int
	// CgroupDir is a cgroup v2 directory to be born in (CLONE_INTO_CGROUP), -1 none.
	CgroupDir int
	// Program is the executable's descriptor, see execveat(2) AT_EMPTY_PATH.
	Program int
	Argv    []string
	// SockArg is the index of an argument that becomes the number of Sock in the
	// process that calls Start; 0 for none.
	SockArg int
	Env     []string
	// Sock is the child's end of a stream socket pair. Reports go there, the go
	// order comes from there, and the program inherits it.
	Sock int
	// Keep are further descriptors that the program inherits.
	Keep []int
	// Undumpable makes the child undumpable before it joins anything: processes in
	// a joined pid namespace see it before it executes the program, and it still
	// is a copy of the caller (security classes V1, V2). Its files in /proc then
	// belong to the host's root.
	Undumpable bool
	// BecomeRoot sets all ids to 0 before the program starts, for a new or
	// joined user namespace. Where it has no such id the ids stay, and the program gets
	// all capabilities as ambient ones.
	BecomeRoot bool
}

// The types of frames that the child writes to its socket.
const (
	FramePID   = 'P' // payload: uint32 pid of stage 2 in the caller's pid namespace
	FrameReady = 'R' // namespaces exist; waiting for the go order
	FrameFail  = 'X' // payload: uint32 stage, uint32 errno
)

// FrameHeader is the size of a frame's head: type, three bytes of padding,
// uint32 payload length in host byte order.
const FrameHeader = 8

// ReadFrame reads a frame of at most limit payload bytes. The end of the stream
// before one is io.EOF.
func ReadFrame(r io.Reader, limit uint32) (kind byte, payload []byte, err error) {
	var head [FrameHeader]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := getU32(head[4:])
	if n > limit || head[0] == FramePID && n < 4 {
		return 0, nil, errors.New("the new process sent a malformed message")
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(r, payload)
	return head[0], payload, err
}

// stages of the child, for error texts; the numbers go over the socket.
const (
	stageJoin = 1 + iota
	stageJoinUser
	stageClone
	stageUnshare
	stageWait
	stageTime
	stageCgroup
	stageSetgroups
	stageSetgid
	stageSetuid
	stageKeepCaps
	stageLast
	stageFD
	stageExec
)

var stageNames = [...]string{
	stageJoin:      "join a namespace",
	stageJoinUser:  "join the user namespace",
	stageClone:     "clone into new namespaces",
	stageUnshare:   "create namespaces",
	stageWait:      "wait for the parent",
	stageTime:      "enter the time namespace",
	stageCgroup:    "enter the cgroup",
	stageSetgroups: "clear the groups",
	stageSetgid:    "set the group id",
	stageSetuid:    "set the user id",
	stageKeepCaps:  "keep the capabilities",
	stageLast:      "create the last namespaces",
	stageFD:        "pass on a file descriptor",
	stageExec:      "execute the helper",
}

// FailError turns the payload of a FrameFail into an error that unwraps to a
// syscall.Errno.
func FailError(payload []byte) error {
	if len(payload) < 8 {
		return errors.New("the first process failed without saying why")
	}
	stage := getU32(payload)
	name := "stage " + strconv.Itoa(int(stage))
	if int(stage) < len(stageNames) && stageNames[stage] != "" {
		name = stageNames[stage]
	}
	return &failure{name, syscall.Errno(getU32(payload[4:]))}
}

// failure is what was tried and the cause, without package fmt: the helper
// links this package.
type failure struct {
	what  string
	cause error
}

func (f *failure) Error() string { return f.what + ": " + f.cause.Error() }
func (f *failure) Unwrap() error { return f.cause }

// cloneArgs is struct clone_args of clone3(2).
type cloneArgs struct {
	flags, pidfd, childTID, parentTID, exitSignal uint64
	stack, stackSize, tls                         uint64
	setTID, setTIDSize                            uint64
	cgroup                                        uint64
}

// MaxTasks is how many v1 hierarchies a child can enter.
const MaxTasks = 31

// goOrder is what the child waits for. The descriptors come beside it: the
// tasks files, then the new time namespace.
type goOrder struct {
	tasks uint32
	time  uint32 // 1 with a new time namespace
}

// Go lets a waiting child continue. tasks are v1 cgroup `tasks` files: the
// child moves itself by writing "0", which spares the kernel the lock and the
// RCU grace period that cgroup.procs or a foreign pid cost.
//
// timeNS is the child's new time namespace (/proc/PID/ns/time_for_children), -1
// without one. The child enters it only now, when its offsets are written:
// execve(2) does so by itself only since Linux 6.3, and before that a process
// with a time namespace waiting for its children can make no threads.
//
// The child gets copies of the descriptors, as whoever called Start may be
// another process.
func Go(sock int, tasks []int, timeNS int) error {
	if len(tasks) > MaxTasks {
		return errors.New("clone: " + strconv.Itoa(len(tasks)) + " cgroup hierarchies, more than " + strconv.Itoa(MaxTasks))
	}
	g := goOrder{tasks: uint32(len(tasks))}
	fds := tasks
	if timeNS >= 0 {
		g.time = 1
		fds = append(slices.Clip(tasks), timeNS)
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	b := unsafe.Slice((*byte)(unsafe.Pointer(&g)), unsafe.Sizeof(g))
	for {
		_, err := unix.SendmsgN(sock, b, rights, nil, unix.MSG_NOSIGNAL)
		if err == unix.EINTR {
			continue
		}
		return os.NewSyscallError("write go order", err)
	}
}

// order is everything the child reads, laid out before the fork: after it the
// child may neither allocate nor grow its stack.
type order struct {
	join       []Join
	pass1      []bool // joined before the user namespace
	early      uintptr
	first      cloneArgs
	late       cloneArgs // of the second clone, with twoStage
	twoStage   bool
	stage2     uint32  // its pid, written by the kernel if late.parentTID says so: see lend
	last       uintptr // namespaces that are created in the cgroups, by the final user
	program    uintptr
	argv, envp **byte
	sock       uintptr
	keep       []int
	undumpable bool
	becomeRoot bool
	waits      [2]unix.PollFd // the socket, the parent's pidfd
	zero       [2]byte        // "0" for tasks files, and an empty path at its end
	inbox      inbox
	caps       struct {
		head unix.CapUserHeader
		sets [2]unix.CapUserData
	}
	frame [16]byte
}

// inbox receives the go order, and its descriptors in a control message of
// unix(7).
type inbox struct {
	message unix.Msghdr
	part    unix.Iovec
	goOrder
	control struct {
		head unix.Cmsghdr
		fds  [MaxTasks + 1]int32
	}
}

func (b *inbox) open() {
	b.part.Base = (*byte)(unsafe.Pointer(&b.goOrder))
	b.part.SetLen(int(unsafe.Sizeof(b.goOrder)))
	b.message.Iov = &b.part
	b.message.Iovlen = 1
	b.message.Control = (*byte)(unsafe.Pointer(&b.control))
	b.message.SetControllen(int(unsafe.Sizeof(b.control)))
}

const firstFlags = unix.CLONE_NEWUSER | unix.CLONE_NEWPID

// plan lays out the order of a child. See the package comment for the stages.
func plan(a *Attr) (*order, error) {
	o := &order{
		join: a.Join, pass1: make([]bool, len(a.Join)), program: uintptr(a.Program),
		sock: uintptr(a.Sock), keep: a.Keep, undumpable: a.Undumpable, becomeRoot: a.BecomeRoot, zero: [2]byte{'0'},
	}
	joined := 0
	for _, j := range a.Join {
		joined |= j.Flag
	}
	if joined&a.New != 0 {
		return nil, errors.New("clone: a namespace kind is both new and joined")
	}
	// A new pid namespace must belong to the user namespace that the child ends
	// up in, and a joined one holds only for children.
	o.twoStage = joined&unix.CLONE_NEWPID != 0 ||
		a.New&unix.CLONE_NEWUSER != 0 && joined != 0 ||
		joined&unix.CLONE_NEWUSER != 0 && a.New&unix.CLONE_NEWPID != 0
	last := unix.CLONE_NEWCGROUP
	if a.BecomeRoot {
		// The root of the IPC namespace's message queues, /dev/mqueue, belongs to
		// whoever creates the namespace (kernel, ipc/mqueue.c).
		last |= unix.CLONE_NEWIPC
	}
	o.last = uintptr(a.New & last)
	o.early = uintptr(a.New &^ (firstFlags | last))
	o.late = cloneArgs{flags: uint64(a.New & firstFlags), exitSignal: uint64(unix.SIGCHLD)}
	if o.twoStage {
		o.first = cloneArgs{exitSignal: uint64(unix.SIGCHLD)}
		o.late.flags |= unix.CLONE_PARENT | unix.CLONE_FILES // stage 1 does nothing more with its own
		o.late.exitSignal = 0                                // inherited with CLONE_PARENT
		o.lend(a.New)
	} else {
		o.first = o.late
	}
	if a.CgroupDir >= 0 { // by the first stage, which has the caller's rights over it
		o.first.flags |= unix.CLONE_INTO_CGROUP
		o.first.cgroup = uint64(a.CgroupDir)
	}
	words := a.Argv
	if a.SockArg > 0 {
		words = slices.Clone(words)
		words[a.SockArg] = strconv.Itoa(a.Sock)
	}
	o.inbox.open()
	o.caps.head.Version = unix.LINUX_CAPABILITY_VERSION_3
	argv, err := syscall.SlicePtrFromStrings(words)
	if err != nil {
		return nil, &failure{"clone: argument", err}
	}
	envp, err := syscall.SlicePtrFromStrings(a.Env)
	if err != nil {
		return nil, &failure{"clone: environment", err}
	}
	o.argv, o.envp = &argv[0], &envp[0]
	return o, nil
}

// lend lets stage 1 sleep until stage 2 executes the program, in the memory of
// stage 1: a third copy of the caller's page tables is spared. Not with new
// namespaces: a process that shares its memory cannot enter a time namespace.
func (o *order) lend(new int) {
	if !canLend || new != 0 {
		return
	}
	o.late.flags |= unix.CLONE_VM | unix.CLONE_VFORK | unix.CLONE_PARENT_SETTID
	o.late.parentTID = uint64(uintptr(unsafe.Pointer(&o.stage2)))
}

// Start clones a child as a says and returns its pid. With twoStage that is
// stage 1's, which the caller reaps once the program has spoken or is dead, and
// the final process's comes in a FramePID, before or after its FrameReady. The
// child has copies of a's descriptors when Start returns.
func Start(a *Attr) (pid int, twoStage bool, err error) {
	o, err := plan(a)
	if err != nil {
		return 0, false, err
	}
	// It stands for the caller. The child's copy of the descriptor table may hold
	// the other end of the socket too, and then nothing else tells it of the
	// caller's death.
	self, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return 0, false, os.NewSyscallError("pidfd_open", err)
	}
	defer unix.Close(self)
	o.waits = [2]unix.PollFd{{Fd: int32(a.Sock), Events: unix.POLLIN}, {Fd: int32(self), Events: unix.POLLIN}}
	syscall.ForkLock.Lock()
	p, errno := fork(o)
	syscall.ForkLock.Unlock()
	runtime.KeepAlive(o)
	runtime.KeepAlive(a)
	if errno != 0 {
		return 0, false, os.NewSyscallError("clone3", errno)
	}
	return int(p), o.twoStage, nil
}
