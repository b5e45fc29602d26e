package engine

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"berth/base/atomicfile"
	"berth/base/fault"
	"berth/base/ids"
	"berth/base/journal"
	"berth/base/undo"
	"berth/container"
	"berth/container/config"
	"berth/image"
	"berth/monitor"
	"berth/volume"
)

// CreateRequest asks for a container.
type CreateRequest struct {
	Config config.Config
	Name   string // "" for a random one
	// Pull is how a missing image is fetched; its Name and Policy are the
	// configuration's.
	Pull PullRequest
	// Missing is told the name of an image that is not here, before it is pulled;
	// Pulled what came.
	Missing func(familiar string)
	Pulled  func([]image.Pulled)
	// Warn is told what could not be given although nobody asked for it by name.
	Warn func(string)
}

// Create makes a container: record, root file system, volumes; it runs nothing.
// Nothing stays behind when it fails, but an image that it pulled.
func Create(ctx context.Context, e *Engine, r CreateRequest) (id container.ID, err error) {
	if err := freeIDFile(r.Config.Life.CIDFile); err != nil {
		return "", err
	}
	base, err := baseOf(ctx, e, &r)
	if err != nil {
		return "", err
	}
	secrets, err := findSecrets(e, &r.Config)
	if err != nil {
		return "", err
	}
	rec, err := design(ctx, e, &r, base)
	if err != nil {
		return "", err
	}
	var u undo.Stack
	defer u.Unwind(&err)
	locked, err := e.Containers.Begin(rec)
	if err != nil {
		return "", err
	}
	u.Push("give the container's lock back", locked.Abandon)
	done, err := takePart(ctx, e, rec, &u)
	if err != nil {
		return "", err
	}
	defer done()
	levelled, err := takeLabels(ctx, e, rec, &u)
	if err != nil {
		return "", err
	}
	defer levelled()
	if err := provideVolumes(ctx, e, locked, rec, &u); err != nil {
		return "", err
	}
	err = locked.Make(rec)
	if fault.Is(err, fault.Conflict) && freeName(ctx, e, rec.Name) {
		err = locked.Make(rec)
	}
	if err != nil {
		return "", err
	}
	done()
	levelled()
	u.Push("remove the container's record", locked.Unmake)
	tree, err := e.Writables.Prepare(ctx, rec.Snapshot, base.Image, rec.Config.Image.SizeLimit, ownersOf(rec))
	if err != nil {
		if rec.Userns.Part && fault.Is(err, fault.Invalid) {
			err = fmt.Errorf("--userns=%s: %w: auto:size=N gives the container more ids", rec.Config.Namespaces.User, err)
		}
		return "", err
	}
	u.Push("remove the container's files", func() error { return e.Writables.Remove(context.WithoutCancel(ctx), rec.Snapshot) })
	if err := labelLayers(rec, tree.Lower); err != nil {
		return "", err
	}
	if err := nameKept(ctx, e, rec); err != nil {
		return "", err
	}
	if err := fillVolumes(ctx, e, rec); err != nil {
		return "", err
	}
	if err := keepSecrets(e, rec, secrets); err != nil {
		return "", err
	}
	if err := writeIDFile(r.Config.Life.CIDFile, rec.ID); err != nil {
		return "", err
	}
	if err := locked.Finish(); err != nil {
		return "", err
	}
	u.Release()
	e.tell(rec, "create", nil)
	return rec.ID, nil
}

// freeIDFile refuses a file for the id that is there already.
func freeIDFile(path string) error {
	if path == "" {
		return nil
	}
	if _, err := os.Lstat(path); err == nil {
		return fault.New(fault.Exists, "container ID file found, make sure the other container isn't running or delete %s", path)
	}
	return nil
}

func writeIDFile(path string, id container.ID) error {
	if path == "" {
		return nil
	}
	if err := atomicfile.Write(path, []byte(id), 0o644); err != nil {
		return fmt.Errorf("write the container ID file: %w", err)
	}
	return nil
}

// baseOf finds the image, and pulls it if it is missing and the policy lets it. A
// name that leads to another platform than is asked for counts as missing.
func baseOf(ctx context.Context, e *Engine, r *CreateRequest) (image.Base, error) {
	name := r.Config.Image.Name
	policy := cmp.Or(image.Policy(r.Config.Image.Pull), image.PullMissing)
	if policy == image.PullMissing || policy == image.PullNever {
		base, err := e.Writables.Base(ctx, name)
		asked := r.Config.Image.Platform
		fits := err == nil && (base.Name == "" || asked == "" || image.SamePlatform(asked, platformOf(base)))
		if fits || policy == image.PullNever || err != nil && !fault.Is(err, fault.NotFound) {
			return base, err
		}
		if r.Missing != nil {
			r.Missing(familiar(e, name))
		}
	}
	p := r.Pull
	p.Name, p.Policy, p.Platform = name, policy, r.Config.Image.Platform
	if p.Policy == image.PullMissing {
		p.Policy = image.PullAlways
	}
	pulled, err := Pull(ctx, e, p)
	if err != nil {
		return image.Base{}, err
	}
	if r.Pulled != nil {
		r.Pulled(pulled)
	}
	return e.Writables.Base(ctx, name)
}

