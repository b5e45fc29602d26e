package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"berth/base/atomicfile"
	"berth/base/clock"
	"berth/base/fault"
	"berth/base/ids"
	"berth/base/undo"
	"berth/runtime/rdt"
	"berth/sys/proc"
)

// Create makes a container from a bundle; its first process waits for Start.
// It fails with kind Exists if the id is taken, Invalid if the configuration is
// wrong, and leaves nothing behind when it fails.
func (rt *Runtime) Create(ctx context.Context, req CreateRequest) (*Process, error) {
	if err := checkParent(req.Parent, req.PreserveFDs); err != nil {
		return nil, err
	}
	att := &attached{waits: true, passes: req.Parent != nil}
	defer att.close()
	c, ch, err := rt.create(ctx, req, att)
	if err != nil {
		return nil, err
	}
	defer c.close()
	defer ch.close()
	p, err := att.process(ch)
	if err != nil {
		return nil, errors.Join(err, ch.kill(), c.destroy(context.WithoutCancel(ctx), nil))
	}
	p.Cgroup = c.cgroups
	return p, nil
}

// create makes a container and holds its lock. Its process waits for start or
// starts at once, as the caller's hold on it says.
func (rt *Runtime) create(ctx context.Context, req CreateRequest, att *attached) (_ *container, _ *child, err error) {
	rt.begin()
	if _, err := ids.Parse(req.ID); err != nil {
		return nil, nil, err
	}
	raw, spec, bundle, err := rt.specOf(&req)
	if err != nil {
		return nil, nil, err
	}
	var u undo.Stack
	defer u.Unwind(&err)
	d, err := newDesign(rt, &req, spec, bundle)
	if err != nil {
		return nil, nil, err
	}
	u.Push("close the cgroups", d.cgroup.Close)
	if req.Parent == nil && d.joinsProcesses() && os.Geteuid() == 0 {
		if err := seal(); err != nil { // whoever lives in that pid namespace sees the child
			return nil, nil, err
		}
	}
	c, err := rt.reserve(req.ID)
	if err != nil {
		return nil, nil, err
	}
	u.Push("close the container's folder", c.dir.Close)
	u.Push("remove the container's folder", c.remove)
	d.container = c
	if err := writeNew(c.dir, configFile, raw); err != nil {
		return nil, nil, fmt.Errorf("keep config.json of container %q: %w", req.ID, err)
	}
	var making *making
	// Later where it needs the first process, or the plan depends on the outcome.
	if !rt.rootless() && !d.cgroup.NeedsPID() {
		making = beginCgroup(ctx, d.cgroup, 0, &u)
	}
	l, err := d.launch(att)
	if err != nil {
		return nil, nil, err
	}
	l.making = making
	if err := d.keep(); err != nil {
		return nil, nil, err
	}
	if att.waits {
		if err := unix.Mkfifo(c.path(fifoFile), 0o622); err != nil {
			return nil, nil, fmt.Errorf("make the start FIFO of container %q: %w", req.ID, err)
		}
	}
	u.Push("move network devices back", func() error {
		defer d.moved.Close()
		return d.moved.Back()
	})
	ch, err := l.start(ctx, &u)
	if err != nil {
		return nil, nil, err
	}
	if err := c.record(ch.pid, d, l.inClass); err != nil {
		return nil, nil, err
	}
	if err := ch.sendPidfd(req.PidfdSocket, pidfdOfFirst); err != nil {
		return nil, nil, err
	}
	if err := writePidFile(req.PidFile, ch.pid); err != nil {
		return nil, nil, err
	}
	if err := ch.leave(); err != nil {
		return nil, nil, err
	}
	u.Release()
	d.moved.Close()
	c.cgroups = d.cgroup.Paths()
	d.cgroup.Close()
	return c, ch, nil
}

// begin fills in what a verb may rely on.
func (rt *Runtime) begin() {
	rt.begun.Do(func() {
		if rt.Warn == nil {
			rt.Warn = func(string, ...any) {}
		}
		if rt.Rootless == nil {
			user := os.Geteuid() != 0
			if !user {
				user, _ = proc.InUserNamespace()
			}
			rt.Rootless = &user
		}
	})
}

// rootless reports whether the caller lacks root's rights on the host.
func (rt *Runtime) rootless() bool {
	rt.begin()
	return *rt.Rootless
}

// reserve makes the container's folder and takes its lock.
func (rt *Runtime) reserve(id string) (*container, error) {
	path := filepath.Join(rt.Root, id)
	err := os.Mkdir(path, 0o711)
	if errors.Is(err, os.ErrNotExist) {
		//house:allow call the state folder is the caller's own, no container can reach it
		if err := os.MkdirAll(rt.Root, 0o711); err != nil {
			return nil, fmt.Errorf("make the state folder: %w", err)
		}
		err = os.Mkdir(path, 0o711)
	}
	if errors.Is(err, os.ErrExist) {
		return nil, fault.New(fault.Exists, "create container %q: container with given ID already exists", id)
	}
	if err != nil {
		return nil, fmt.Errorf("make the folder of container %q: %w", id, err)
	}
	dir, err := openDir(path)
	if err != nil {
		os.Remove(path)
		return nil, fmt.Errorf("open container %q: %w", id, err)
	}
	if _, err := lockDir(dir, path); err != nil {
		dir.Close()
		os.Remove(path)
		return nil, fmt.Errorf("lock container %q: %w", id, err)
	}
	return &container{rt: rt, id: id, dir: dir}, nil
}

// remove deletes the container's folder; the lock goes with it.
func (c *container) remove() error {
	//house:allow call the container's state folder is ours, nothing in it is the container's
	if err := os.RemoveAll(filepath.Join(c.rt.Root, c.id)); err != nil {
		return fmt.Errorf("remove the state of container %q: %w", c.id, err)
	}
	return nil
}

// record saves the facts of a container whose first process exists.
func (c *container) record(pid int, d *design, class rdt.State) error {
	st, err := proc.ReadStat(pid)
	if err != nil {
		return fmt.Errorf("look at the first process: %w", err)
	}
	boot, err := clock.BootID()
	if err != nil {
		return err
	}
	c.rec = &record{
		Version: recordVersion, ID: c.id, Bundle: d.bundle, Rootfs: d.rootfs, PID: pid, StartTime: st.StartTime,
		BootID: boot, Created: time.Now().UTC(), Owner: os.Getuid(), Cgroup: d.cgroup.State(), RDT: class, Annots: d.spec.Annotations,
		Hooks: d.spec.Hooks != nil,
	}
	return c.save()
}

// writePidFile writes a pid without a newline, as runc does.
func writePidFile(path string, pid int) error {
	if path == "" {
		return nil
	}
	if err := atomicfile.Write(path, []byte(strconv.Itoa(pid)), 0o644); err != nil {
		return fmt.Errorf("write the pid file: %w", err)
	}
	return nil
}
