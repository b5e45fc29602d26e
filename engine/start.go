package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/base/clock"
	"berth/base/fault"
	"berth/base/undo"
	"berth/container"
	"berth/monitor"
	"berth/network"
	"berth/runtime"
	"berth/sys/proc"
)

// StartRequest starts a container that exists.
type StartRequest struct {
	Container string // name, id or unique prefix
	// Connected is called when all is there and nothing runs yet, so that a
	// client loses no output; its error ends the start.
	Connected func(container.ID, *monitor.Conn) error
	// Ahead is used for its monitor; may be nil.
	Ahead *Ahead
}

// Start runs a container's first process. Of one that runs already it does
// nothing.
func Start(ctx context.Context, e *Engine, r StartRequest) (container.ID, error) {
	id, err := e.Containers.Find(ctx, r.Container)
	if err != nil {
		return "", err
	}
	l, err := e.Containers.Lock(ctx, id)
	if err != nil {
		return id, err
	}
	defer l.Unlock()
	if _, err := settleLocked(ctx, e, l); err != nil {
		return id, err
	}
	facts, err := l.Facts()
	if err != nil {
		return id, err
	}
	if doomed(facts) {
		if err := finishRemoval(ctx, e, l, facts); err != nil {
			return id, err
		}
		return id, fault.New(fault.NotFound, "No such container: %s", r.Container)
	}
	switch facts.State() {
	case container.StateInitialized:
		return id, startWaiting(ctx, e, l, r.Connected)
	case container.StatePaused:
		return id, fault.New(fault.Conflict, "cannot start a paused container, try unpause instead")
	case container.StateRunning:
		// The verb that started it may have died before its program ran.
		if err := e.Runtime.Start(ctx, string(id)); !fault.Is(err, fault.Conflict) {
			return id, err
		}
		return id, nil
	case container.StateRestarting:
		dismiss(e.Containers.RunDir(id), 200*time.Millisecond)
	}
	err = startLocked(ctx, e, l, start{byUser: true, connected: r.Connected, ahead: r.Ahead})
	if err == nil {
		return id, nil
	}
	rec, failed := l.Record()
	if failed == nil && rec.Config.Life.Remove { // it would never run
		failed = removeLocked(context.WithoutCancel(ctx), e, l, rec, true)
	}
	if failed != nil {
		e.warn(failed)
	}
	return id, err
}

// start is one start under way.
type start struct {
	byUser    bool
	monitor   *monitor.Conn // of the last run, nil for a new one
	ahead     *Ahead        // the new one, may be nil
	again     bool          // it is of the last run
	waits     bool          // its program is for another verb to run
	connected func(container.ID, *monitor.Conn) error

	rec    *container.Record
	cfg    monitor.Config
	runDir string
	with   *sandbox // that others keep of the last run; nil: a new one
	ids    *container.Range
	net    *network.Attachment
	files  container.Files
	links  []link
	init   *os.File // the program of --init
	// profile is AppArmor's.
	profile string
}

// startLocked is the way of every start: the monitor, beside it what needs no
// process, the first process, its network, and at last its program.
func startLocked(ctx context.Context, e *Engine, l *container.Locked, s start) (err error) {
	if s.rec, err = l.Record(); err != nil {
		return err
	}
	var u undo.Stack
	defer func() {
		if err != nil {
			_ = l.Failed(failureCode(err), err)
		}
	}()
	defer u.Unwind(&err)
	if s.runDir, err = l.Prepare(s.byUser); err != nil {
		return err
	}
	if s.with, err = inherit(ctx, e, s.rec); err != nil {
		return err
	}
	if s.with != nil {
		defer s.with.Close()
	}
	if s.monitor == nil {
		if err := dropHalf(ctx, e, s.rec.ID); err != nil {
			return err
		}
	}
	if err := s.watchOver(ctx, e, &u); err != nil {
		return err
	}
	if err := s.gather(ctx, e, &u); err != nil {
		return err
	}
	p, err := s.create(ctx, e, &u)
	if err != nil {
		return err
	}
	defer p.Close()
	if err := s.adopt(p); err != nil {
		return err
	}
	if err := s.hold(); err != nil {
		return err
	}
	if err := s.connect(ctx, e, p.PID); err != nil {
		return err
	}
	fact, err := s.fact(p.PID)
	if err != nil {
		return err
	}
	if err := l.Started(*fact); err != nil {
		return err
	}
	if err := s.monitor.Settle(); err != nil { // what it said to Adopt, meanwhile
		return err
	}
	tellLinked(ctx, e, s.rec.ID)
	if s.waits {
		tellOfNetworks(e, s.rec, "connect")
		u.Release()
		return nil
	}
	if s.connected != nil {
		if err := s.connected(s.rec.ID, s.monitor); err != nil {
			return err
		}
		e.tell(s.rec, "attach", nil)
	}
	tellOfNetworks(e, s.rec, "connect")
	if err := s.run(ctx, e, p.PID); err != nil {
		return err
	}
	u.Release()
	e.tell(s.rec, "start", nil)
	return nil
}

