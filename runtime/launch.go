package runtime

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/base/undo"
	"berth/runtime/cgroup"
	"berth/runtime/helper"
	"berth/runtime/idmap"
	"berth/runtime/initproc"
	"berth/runtime/namespace"
	"berth/runtime/plan"
	"berth/runtime/process"
	"berth/runtime/rdt"
	"berth/sys/clone"
)

// launch is one start of a first process or of an exec: what create and exec
// have in common.
type launch struct {
	plan   *plan.Builder
	ns     launchNamespaces
	parent Parent // nil: the caller
	// maps are written for a new user namespace.
	maps        *idmap.Maps
	timeOffsets map[string]specs.LinuxTimeOffset
	process     *specs.Process
	options     *process.Options
	cgroup      *cgroup.Cgroup
	makeCgroup  bool    // else member is a process whose cgroups are entered
	making      *making // of that cgroup, nil unless it has begun
	member      int
	// oomInherited: the child has its oom_score_adj from us.
	oomInherited bool
	below        []string // named cgroups below the container's instead
	rdt          *rdt.Class
	inClass      rdt.State
	late         lateEntry
	held         []*os.File // until the child has executed, whose last close they must not be
	sync         func(at initproc.SyncPoint, pid int) error
	notify       func(pid int, listener *os.File) error // for a seccomp listener
	warn         func(format string, args ...any)
}

// launchNamespaces is what the child enters and creates.
type launchNamespaces struct {
	paths      []namespace.Path // to be opened
	join       []clone.Join     // open already
	create     int
	becomeRoot bool
}

// helperEnv keeps the helper small: one scheduler thread, no collector. The
// scheduler sends itself no signals either: the return from a handler is a
// system call that a profile may forbid.
var helperEnv = []string{"GOMAXPROCS=1", "GOGC=off", "GODEBUG=asyncpreemptoff=1"}

// start clones the child, prepares the host's side while the child makes its
// namespaces, hands over the plan and follows it until the child waits for
// start or has become the user's program. What undoes it, also later, is pushed
// on the caller's stack.
func (l *launch) start(ctx context.Context, u *undo.Stack) (c *child, err error) {
	prog, err := helper.Open()
	if err != nil {
		return nil, err
	}
	defer prog.Close()
	defer func() { closeAll(l.held) }()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	c = &child{parent: l.parent, pidfd: -1, sock: pair[0], theirs: pair[1]}
	if c.parent == nil {
		c.parent = new(self)
	}
	ch := c // an error's return sets c to nil before the stack unwinds
	u.Push("close the child's socket", func() error { ch.close(); return nil })

	files, err := l.openNamespaces()
	if err != nil {
		return nil, err
	}
	defer closeAll(files)
	early := !l.makeCgroup || !l.cgroup.NeedsPID()
	var tasks []*os.File
	cgroupDir := -1
	if early {
		var dir *os.File
		if tasks, dir, err = l.enterCgroup(ctx, 0, u); err != nil {
			return nil, err
		}
		defer closeAll(tasks)
		if dir != nil {
			defer dir.Close()
			cgroupDir = int(dir.Fd())
		}
	}
	first, twoStage, err := c.parent.Clone(&clone.Attr{
		Join: l.ns.join, New: l.ns.create, CgroupDir: cgroupDir, Program: int(prog.Fd()),
		Argv: []string{"berth-helper", "init", "SOCKET"}, SockArg: 2, Env: helperEnv,
		Sock: c.theirs, BecomeRoot: l.ns.becomeRoot, Undumpable: l.undumpable(),
	})
	if err != nil {
		ch.close() // ends a child that nobody knows of
		return nil, err
	}
	c.pid = first
	u.Push("end the first process", ch.kill)
	if err := l.reachReady(c, twoStage); err != nil {
		return nil, err
	}
	if !early {
		if tasks, _, err = l.enterCgroup(ctx, c.pid, u); err != nil {
			return nil, err
		}
		defer closeAll(tasks)
	}
	if l.inClass, err = l.rdt.Enter(c.pid); err != nil {
		return nil, err
	}
	u.Push("remove the resctrl group", l.inClass.Remove)
	if err := l.prepare(c, tasks); err != nil {
		return nil, err
	}
	if err := l.follow(c); err != nil {
		return nil, err
	}
	return c, nil
}

// undumpable reports whether processes of a container may see the child while
// it still is a copy of its parent. For a first process the caller seals itself
// instead, see create; an ordinary user could not write its id maps.
func (l *launch) undumpable() bool {
	return !l.makeCgroup || l.parent != nil && os.Geteuid() == 0 && l.ns.create&unix.CLONE_NEWPID == 0
}

// enterCgroup makes the cgroup unless it exists, and opens what the child
// enters it by. pid is the child for systemd, 0 before there is one.
func (l *launch) enterCgroup(ctx context.Context, pid int, u *undo.Stack) (tasks []*os.File, dir *os.File, err error) {
	if !l.makeCgroup {
		if len(l.below) > 0 {
			tasks, dir, err = l.cgroup.JoinFDsBelow(l.below)
		} else {
			tasks, dir, err = l.cgroup.JoinFDsOf(l.member)
		}
		if err != nil {
			return nil, nil, err
		}
		return l.late.divide(tasks, dir)
	}
	if l.making == nil {
		l.making = beginCgroup(ctx, l.cgroup, pid, u)
	}
	<-l.making.done
	return l.making.tasks, l.making.dir, l.making.err
}

