package engine

import (
	"context"
	"fmt"
	"path"
	"slices"

	"berth/base/fault"
	"berth/base/undo"
	"berth/container"
	"berth/container/config"
	"berth/runtime"
)

// Shape changes what a container sees of the host: of one that runs at once, where
// the kernel allows it, and for its next starts.
type Shape struct {
	Mounts    []config.Mount
	NoMounts  []string // targets of those that go
	Devices   []config.Device
	NoDevices []string // paths inside of those that go
}

func (s *Shape) empty() bool { return !s.ofDevices() && len(s.Mounts)+len(s.NoMounts) == 0 }

func (s *Shape) ofDevices() bool { return len(s.Devices)+len(s.NoDevices) > 0 }

// reshaping is a Shape under way. What was done is taken back if a later step fails.
type reshaping struct {
	e   *Engine
	rec *container.Record // as it is to become
	in  *runtime.Interior // nil if it does not run
	ids *container.Range  // of its user namespace while it runs, nil for the host's
	u   *undo.Stack
}

// reshape does what is asked for and changes rec accordingly, which is the caller's
// to write.
func reshape(ctx context.Context, r *reshaping, s *Shape) error {
	rec := r.rec
	rec.Mounts, rec.Config.Mounts = slices.Clone(rec.Mounts), slices.Clone(rec.Config.Mounts)
	rec.Config.Devices.Add = slices.Clone(rec.Config.Devices.Add)
	for _, target := range s.NoMounts {
		if err := r.unmount(ctx, target); err != nil {
			return err
		}
	}
	for _, m := range s.Mounts {
		if err := r.mount(ctx, m); err != nil {
			return err
		}
	}
	for _, path := range s.NoDevices {
		if err := r.removeDevice(path); err != nil {
			return err
		}
	}
	for _, d := range s.Devices {
		if err := r.addDevice(d); err != nil {
			return err
		}
	}
	return nil
}

func (r *reshaping) mountAt(target string) int {
	target = path.Clean(target)
	return slices.IndexFunc(r.rec.Mounts, func(m container.MountPoint) bool { return path.Clean(m.Target) == target })
}

func (r *reshaping) mount(ctx context.Context, m config.Mount) error {
	p, err := mountPoint(m)
	switch {
	case err != nil:
		return err
	case r.mountAt(m.Target) >= 0:
		return fault.New(fault.Conflict, "Duplicate mount point: %s", m.Target)
	case m.Kind == config.MountImage:
		return fault.New(fault.Unsupported, "mount image %s on %s: an image can be mounted when a container is made", m.Source, m.Target)
	case p.Kind == config.MountVolume && p.Anonymous:
		return fault.New(fault.Invalid, "mount a volume on %s: it needs a name, as an anonymous one is made with its container", m.Target)
	}
	one := *r.rec
	one.Mounts = []container.MountPoint{*p}
	if err := makeVolume(ctx, r.e, &one.Mounts[0], false, r.u); err != nil {
		return err
	}
	if err := fillVolumes(ctx, r.e, &one); err != nil {
		return err
	}
	if r.in != nil {
		r.u.Push("let go of the volume", func() error { return detachVolumes(context.WithoutCancel(ctx), r.e, &one) })
		if err := r.attach(ctx, &one); err != nil {
			return err
		}
		r.u.Push("unmount "+p.Target, func() error { return r.in.Unmount(p.Target) })
	}
	r.rec.Mounts = append(r.rec.Mounts, one.Mounts[0])
	r.rec.Config.Mounts = append(r.rec.Config.Mounts, m)
	return nil
}