// run lets the program go.
func (s *start) run(ctx context.Context, e *Engine, pid int) error {
	if err := e.Runtime.Start(ctx, string(s.rec.ID)); err != nil {
		return err
	}
	if s.init != nil {
		if err := runtime.InitReady(ctx, pid); err != nil {
			return err
		}
	}
	return writePIDFile(s.rec.Config.Life.PIDFile, pid)
}

// watchOver starts the monitor, unless that of the last run is still there.
func (s *start) watchOver(ctx context.Context, e *Engine, u *undo.Stack) (err error) {
	if s.cfg, err = monitorConfig(e, s.rec, s.runDir); err != nil {
		return err
	}
	if err := canSend(s.rec); err != nil {
		return err
	}
	if s.monitor != nil {
		s.again = true
		return nil
	}
	if s.monitor, err = startMonitor(ctx, e, s.cfg, s.ahead); err != nil {
		return err
	}
	u.Push("end the monitor", func() error {
		defer s.monitor.Close()
		return s.monitor.Dismiss(200 * time.Millisecond) // its word may wait for our lock
	})
	return ownScope(ctx, e, "berth-monitor-"+string(s.rec.ID), s.monitor.PID())
}

// gather finds what the first process needs while the monitor comes up.
func (s *start) gather(ctx context.Context, e *Engine, u *undo.Stack) (err error) {
	id := s.rec.ID
	if err := joinable(ctx, e, &s.rec.Config, true); err != nil {
		return err
	}
	n := &s.rec.Config.Namespaces
	for _, mode := range []*string{&s.rec.Config.Network.Mode, &n.IPC, &n.PID, &n.User} {
		other, ok := strings.CutPrefix(*mode, "container:")
		if !ok {
			continue
		}
		with, err := e.Containers.Get(ctx, other)
		if err != nil {
			return err
		}
		if mode == &s.rec.Config.Network.Mode {
			s.rec.Hostname = with.Hostname // their network goes by that name
		}
		if err := noteSharer(e, id, with); err != nil { // whose ids it has, too
			return err
		}
	}
	if s.with != nil {
		s.ids = s.with.ids
	} else if s.rec.Userns.Settled() {
		if s.ids, err = settledIDs(ctx, e, s.rec); err != nil {
			return err
		}
	} else if s.rec.Userns.Private {
		if s.ids, err = e.Ranges.Take(string(id), s.rec.Userns.Size, s.rec.Userns.LargeUIDs, s.rec.Userns.LargeGIDs); err != nil {
			return err
		}
		u.Push("give the ids back", func() error { return e.Ranges.Give(string(id), s.ids) })
	}
	var held []*os.File
	if s.again && publishes(s.rec) {
		if held, err = s.monitor.Held(); err != nil {
			return err
		}
		defer closeFiles(held)
	}
	if s.net, err = prepareNetwork(ctx, e, s.rec, held); err != nil {
		return err
	}
	if s.net != nil {
		u.Push("leave the networks", func() error { return e.Networks.Detach(context.WithoutCancel(ctx), id) })
	}
	uid, _ := hostRoot(s.ids)
	if s.links, err = linksOf(ctx, e, s.rec, true); err != nil {
		return err
	}
	if err := noteLinks(e, s.rec, s.links); err != nil {
		return err
	}
	s.files, err = writeFiles(e, s.rec, s.net, s.links, uid)
	return err
}