func familiar(e *Engine, name string) string {
	canonical, err := e.Images.Name(name)
	if err != nil {
		return name
	}
	return e.Images.Familiar(canonical)
}

// design thinks the container out; it makes nothing.
func design(ctx context.Context, e *Engine, r *CreateRequest, base image.Base) (*container.Record, error) {
	c := r.Config
	c.Version = config.Version
	c.Image.ID = string(base.ID)
	if e.Defaults.Rootless {
		if err := ofUser(&c, e.host().NoCgroup); err != nil {
			return nil, err
		}
	}
	if err := tellOneID(e, r.Warn); err != nil {
		return nil, err
	}
	defaultsInto(&c, &e.Defaults)
	if err := nameNetworks(e, &c.Network); err != nil {
		return nil, err
	}
	warnings, err := c.Check(machine(e, &c.Resources))
	if err != nil {
		return nil, err
	}
	if err := monitor.CheckLog(c.Log.Driver, c.Log.Options); err != nil {
		return nil, err
	}
	for _, w := range warnings {
		if r.Warn != nil {
			r.Warn(w)
		}
	}
	defaults, err := defaultsOf(base)
	if err != nil {
		return nil, err
	}
	resolved, err := container.Resolve(&c, defaults)
	if err != nil {
		return nil, err
	}
	if err := keepUser(e, &c, resolved); err != nil {
		return nil, err
	}
	if err := unserved(&c, platformOf(base)); err != nil {
		return nil, err
	}
	if c.Image.SizeLimit > 0 {
		if err := e.Writables.CheckLimits(); err != nil {
			return nil, fmt.Errorf("--storage-opt size=%s: %w", c.Image.SizeAsked, err)
		}
	}
	mounts, err := mountPoints(ctx, e, &c, resolved)
	if err != nil {
		return nil, err
	}
	if err := joinable(ctx, e, &c, false); err != nil {
		return nil, err
	}
	if err := resolveLinks(ctx, e, &c); err != nil {
		return nil, err
	}
	rec := &container.Record{
		Name: r.Name, Hostname: c.Hostname, Config: c, Resolved: *resolved, Mounts: mounts,
		Image: container.ImageUsed{ID: string(base.ID), Name: c.Image.Name, Digest: string(base.Manifest), Platform: platformOf(base)},
	}
	rec.ID = newID()
	rec.Snapshot = snapshotOf(rec.ID)
	if rec.Userns, err = usernsOf(ctx, e, &c, resolved, mounts); err != nil {
		return nil, err
	}
	if reason := rec.Userns.Reason; reason != "" && r.Warn != nil && strings.Contains(reason, "cannot") {
		r.Warn("the container runs in the host's user namespace: " + reason) // nobody asked for it
	}
	if keepsFile(c.Log.Driver) {
		rec.LogPath = filepath.Join(e.Containers.Future(rec.ID, c.Life.Remove), string(rec.ID)+"-json.log")
	}
	return rec, nil
}

// machine is what limits are checked against.
func machine(e *Engine, r *config.Resources) config.Machine {
	m := config.Machine{CPUs: e.host().CPUs}
	if r.CPU.Mems != "" {
		m.Nodes = container.MemoryNodes()
	}
	return m
}

// defaultsInto fills in what the administrator has set.
func defaultsInto(c *config.Config, d *Defaults) {
	if c.Log.Driver == "" {
		c.Log.Driver = cmp.Or(d.LogDriver, "json-file")
		if c.Log.Options == nil {
			c.Log.Options = d.LogOpts
		}
	}
	c.Resources.ShmSize = cmp.Or(c.Resources.ShmSize, d.ShmSize)
	c.Resources.CgroupParent = cmp.Or(c.Resources.CgroupParent, d.CgroupParent)
	c.Process.Init = c.Process.Init || d.Init
	if c.Image.SizeAsked == "" {
		c.Image.SizeLimit, c.Image.SizeAsked = d.SizeLimit, d.SizeAsked
	}
	if c.Image.Dialect != "podman" {
		c.Namespaces.IPC = cmp.Or(c.Namespaces.IPC, d.IPC)
	}
	c.Security.NoNewPrivileges = c.Security.NoNewPrivileges || d.NoNewPrivs
	for _, list := range []struct {
		into *[]string
		from []string
	}{{&c.Network.DNS, d.DNS}, {&c.Network.DNSSearch, d.DNSSearch}, {&c.Network.DNSOptions, d.DNSOptions}} {
		if *list.into == nil {
			*list.into = list.from
		}
	}
}

// keepsFile tells whether a log driver leaves a file that logs can read.
func keepsFile(driver string) bool { return driver == "json-file" || driver == "local" }

