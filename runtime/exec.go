package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/base/undo"
	"berth/runtime/initproc"
	"berth/runtime/namespace"
	"berth/runtime/plan"
	"berth/runtime/process"
	"berth/sys/clone"
)

// Exec runs one more process in a running container. Attached, it waits for it
// and returns its exit code, as Run does.
func (rt *Runtime) Exec(ctx context.Context, req ExecRequest) (exit int, err error) {
	if req.Parent != nil {
		return -1, fault.New(fault.Invalid, "exec in container %q: the exit code of another's child cannot be had", req.ID)
	}
	att := &attached{detach: req.Detach}
	defer att.close()
	ch, signals, err := rt.exec(ctx, &req, att)
	if err != nil {
		return -1, err
	}
	defer signals.close()
	defer ch.close()
	if req.Detach {
		return 0, nil
	}
	return att.wait(ch, signals)
}

// Spawn is Exec for a process that is left to its parent: it returns when the
// program runs.
func (rt *Runtime) Spawn(ctx context.Context, req ExecRequest) (*Process, error) {
	att := &attached{detach: true, passes: true}
	defer att.close()
	if err := checkParent(req.Parent, req.PreserveFDs); err != nil {
		return nil, err
	}
	ch, _, err := rt.exec(ctx, &req, att)
	if err != nil {
		return nil, err
	}
	defer ch.close()
	p, err := att.process(ch)
	if err != nil {
		return nil, errors.Join(err, ch.kill())
	}
	return p, nil
}

// ErrStopped is an exec in a container whose first process has ended, or is ending.
var ErrStopped = fault.New(fault.Conflict, "cannot exec in a stopped container")

// exec starts the process. Signals are caught from the last moment on at which
// this program may have executed itself again.
func (rt *Runtime) exec(ctx context.Context, req *ExecRequest, att *attached) (_ *child, _ *signals, err error) {
	rt.begin()
	c, err := rt.open(req.ID, false)
	if err != nil {
		return nil, nil, err
	}
	defer c.close()
	if st := c.status(); st == specs.StateStopped {
		return nil, nil, ErrStopped
	}
	if !req.IgnorePaused && c.paused() {
		return nil, nil, fault.New(fault.Conflict, "cannot exec in a paused container (use --ignore-paused to override)")
	}
	k, err := c.kept()
	if err != nil {
		return nil, nil, err
	}
	d := &execDesign{container: c, req: req, kept: k, traces: mayTrace(k.Process.Capabilities)}
	if req.Process == nil {
		req.Process = k.Process
	}
	if req.Change != nil {
		if err := req.Change(req.Process); err != nil {
			return nil, nil, err
		}
	}
	if err := d.enter(); err != nil {
		return nil, nil, err
	}
	defer closeAll(d.files)
	var u undo.Stack
	defer u.Unwind(&err)
	signals, err := catchSignals(att.detach)
	if err != nil {
		return nil, nil, err
	}
	u.Push("let go of signals", func() error { signals.close(); return nil })
	ch, err := d.start(ctx, att, &u)
	if err != nil {
		return nil, nil, err
	}
	if err := errors.Join(ch.sendPidfd(req.PidfdSocket, pidfdOfExec), writePidFile(req.PidFile, ch.pid)); err != nil {
		return nil, nil, err
	}
	u.Release()
	return ch, signals, nil
}

// execDesign is an exec thought out from its request and the container.
type execDesign struct {
	container *container
	req       *ExecRequest
	kept      *kept
	traces    bool          // the container's own process may trace
	files     []*os.File    // the container's namespaces
	set       namespace.Set // what they are
}

// enter opens the container's namespaces, and protects this program from those
// who live in them.
func (d *execDesign) enter() error {
	dir, err := d.container.rec.procDir()
	if err != nil {
		return err
	}
	defer dir.Close()
	files, flags, err := namespace.Foreign(dir)
	if errors.Is(err, os.ErrNotExist) { // it is ending: they go before it is seen to be dead
		return ErrStopped
	}
	if err != nil {
		return err
	}
	d.files = files
	for i, f := range files {
		d.set.Join = append(d.set.Join, namespace.Path{Flag: flags[i], Path: f.Name()})
	}
	if d.req.Parent == nil && d.exposed() {
		if err := seal(); err != nil {
			return err
		}
	}
	return d.noteTrace()
}

