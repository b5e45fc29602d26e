package clone

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The runtime's brackets around a fork, kept open for linkname by the Go team
// (runtime/proc.go): they block signals, so that none arrives in a child that
// has only one thread and no scheduler.

//go:linkname beforeFork syscall.runtime_BeforeFork
func beforeFork()

//go:linkname afterFork syscall.runtime_AfterFork
func afterFork()

//go:linkname afterForkInChild syscall.runtime_AfterForkInChild
func afterForkInChild()

// fork clones and, in the child, carries out o up to execveat; it returns in
// the parent only. In the child it must not allocate, block on the scheduler
// or grow the stack: only raw system calls, and callees marked nosplit.
//
// It is longer than the house allows because the code after the clone has to
// stay in one frame, whose stack was checked before.
//
//go:norace
//go:noinline
//go:nocheckptr
//house:allow func the child must stay in one frame, whose stack was checked before the clone
func fork(o *order) (pid uintptr, errno syscall.Errno) {
	var e syscall.Errno
	var n uintptr
	var stage uint32

	beforeFork()
	pid, _, errno = syscall.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&o.first)), unsafe.Sizeof(o.first), 0)
	if errno != 0 || pid != 0 {
		afterFork()
		return pid, errno
	}
	afterForkInChild()

	if o.undumpable {
		syscall.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0, 0)
	}
	// Namespaces that need the caller's rights first, then the user namespace,
	// then those that need rights in it.
	if len(o.join) != 0 {
		user := -1
		for i := range o.join {
			if o.join[i].Flag&unix.CLONE_NEWUSER != 0 {
				user = i
				continue
			}
			_, _, e = syscall.RawSyscall(unix.SYS_SETNS, uintptr(o.join[i].FD), uintptr(o.join[i].Flag), 0)
			o.pass1[i] = e == 0
		}
		stage = stageJoin
		if user >= 0 {
			if _, _, e = syscall.RawSyscall(unix.SYS_SETNS, uintptr(o.join[user].FD), uintptr(o.join[user].Flag), 0); e != 0 {
				stage = stageJoinUser
				goto fail
			}
			o.pass1[user] = true
		}
		for i := range o.join {
			if o.pass1[i] {
				continue
			}
			if _, _, e = syscall.RawSyscall(unix.SYS_SETNS, uintptr(o.join[i].FD), uintptr(o.join[i].Flag), 0); e != 0 {
				goto fail
			}
		}
	}

	if o.twoStage {
		stage = stageClone
		if o.late.parentTID != 0 {
			n, e = vclone(&o.late, unsafe.Sizeof(o.late))
		} else {
			n, _, e = syscall.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&o.late)), unsafe.Sizeof(o.late), 0)
		}
		if e != 0 {
			goto fail
		}
		if n != 0 {
			if o.late.parentTID == 0 {
				report(o, FramePID, uint32(n), 0, 4)
			}
			syscall.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
		}
		if o.late.parentTID != 0 && report(o, FramePID, o.stage2, 0, 4) != 0 {
			goto mute
		}
	}

	if o.early != 0 {
		stage = stageUnshare
		if _, _, e = syscall.RawSyscall(unix.SYS_UNSHARE, o.early, 0, 0); e != 0 {
			goto fail
		}
	}
	if report(o, FrameReady, 0, 0, 0) != 0 {
		goto mute // or the parent would wait for it, and we for the parent
	}
	stage = stageWait
	for o.waits[0].Revents == 0 {
		_, _, e = syscall.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&o.waits)), 2, 0, 0, 0, 0)
		if e != 0 && e != syscall.EINTR || o.waits[0].Revents == 0 && o.waits[1].Revents != 0 {
			goto fail // the parent is gone
		}
	}
	n, _, e = syscall.RawSyscall(unix.SYS_RECVMSG, o.sock, uintptr(unsafe.Pointer(&o.inbox.message)), unix.MSG_CMSG_CLOEXEC)
	if e != 0 || n != unsafe.Sizeof(o.inbox.goOrder) || o.inbox.message.Flags&unix.MSG_CTRUNC != 0 || o.inbox.tasks > MaxTasks || o.inbox.time > 1 {
		goto fail
	}
	n = uintptr(o.inbox.tasks + o.inbox.time)
	if n != 0 && uintptr(o.inbox.control.head.Len) != unsafe.Sizeof(o.inbox.control.head)+4*n {
		goto fail
	}

	if o.inbox.time != 0 {
		stage = stageTime
		if _, _, e = syscall.RawSyscall(unix.SYS_SETNS, uintptr(o.inbox.control.fds[n-1]), unix.CLONE_NEWTIME, 0); e != 0 {
			goto fail
		}
	}
	stage = stageCgroup
	for i := uint32(0); i < o.inbox.tasks; i++ {
		if _, _, e = syscall.RawSyscall(unix.SYS_WRITE, uintptr(o.inbox.control.fds[i]), uintptr(unsafe.Pointer(&o.zero)), 1); e != 0 {
			goto fail
		}
	}
	if o.becomeRoot {
		// EPERM where setgroups is denied (user_namespaces(7)): the groups stay.
		stage = stageSetgroups
		if _, _, e = syscall.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); e != 0 && e != syscall.EPERM {
			goto fail
		}
		stage = stageSetgid
		if _, _, e = syscall.RawSyscall(unix.SYS_SETRESGID, 0, 0, 0); e != 0 && e != syscall.EINVAL {
			goto fail
		}
		stage = stageSetuid
		if _, _, e = syscall.RawSyscall(unix.SYS_SETRESUID, 0, 0, 0); e == syscall.EINVAL {
			stage = stageKeepCaps
			e = keepCaps(o)
		}
		if e != 0 {
			goto fail
		}
	}
	if o.last != 0 {
		stage = stageLast
		if _, _, e = syscall.RawSyscall(unix.SYS_UNSHARE, o.last, 0, 0); e != 0 {
			goto fail
		}
	}
	stage = stageFD
	if _, _, e = syscall.RawSyscall(unix.SYS_FCNTL, o.sock, unix.F_SETFD, 0); e != 0 {
		goto fail
	}
	for i := range o.keep {
		if _, _, e = syscall.RawSyscall(unix.SYS_FCNTL, uintptr(o.keep[i]), unix.F_SETFD, 0); e != 0 {
			goto fail
		}
	}
	stage = stageExec
	_, _, e = syscall.RawSyscall6(unix.SYS_EXECVEAT, o.program, uintptr(unsafe.Pointer(&o.zero[1])),
		uintptr(unsafe.Pointer(o.argv)), uintptr(unsafe.Pointer(o.envp)), unix.AT_EMPTY_PATH, 0)