// defaultsOf is an image's configuration as the container room takes it.
func defaultsOf(base image.Base) (*container.ImageDefaults, error) {
	d := &base.Config.Defaults
	volumes, err := d.VolumePaths()
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", base.ID, err)
	}
	out := &container.ImageDefaults{
		User: d.User, Env: d.Env, Entrypoint: d.Entrypoint, Cmd: d.Cmd, WorkingDir: d.WorkingDir, Labels: d.UserLabels(),
		Volumes: volumes, StopSignal: d.StopSignal, StopTimeout: d.StopTimeout, Shell: d.Shell,
	}
	for p := range d.ExposedPorts {
		out.ExposedPorts = append(out.ExposedPorts, p)
	}
	slices.Sort(out.ExposedPorts)
	if h := d.Healthcheck; h != nil {
		out.Health = &container.Health{Test: h.Test, Interval: h.Interval, Timeout: h.Timeout, StartPeriod: h.StartPeriod,
			StartInterval: h.StartInterval, Retries: h.Retries}
	}
	return out, nil
}

func platformOf(base image.Base) string {
	p := base.Config.Platform()
	return strings.TrimSuffix(p.OS+"/"+p.Architecture+"/"+p.Variant, "/")
}

// joinable puts ids in the place of the names of containers whose namespaces
// are to be shared. Unless it must be there, that of the network may come later.
func joinable(ctx context.Context, e *Engine, c *config.Config, must bool) error {
	for _, mode := range []*string{&c.Network.Mode, &c.Namespaces.PID, &c.Namespaces.IPC, &c.Namespaces.User} {
		name, ok := strings.CutPrefix(*mode, "container:")
		if !ok {
			continue
		}
		id, err := e.Containers.Find(ctx, name)
		if fault.Is(err, fault.NotFound) && !must && mode == &c.Network.Mode {
			continue
		}
		if err != nil {
			return err
		}
		*mode = "container:" + string(id)
	}
	return nil
}

// provideVolumes makes the volumes that are missing; they go again if the create
// fails. Which ones they are is written down before, so that they are known to be
// in use, and anonymous ones do not outlive a create that is killed.
func provideVolumes(ctx context.Context, e *Engine, l *container.Locked, rec *container.Record, u *undo.Stack) error {
	var plan container.Intent
	for i := range rec.Mounts {
		m := &rec.Mounts[i]
		switch {
		case m.Kind != config.MountVolume:
		case m.Name == "":
			m.Name = ids.Hex(32)
			plan.Made = append(plan.Made, m.Name)
		default:
			plan.Uses = append(plan.Uses, m.Name)
		}
	}
	if err := l.Intend(plan); err != nil {
		return err
	}
	for i := range rec.Mounts {
		if err := makeVolume(ctx, e, &rec.Mounts[i], rec.Config.Life.Remove, u); err != nil {
			return err
		}
	}
	return nil
}

// makeVolume finds or makes the volume of a mount, if it is one's; passing says that
// an anonymous one's container goes when it ends.
func makeVolume(ctx context.Context, e *Engine, m *container.MountPoint, passing bool, u *undo.Stack) error {
	if m.Kind != config.MountVolume {
		return nil
	}
	v, made, err := e.Volumes.Create(ctx, volume.CreateRequest{
		Name: m.Name, Driver: m.Asked.VolumeDriver, Labels: m.Asked.VolumeLabels, Options: m.Asked.VolumeOpts, Anonymous: m.Anonymous,
		Passing: m.Anonymous && passing,
	})
	if err != nil {
		return err
	}
	if made {
		u.Push("remove volume "+v.Name, func() error {
			return e.Volumes.Remove(context.WithoutCancel(ctx), v.Name, nobody)
		})
		e.tellOf("volume", "create", v.Name, map[string]string{"driver": v.Driver})
	}
	m.Name, m.Source, m.Driver = v.Name, v.Data, v.Driver
	return nil
}

func nobody(string) ([]string, error) { return nil, nil }

// tell writes an event of a container; a full disk is no reason to fail.
func (e *Engine) tell(rec *container.Record, action string, more map[string]string) {
	e.tellOfContainer(&container.Summary{ID: rec.ID, Name: rec.Name, Image: rec.Image.Name, Labels: rec.Resolved.Labels}, action, more)
}

// tellOfContainer is tell for who has read less.
func (e *Engine) tellOfContainer(s *container.Summary, action string, more map[string]string) {
	attributes := map[string]string{}
	maps.Copy(attributes, s.Labels)
	attributes["image"], attributes["name"] = s.Image, s.Name
	maps.Copy(attributes, more)
	e.tellOf("container", action, string(s.ID), attributes)
}

func (e *Engine) tellOf(kind, action, id string, attributes map[string]string) {
	_ = e.Journal.Append(journal.Event{Type: kind, Action: action, ID: id, Attributes: attributes})
}