// start opens the container's namespaces and launches the process in them.
func (d *execDesign) start(ctx context.Context, att *attached, u *undo.Stack) (_ *child, err error) {
	p := d.req.Process
	if err := checkProcess(p); err != nil {
		return nil, err
	}
	if err := process.CheckOOMScoreAdj(p); err != nil {
		return nil, err
	}
	// An ordinary user cannot reach the files of an undumpable child.
	inherit := os.Geteuid() != 0 && (p.OOMScoreAdj != nil || d.req.Parent != nil)
	if inherit && d.req.Parent == nil {
		if err := process.SetOOMScoreAdj(os.Getpid(), *p.OOMScoreAdj); err != nil {
			return nil, err
		}
	}
	l := &launch{parent: d.req.Parent, process: p, oomInherited: inherit, warn: d.container.rt.Warn, member: d.container.rec.PID, below: d.req.Cgroup, notify: d.passListener}
	for i, f := range d.files {
		l.ns.join = append(l.ns.join, clone.Join{FD: int(f.Fd()), Flag: d.set.Join[i].Flag})
	}
	l.ns.becomeRoot = d.set.Has(unix.CLONE_NEWUSER)
	if l.cgroup, err = d.container.openCgroup(); err != nil {
		return nil, err
	}
	l.late = newLateEntry(l.cgroup)
	defer l.late.close()
	if err := d.plan(l, d.set, att); err != nil {
		return nil, err
	}
	return l.start(ctx, u)
}

// plan plans the process; it is a first process's plan less the root's part.
func (d *execDesign) plan(l *launch, set namespace.Set, att *attached) (err error) {
	p := d.req.Process
	opts := &process.Options{ID: d.req.ID, Exec: true, Namespaces: set, Filter: d.kept.filter(), Account: d.req.Account, Warn: l.warn}
	if opts.ConsoleSocket, err = att.receiver(p, d.req.ConsoleSocket); err != nil {
		return err
	}
	b := plan.New()
	if d.kept.Chroot {
		b.Add(&initproc.OpenRoot{Path: "/", Tree: b.File("root of the container", d.container.rec.openRoot)},
			&initproc.PivotRoot{Mode: initproc.RootChroot})
	}
	for _, phase := range []func() error{
		func() error { return process.Streams(b, p, d.req.Stdio) },
		func() error { return process.Terminal(b, p, opts) },
		func() error { return process.Early(b, d.kept.spec(), p, opts) },
		func() error {
			// With all rights still: a v2 cgroup takes the helper's threads along,
			// which have them too.
			if !l.late.none {
				b.Add(&initproc.EnterCgroup{File: b.File("cgroup of processes", l.late.open)})
			}
			return process.Late(b, p, opts)
		},
		func() error {
			b.Add(&initproc.Workdir{Path: p.Cwd}, &initproc.LookPath{File: p.Args[0], Path: searchPath(p.Env)})
			return process.BeforeWait(b, p, opts)
		},
		func() error { return process.AfterWait(b, p, opts) },
	} {
		if err := phase(); err != nil {
			return err
		}
	}
	b.Add(&initproc.Exec{Args: p.Args, Env: environment(p.Env), Keep: d.req.PreserveFDs})
	l.plan, l.options = b, opts
	return nil
}

func (d *execDesign) passListener(pid int, listener *os.File) error {
	state := d.container.state(specs.StateRunning)
	state.Pid = pid
	return sendListener(d.kept.Listener, d.kept.Metadata, state, listener)
}

// procDir opens /proc/PID of the first process and then makes sure that it is
// still the recorded one, so that what is opened below it is the container's.
func (r *record) procDir() (*os.File, error) {
	dir, err := openDir(fmt.Sprintf("/proc/%d", r.PID))
	if err != nil || !r.alive() {
		if err == nil {
			dir.Close()
		}
		return nil, ErrStopped
	}
	return dir, nil
}

// openRoot opens the root of the first process.
func (r *record) openRoot(*plan.Host) (*os.File, error) {
	dir, err := r.procDir()
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	fd, err := unix.Openat(int(dir.Fd()), "root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the root of process %d: %w", r.PID, err)
	}
	return os.NewFile(uintptr(fd), "/"), nil
}