fail:
	report(o, FrameFail, stage, uint32(e), 8)
mute:
	for {
		syscall.RawSyscall(unix.SYS_EXIT_GROUP, 1, 0, 0)
	}
}

// keepCaps makes all capabilities that the bounding set has ambient, which others than
// root keep over execve(2), see capabilities(7).
//
//go:nosplit
//go:norace
func keepCaps(o *order) syscall.Errno {
	if _, _, e := syscall.RawSyscall(unix.SYS_CAPGET, uintptr(unsafe.Pointer(&o.caps.head)), uintptr(unsafe.Pointer(&o.caps.sets)), 0); e != 0 {
		return e
	}
	for c := range uintptr(64) {
		has, _, e := syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_CAPBSET_READ, c, 0, 0, 0, 0)
		if e == 0 && has == 1 {
			o.caps.sets[c>>5&1].Inheritable |= o.caps.sets[c>>5&1].Permitted & (1 << (c & 31))
		}
	}
	if _, _, e := syscall.RawSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&o.caps.head)), uintptr(unsafe.Pointer(&o.caps.sets)), 0); e != 0 {
		return e
	}
	for c := range uintptr(64) {
		if o.caps.sets[c>>5&1].Inheritable&(1<<(c&31)) != 0 {
			if _, _, e := syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, c, 0, 0, 0); e != 0 {
				return e
			}
		}
	}
	return 0
}

// report writes one frame to the parent. If that fails, nobody can be told why.
//
//go:nosplit
//go:norace
func report(o *order, kind byte, a, b uint32, size uint32) syscall.Errno {
	o.frame[0] = kind
	*(*uint32)(unsafe.Pointer(&o.frame[4])) = size
	*(*uint32)(unsafe.Pointer(&o.frame[8])) = a
	*(*uint32)(unsafe.Pointer(&o.frame[12])) = b
	_, _, e := syscall.RawSyscall(unix.SYS_WRITE, o.sock, uintptr(unsafe.Pointer(&o.frame)), FrameHeader+uintptr(size))
	return e
}