// openNamespaces opens the namespaces to join that are known by path.
func (l *launch) openNamespaces() (files []*os.File, err error) {
	for _, p := range l.ns.paths {
		f, err := namespace.Open(p)
		if err != nil {
			closeAll(files)
			return nil, err
		}
		files = append(files, f)
		l.ns.join = append(l.ns.join, clone.Join{FD: int(f.Fd()), Flag: p.Flag})
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// reachReady waits until the child's namespaces exist and, with wantPID, c.pid
// is the second stage's.
func (l *launch) reachReady(c *child, wantPID bool) error {
	if err := c.openPidfd(); err != nil {
		return err
	}
	for waiting := true; waiting || wantPID; {
		kind, payload, err := c.next()
		if err != nil {
			return err
		}
		switch kind {
		case clone.FramePID:
			c.pid = int(u32(payload))
			closeFD(&c.pidfd)
			if err := c.openPidfd(); err != nil {
				return err
			}
			wantPID = false
		case clone.FrameReady:
			waiting = false
		case clone.FrameFail:
			return explainClone(clone.FailError(payload))
		default:
			return fmt.Errorf("the first process sent an unexpected message %q", kind)
		}
	}
	return nil
}

// explainClone adds what a user can do about a refused namespace.
func explainClone(err error) error {
	switch {
	case errors.Is(err, unix.ENOSPC):
		return fmt.Errorf("%w: the limit on namespaces is reached, see sysctl user.max_*_namespaces", err)
	case errors.Is(err, unix.EPERM) && os.Geteuid() != 0:
		return fmt.Errorf("%w: the kernel lets ordinary users make no user namespace, see sysctl kernel.unprivileged_userns_clone, user.max_user_namespaces and kernel.apparmor_restrict_unprivileged_userns", err)
	}
	return err
}

// prepare does what only the parent may do to a waiting child, then lets it go
// and sends it the plan.
func (l *launch) prepare(c *child, tasks []*os.File) error {
	host := &plan.Host{PID: c.pid}
	if l.maps != nil {
		if err := l.maps.Write(c.pid); err != nil {
			return err
		}
	}
	if l.ns.becomeRoot && l.makeCgroup {
		f, err := namespace.Open(namespace.Path{Flag: unix.CLONE_NEWUSER, Path: fmt.Sprintf("/proc/%d/ns/user", c.pid)})
		if err != nil {
			return err
		}
		defer f.Close()
		host.Userns = f
	}
	if err := writeTimeOffsets(c.pid, l.timeOffsets); err != nil {
		return err
	}
	if err := process.Outside(c.pid, l.process, l.options); err != nil {
		return err
	}
	if err := l.setOOMScore(c.pid); err != nil {
		return err
	}
	fds := make([]int, len(tasks))
	for i, f := range tasks {
		fds[i] = int(f.Fd())
	}
	timeNS := -1
	if l.ns.create&unix.CLONE_NEWTIME != 0 {
		f, err := os.Open(fmt.Sprintf("/proc/%d/ns/time_for_children", c.pid))
		if err != nil {
			return fmt.Errorf("open the new time namespace: %w", err)
		}
		l.held = append(l.held, f)
		timeNS = int(f.Fd())
	}
	if err := clone.Go(c.sock, fds, timeNS); err != nil {
		return err
	}
	files, err := l.plan.Open(host)
	if err != nil {
		return err
	}
	// Closing a mount that was attached as a copy takes long; the child's exec
	// shall not be the one that does.
	l.held = append(l.held, files...)
	table := make([]int, len(files))
	for i, f := range files {
		table[i] = int(f.Fd())
	}
	err = initproc.Send(c.sock, c.pidfd, l.plan.Encode(), table)
	if errors.Is(err, unix.EPIPE) {
		// The child says why it left, if it could.
		err = cmp.Or(l.follow(c), err)
	}
	return err
}

// setOOMScore gives the child the value that the process asks for, or the
// caller's, which it does not have from another parent.
func (l *launch) setOOMScore(pid int) error {
	want := l.process.OOMScoreAdj
	if want == nil && l.parent != nil {
		own, err := process.OOMScoreAdj()
		if err != nil {
			return err
		}
		want = &own
	}
	if want == nil || l.oomInherited {
		return nil
	}
	return process.SetOOMScoreAdj(pid, *want)
}

// follow answers the helper until it waits for start or has gone into exec.
func (l *launch) follow(c *child) error {
	for {
		kind, payload, err := c.next()
		if errors.Is(err, errExecuted) {
			return nil
		}
		if err != nil {
			return err
		}
		switch kind {
		case clone.FrameFail:
			return explainClone(clone.FailError(payload))
		case initproc.FrameHello:
			closeFD(&c.theirs)
			if err := c.parent.Spoken(c.pid); err != nil {
				return err
			}
		case initproc.FrameWarn:
			l.warn("%s", payload)
		case initproc.FrameError:
			return helperError(payload)
		case initproc.FrameWait:
			c.waiting = true
			return nil
		case initproc.FrameSync:
			if err := l.sync(initproc.SyncPoint(u32(payload)), c.pid); err != nil {
				return err
			}
			if err := c.goOn(); err != nil {
				return err
			}
		case initproc.FrameNotify:
			if err := l.passListener(c, int(u32(payload))); err != nil {
				return err
			}
		default:
			return fmt.Errorf("the first process sent an unexpected message %q", kind)
		}
	}
}

// passListener fetches the seccomp listener that the helper opened.
func (l *launch) passListener(c *child, number int) error {
	fd, err := unix.PidfdGetfd(c.pidfd, number, 0)
	if err != nil {
		return fmt.Errorf("fetch the seccomp listener: %w", err)
	}
	f := os.NewFile(uintptr(fd), "seccomp listener")
	defer f.Close()
	if l.notify == nil {
		return errors.New("the seccomp profile has a listener, and nobody to send it to")
	}
	if err := l.notify(c.pid, f); err != nil {
		return err
	}
	return c.goOn()
}