// create makes the first process, which waits.
func (s *start) create(ctx context.Context, e *Engine, u *undo.Stack) (*runtime.Process, error) {
	tree, err := treeOf(ctx, e, s.rec)
	if err != nil {
		return nil, err
	}
	mounts, err := startMounts(ctx, e, s.rec)
	if err != nil {
		return nil, err
	}
	if err := relabel(s.rec, mounts); err != nil {
		return nil, err
	}
	if err := giveMounts(ctx, e, s.rec, mounts, s.ids); err != nil {
		return nil, err
	}
	opened, err := openSubpaths(mounts)
	defer func() { closeFiles(opened) }()
	if err != nil {
		return nil, err
	}
	if s.rec.Config.Process.Init {
		var done func()
		if s.init, done, err = runtime.InitFile(filepath.Join(s.runDir, "init")); err != nil {
			return nil, err
		}
		defer done()
		if err := labelInit(s.rec, s.init); err != nil {
			return nil, err
		}
	}
	bundle, err := s.bundle(ctx, e, mounts)
	if err != nil {
		return nil, err
	}
	shm, err := sharedMemory(ctx, e, &s.rec.Config)
	if err != nil {
		return nil, err
	}
	if shm != nil {
		defer shm.Close()
	}
	req := runtime.CreateRequest{
		Trees: map[string]*os.File{container.SharedMemory: shm},
		ID:    string(s.rec.ID), Bundle: s.runDir, Spec: bundle.Spec, Parent: s.monitor, Init: s.init != nil,
		Root: &runtime.Overlay{Store: tree.Store, Lower: tree.Lower, Upper: tree.Upper, Work: tree.Work, Options: tree.Options,
			Owned: e.Defaults.Rootless},
		Account: &runtime.Account{User: bundle.User, Groups: bundle.Groups},
	}
	if !s.cfg.Terminal && !s.cfg.Passthrough {
		uid, gid := hostRoot(s.ids)
		if req.Stdio, err = monitor.Stdio(&s.cfg, uid, gid); err != nil {
			return nil, err
		}
		defer closeFiles(req.Stdio[:])
		if err := labelStreams(s.rec, req.Stdio); err != nil {
			return nil, err
		}
	}
	if err := s.monitor.Prepare(); err != nil {
		return nil, err
	}
	p, err := e.Runtime.Create(ctx, req)
	if err != nil {
		return nil, err
	}
	u.Push("remove the first process", func() error { return e.Runtime.Delete(context.WithoutCancel(ctx), string(s.rec.ID), true) })
	return p, nil
}

// adopt hands the first process to the monitor, with the files that tell of OOM
// kills.
func (s *start) adopt(p *runtime.Process) error {
	var oom []*os.File
	defer func() { closeFiles(oom) }()
	for controller, file := range map[string]string{"memory": "memory.oom_control", "": "memory.events"} {
		dir, ok := p.Cgroup[controller]
		if !ok {
			continue
		}
		if f, err := os.Open(filepath.Join(dir, file)); err == nil { // hybrid: v2 has none
			oom = append(oom, f)
		}
	}
	return s.monitor.Adopt(p.PID, p.Console, oom...)
}

// hold has the monitor keep the sockets of published ports, as long as it lives.
func (s *start) hold() error {
	if s.net == nil || len(s.net.Hold) == 0 && !s.again {
		return nil
	}
	defer closeFiles(s.net.Hold)
	if err := monitor.Keep(s.monitor, s.net.Hold...); err != nil || len(s.net.Hold) == 0 {
		return err
	}
	return awaitVisitors(s.net, s.monitor)
}

// hostRoot is who the container's root is on the host.
func hostRoot(ids *container.Range) (uid, gid int) {
	if ids == nil {
		return os.Geteuid(), os.Getegid()
	}
	return rootIn(ids.UIDs), rootIn(ids.GIDs)
}

// onHost is who a user of the container is on the host.
func onHost(ids *container.Range, insideUID, insideGID uint32) (uid, gid int, ok bool) {
	hostUID, uok := runtime.HostID(ids.UIDs, insideUID)
	hostGID, gok := runtime.HostID(ids.GIDs, insideGID)
	return int(hostUID), int(hostGID), uok && gok
}