// attach mounts the only mount of one in the container, which runs.
func (r *reshaping) attach(ctx context.Context, one *container.Record) error {
	mounts, err := startMounts(ctx, r.e, one)
	if err != nil {
		return err
	}
	if err := relabel(r.rec, mounts); err != nil {
		return err
	}
	if err := giveMounts(ctx, r.e, r.rec, mounts, r.ids); err != nil {
		return err
	}
	opened, err := openSubpaths(mounts)
	for _, f := range opened {
		defer f.Close()
	}
	if err != nil {
		return err
	}
	m := &mounts[0]
	if r.rec.Userns.MapsMounts() && m.Kind == config.MountBind && !m.ReadOnly && m.IDMap == "" {
		if _, can, err := container.IDMapping(m.Source, r.e.host().Kernel); err != nil || !can {
			return fault.New(fault.Unsupported, "mount %s on %s: its file system cannot be id-mapped, and the container has a user namespace of its own: make the container anew with it, or mount it read-only", m.Source, m.Target)
		}
	}
	spec, err := container.LiveMount(&r.rec.Config, m, r.rec.Userns.MapsMounts())
	if err != nil {
		return err
	}
	if spec.Type == "tmpfs" || spec.Type == "overlay" {
		spec.Options = append(spec.Options, contextOption(r.rec)...)
	}
	return r.in.Mount(&spec)
}

func (r *reshaping) unmount(ctx context.Context, target string) error {
	i := r.mountAt(target)
	if i < 0 {
		return fault.New(fault.NotFound, "container %s has no mount on %s", r.rec.Name, target)
	}
	if r.rec.Mounts[i].Kind == config.MountImage {
		return fault.New(fault.Unsupported, "unmount %s: the tree of an image stays as long as its container", target)
	}
	if r.in != nil {
		err := r.in.Unmount(path.Clean(target))
		if err != nil && !fault.Is(err, fault.NotFound) { // somebody inside did it
			return err
		}
		one := *r.rec
		one.Mounts = []container.MountPoint{r.rec.Mounts[i]}
		r.u.Push("mount "+target+" again", func() error { return r.attach(context.WithoutCancel(ctx), &one) })
	}
	r.rec.Mounts = slices.Delete(r.rec.Mounts, i, i+1)
	r.rec.Config.Mounts = slices.DeleteFunc(r.rec.Config.Mounts, func(m config.Mount) bool { return path.Clean(m.Target) == path.Clean(target) })
	return nil
}

// dropVolumes lets go of the volumes that a container had and has no more: its end
// will not know of them.
func dropVolumes(ctx context.Context, e *Engine, had, has *container.Record) error {
	gone := *had
	gone.Mounts = slices.DeleteFunc(slices.Clone(had.Mounts), func(m container.MountPoint) bool {
		return slices.ContainsFunc(has.Mounts, func(o container.MountPoint) bool { return o.Kind == m.Kind && o.Name == m.Name })
	})
	return detachVolumes(context.WithoutCancel(ctx), e, &gone)
}

func (r *reshaping) addDevice(d config.Device) error {
	if slices.ContainsFunc(r.rec.Config.Devices.Add, func(o config.Device) bool { return o.Inside() == d.Inside() }) {
		return fault.New(fault.Conflict, "container %s has a device %s already", r.rec.Name, d.Inside())
	}
	found, err := container.Devices(&config.Config{Devices: config.Devices{Add: []config.Device{d}}})
	if err != nil {
		return err
	}
	if r.in != nil {
		for i := range found.Nodes {
			n := &found.Nodes[i]
			if err := r.in.AddDevice(n); err != nil {
				return err
			}
			r.u.Push("remove "+n.Path, func() error { return r.in.RemoveDevice(n.Path) })
		}
	}
	r.rec.Config.Devices.Add = append(r.rec.Config.Devices.Add, d)
	return nil
}

func (r *reshaping) removeDevice(at string) error {
	at = path.Clean("/" + at)
	i := slices.IndexFunc(r.rec.Config.Devices.Add, func(o config.Device) bool { return o.Inside() == at })
	if i < 0 {
		return fault.New(fault.NotFound, "container %s has no device %s", r.rec.Name, at)
	}
	if r.in != nil {
		found, err := container.Devices(&config.Config{Devices: config.Devices{Add: r.rec.Config.Devices.Add[i : i+1]}})
		if err != nil {
			return fmt.Errorf("remove device %s: %w", at, err)
		}
		for _, n := range found.Nodes {
			if err := r.in.RemoveDevice(n.Path); err != nil {
				return err
			}
		}
	}
	r.rec.Config.Devices.Add = slices.Delete(r.rec.Config.Devices.Add, i, i+1)
	return nil
}
