package runtime

//lint:file-ignore SA1019 prestart hooks are deprecated, and engines still give them

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/base/undo"
	"berth/runtime/cgroup"
	"berth/runtime/hook"
	"berth/runtime/idmap"
	"berth/runtime/initproc"
	"berth/runtime/namespace"
	"berth/runtime/netdev"
	"berth/runtime/plan"
	"berth/runtime/process"
	"berth/runtime/rdt"
	"berth/runtime/rootfs"
	"berth/runtime/seccomp"
)

// design is a container thought out from its bundle, before anything of it
// exists. Making it checks the whole configuration.
type design struct {
	rt     *Runtime
	req    *CreateRequest
	spec   *specs.Spec
	bundle string
	rootfs string // absolute
	ns     namespace.Set
	maps   *idmap.Maps
	filter *seccomp.Filter
	cgroup *cgroup.Cgroup
	rdt    *rdt.Class
	// latePids is a limit on processes that is set when the helper's threads are
	// not in the way any more.
	latePids *specs.LinuxPids

	container *container    // set once its folder exists
	moved     *netdev.Moved // set at the runtime hooks
}

func newDesign(rt *Runtime, req *CreateRequest, spec *specs.Spec, bundle string) (_ *design, err error) {
	d := &design{rt: rt, req: req, spec: spec, bundle: bundle}
	if err := checkSpec(spec); err != nil {
		return nil, err
	}
	if err := hook.Check(spec.Hooks); err != nil {
		return nil, err
	}
	if err := process.CheckOOMScoreAdj(spec.Process); err != nil {
		return nil, err
	}
	d.rootfs = spec.Root.Path
	if !filepath.IsAbs(d.rootfs) {
		//house:allow call for the state and for opening the root itself, which the engine names
		d.rootfs = filepath.Join(bundle, d.rootfs)
	}
	if d.ns, err = namespace.Parse(spec.Linux.Namespaces); err != nil {
		return nil, err
	}
	if d.maps, err = idmap.FromSpec(spec.Linux, d.ns); err != nil {
		return nil, err
	}
	if rt.rootless() && os.Geteuid() != 0 && !d.ns.Has(unix.CLONE_NEWUSER) {
		return nil, fault.New(fault.Invalid, "linux.namespaces: an ordinary user's container needs a user namespace")
	}
	if err := netdev.Check(spec.Linux.NetDevices, d.ns); err != nil {
		return nil, err
	}
	if len(spec.Linux.TimeOffsets) > 0 && d.ns.New&unix.CLONE_NEWTIME == 0 {
		return nil, fault.New(fault.Invalid, "linux.timeOffsets: clocks have offsets only in a new time namespace")
	}
	if d.filter, err = seccomp.Compile(spec.Linux.Seccomp); err != nil {
		return nil, err
	}
	if d.rdt, err = rdt.New(spec.Linux.IntelRdt, req.ID, rdt.Mount); err != nil {
		return nil, err
	}
	d.splitPids()
	if d.cgroup, err = newCgroup(rt, req.ID, spec, d.maps); err != nil {
		return nil, err
	}
	return d, nil
}

// newCgroup designs the container's cgroup.
func newCgroup(rt *Runtime, id string, spec *specs.Spec, maps *idmap.Maps) (*cgroup.Cgroup, error) {
	l, err := cgroup.Detect()
	if err != nil {
		return nil, err
	}
	owner := -1
	if maps != nil {
		if host, ok := idmap.Host(maps.UID, 0); ok {
			owner = int(host)
		}
	}
	cg, err := cgroup.New(l, cgroup.Config{
		ID: id, Path: spec.Linux.CgroupsPath, Systemd: rt.SystemdCgroup, Rootless: rt.rootless(),
		Resources: spec.Linux.Resources, DefaultDevices: true, OwnerUID: owner, Annotations: spec.Annotations,
	})
	if err != nil {
		l.Close()
		return nil, err
	}
	return cg, nil
}

// making is a cgroup that is being made, while its container's plan is.
type making struct {
	done  chan struct{}
	made  bool
	tasks []*os.File
	dir   *os.File
	err   error
}

// beginCgroup begins to make a cgroup; pid is for systemd, 0 before there is one.
func beginCgroup(ctx context.Context, c *cgroup.Cgroup, pid int, u *undo.Stack) *making {
	m := &making{done: make(chan struct{})}
	go func() {
		defer close(m.done)
		if m.err = c.Create(ctx, pid); m.err == nil {
			m.made = true
			m.tasks, m.dir, m.err = c.JoinFDs()
		}
	}()
	u.Push("remove the cgroup", func() error {
		if <-m.done; !m.made {
			return nil
		}
		return c.Remove(context.WithoutCancel(ctx))
	})
	return m
}

// openCgroup finds the cgroup of a container that exists.
func (c *container) openCgroup() (*cgroup.Cgroup, error) {
	if c.cg != nil {
		return c.cg, nil
	}
	l, err := cgroup.Detect()
	if err != nil {
		return nil, fmt.Errorf("find the cgroup of container %q: %w", c.id, err)
	}
	if c.cg, err = cgroup.Open(l, c.rec.Cgroup); err != nil {
		c.cg = nil
		l.Close()
		return nil, fmt.Errorf("find the cgroup of container %q: %w", c.id, err)
	}
	return c.cg, nil
}