// rootIn is the host's id of root; where nobody is, of who the user is.
func rootIn(ids []specs.LinuxIDMapping) int {
	id, _ := runtime.HostID(ids, 0)
	return int(id)
}

// bundle is the last place where policy is decided.
func (s *start) bundle(ctx context.Context, e *Engine, mounts []container.Mount) (*container.Bundle, error) {
	devices, err := container.Devices(&s.rec.Config)
	if err != nil {
		return nil, err
	}
	if err := devices.Inject(&s.rec.Config, e.Defaults.CDI(), e.host().Kernel); err != nil {
		return nil, err
	}
	join, err := joinPaths(ctx, e, &s.rec.Config)
	if err != nil {
		return nil, err
	}
	if s.with != nil {
		join.Network = openPath(s.with.net)
		if s.ids != nil {
			join.User = openPath(s.with.user)
		}
	}
	secrets, err := s.secrets(e, join.User != "")
	if err != nil {
		return nil, err
	}
	host := e.host() // which settles who makes cgroups
	in := &container.Inputs{
		ID: string(s.rec.ID), Hostname: s.rec.Hostname, Root: "rootfs", Join: *join, Mounts: mounts, Files: s.files,
		Devices: devices, Host: *host, Ulimits: ulimits(e.Defaults.Ulimits), Rootless: e.Defaults.Rootless,
		SystemdCgroup: e.Runtime.SystemdCgroup, Secrets: secrets,
	}
	in.Labels, s.profile = labels(ctx, e, s.rec, true)
	for i := range s.links {
		in.Environment = append(in.Environment, s.links[i].environ(s.rec.Name)...)
	}
	if in.SystemdCgroup {
		in.Annotations = runtime.EndsAfter()
	}
	if s.init != nil {
		in.Init = fmt.Sprintf("/proc/self/fd/%d", s.init.Fd())
	}
	if s.ids != nil && join.User == "" {
		in.UIDs, in.GIDs = s.ids.UIDs, s.ids.GIDs
	}
	return container.Spec(&s.rec.Config, &s.rec.Resolved, in)
}

// connect joins the networks, whose devices appear in the waiting process's
// namespace.
func (s *start) connect(ctx context.Context, e *Engine, pid int) error {
	if s.net == nil {
		return nil
	}
	ns, err := networkOf(pid)
	if err != nil {
		return err
	}
	defer ns.Close()
	if err := s.vacate(); err != nil {
		return err
	}
	if err := e.Networks.Connect(ctx, s.net, ns); err != nil {
		return err
	}
	fresh, err := leaseAddresses(ctx, e, s.rec, s.net, pid, ns)
	if err == nil && fresh {
		err = leaseFiles(ctx, e, s.rec, s.net)
	}
	if err != nil || !s.net.Named() {
		return err
	}
	return serveNames(ctx, e, s.rec.ID, pid, ns, s.monitor)
}

func (s *start) fact(pid int) (*container.Started, error) {
	st, err := proc.ReadStat(pid)
	if err != nil {
		return nil, fmt.Errorf("look at the first process: %w", err)
	}
	boot, err := clock.BootID()
	if err != nil {
		return nil, err
	}
	watcher, err := s.watcher()
	if err != nil {
		return nil, err
	}
	f := &container.Started{
		Process: container.Process{PID: pid, StartTime: st.StartTime}, BootID: boot, At: time.Now().UTC(),
		Monitor: watcher, Range: s.ids, Waits: s.waits, AppArmor: s.profile, Durable: s.rec.Config.Restart.Wanted(),
	}
	if s.net != nil {
		f.Addresses, f.Ports = addressesOf(s.net), portsOf(s.net)
	}
	return f, nil
}

// watcher names the monitor's process; one that is of the last run is asked.
func (s *start) watcher() (container.Process, error) {
	if s.monitor.PID() == 0 {
		return identify(s.monitor)
	}
	return container.Identify(s.monitor.PID())
}

// identify asks a monitor for its process.
func identify(conn *monitor.Conn) (container.Process, error) {
	status, err := conn.Status()
	if err != nil {
		return container.Process{}, err
	}
	p, err := container.Identify(status.Monitor)
	if err != nil {
		return p, fmt.Errorf("look at the monitor: %w", err)
	}
	return p, nil
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