// launch makes the plan of the first process: the order in which a container
// comes to be.
func (d *design) launch(att *attached) (*launch, error) {
	b := plan.New()
	opts := d.processOptions()
	var err error
	if opts.ConsoleSocket, err = att.receiver(d.spec.Process, d.req.ConsoleSocket); err != nil {
		return nil, err
	}
	if err := process.Streams(b, d.spec.Process, d.req.Stdio); err != nil {
		return nil, err
	}
	ro := d.rootOptions()
	if err := rootfs.Before(b, d.spec, ro); err != nil {
		return nil, err
	}
	if err := process.Terminal(b, d.spec.Process, opts); err != nil {
		return nil, err
	}
	h := d.spec.Hooks
	if h != nil && len(h.Prestart)+len(h.CreateRuntime) > 0 || len(d.spec.Linux.NetDevices) > 0 {
		b.Add(&initproc.Sync{Point: initproc.SyncRuntimeHooks})
	}
	state := d.state(0, specs.StateCreating)
	if h != nil {
		if err := process.Hooks(b, "createContainer", h.CreateContainer, *state); err != nil {
			return nil, err
		}
	}
	if err := rootfs.Pivot(b, d.spec, ro); err != nil {
		return nil, err
	}
	if err := d.inside(b, opts, att.waits); err != nil {
		return nil, err
	}
	if err := b.Check(); err != nil {
		return nil, err
	}
	return &launch{
		plan: b, parent: d.req.Parent, ns: launchNamespaces{paths: d.ns.Join, create: d.ns.New, becomeRoot: d.ns.Has(unix.CLONE_NEWUSER)},
		maps: d.maps, timeOffsets: d.spec.Linux.TimeOffsets, process: d.spec.Process, options: opts,
		cgroup: d.cgroup, makeCgroup: true, rdt: d.rdt, sync: d.sync, notify: d.passListener, warn: d.rt.Warn,
	}, nil
}

// joinsProcesses reports whether the first process joins a pid namespace that
// others live in.
func (d *design) joinsProcesses() bool {
	return d.ns.Has(unix.CLONE_NEWPID) && d.ns.New&unix.CLONE_NEWPID == 0
}

// env is the process's environment with what sd_listen_fds(3) looks for.
func (d *design) env() []string {
	env := d.spec.Process.Env
	if n := d.req.ListenFDs; n > 0 {
		env = append(slices.Clip(env), "LISTEN_FDS="+strconv.Itoa(n), "LISTEN_PID=1")
	}
	return env
}

// inside plans what happens in the new root, up to the program itself.
func (d *design) inside(b *plan.Builder, opts *process.Options, wait bool) error {
	p := d.spec.Process
	if err := process.Early(b, d.spec, p, opts); err != nil {
		return err
	}
	if err := process.Late(b, p, opts); err != nil {
		return err
	}
	b.Add(&initproc.Workdir{Path: p.Cwd}, &initproc.LookPath{File: p.Args[0], Path: searchPath(p.Env)})
	if err := process.BeforeWait(b, p, opts); err != nil {
		return err
	}
	if d.latePids != nil {
		b.Add(&initproc.Sync{Point: initproc.SyncLimits})
	}
	if wait {
		b.Add(&initproc.WaitStart{FIFO: b.File("start FIFO", d.openFIFO), Errors: b.File("error file", d.openErrors)})
	}
	if h := d.spec.Hooks; h != nil {
		if err := process.Hooks(b, "startContainer", h.StartContainer, *d.state(0, specs.StateCreated)); err != nil {
			return err
		}
	}
	if err := process.AfterWait(b, p, opts); err != nil {
		return err
	}
	b.Add(&initproc.Exec{Args: p.Args, Env: environment(d.env()), Keep: d.req.PreserveFDs, Block: d.req.Init})
	return nil
}

// searchPath returns the value of PATH in an environment; the last one counts.
func searchPath(env []string) string {
	for i := len(env) - 1; i >= 0; i-- {
		if v, ok := strings.CutPrefix(env[i], "PATH="); ok {
			return v
		}
	}
	return ""
}

func (d *design) processOptions() *process.Options {
	return &process.Options{ID: d.req.ID, Namespaces: d.ns, NoNewKeyring: d.req.NoNewKeyring, Filter: d.filter, Account: d.req.Account, Warn: d.rt.Warn}
}

func (d *design) rootOptions() rootfs.Options {
	view := rootfs.CgroupView{Unified: d.cgroup.Mode() == cgroup.V2, Path: d.cgroup.Unified()}
	for _, dir := range d.cgroup.V1() {
		view.V1 = append(view.V1, rootfs.Hierarchy(dir))
	}
	return rootfs.Options{Bundle: d.bundle, Overlay: d.req.Root, Trees: d.req.Trees, NoPivot: d.req.NoPivot, Cgroup: view, Rights: rootfs.OwnRights(), Warn: d.rt.Warn}
}

func (d *design) state(pid int, status specs.ContainerState) *specs.State {
	return &specs.State{Version: specs.Version, ID: d.req.ID, Status: status, Pid: pid, Bundle: d.bundle, Annotations: d.spec.Annotations}
}

func (d *design) openFIFO(*plan.Host) (*os.File, error) {
	return openIn(d.container.dir, fifoFile, unix.O_RDWR)
}

func (d *design) openErrors(*plan.Host) (*os.File, error) {
	return openIn(d.container.dir, errorFile, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL)
}

func openIn(dir *os.File, name string, flags int) (*os.File, error) {
	fd, err := unix.Openat(int(dir.Fd()), name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", filepath.Join(dir.Name(), name), err)
	}
	return os.NewFile(uintptr(fd), name), nil
}
