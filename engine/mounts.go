package engine

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/base/ids"
	"berth/container"
	"berth/container/config"
	"berth/image"
	"berth/runtime"
	"berth/sys/safepath"
)

// mountPoints settles what is mounted where: what was asked for, what is taken
// from other containers, and the image's volumes where nothing else is.
func mountPoints(ctx context.Context, e *Engine, c *config.Config, r *container.Resolved) ([]container.MountPoint, error) {
	var out []container.MountPoint
	for _, m := range c.Mounts {
		p, err := mountPoint(m)
		if err != nil {
			return nil, err
		}
		if m.Kind == config.MountImage {
			if err := checkImageMount(ctx, e, p); err != nil {
				return nil, err
			}
		}
		out = append(out, *p)
	}
	taken := func(target string) bool {
		return slices.ContainsFunc(out, func(p container.MountPoint) bool { return p.Target == target })
	}
	for _, from := range c.VolumesFrom {
		name, mode, _ := strings.Cut(from, ":")
		other, err := e.Containers.Get(ctx, name)
		if err != nil {
			return nil, err
		}
		for _, p := range other.Mounts {
			if p.Kind == config.MountTmpfs || taken(p.Target) {
				continue
			}
			p.ReadOnly = p.ReadOnly || mode == "ro"
			out = append(out, p)
		}
	}
	for _, target := range r.Volumes {
		if !taken(target) {
			out = append(out, container.MountPoint{Kind: config.MountVolume, Target: target, Anonymous: true,
				Asked: config.Mount{Kind: config.MountVolume, Target: target}})
		}
	}
	return out, nil
}

// checkImageMount refuses an image that is not here.
func checkImageMount(ctx context.Context, e *Engine, p *container.MountPoint) error {
	if _, err := e.Writables.Base(ctx, p.Source); err != nil {
		return fmt.Errorf("mount image %s on %s: %w", p.Source, p.Target, err)
	}
	return nil
}

// imageKey names the tree of an image that a container mounts.
func imageKey(rec *container.Record, i int) string {
	sum := sha256.Sum256([]byte(rec.Mounts[i].Target))
	return rec.Snapshot + "-mount-" + hex.EncodeToString(sum[:8])
}

// imageTree finds the tree of a mounted image, or makes it: what the container
// writes to it stays as long as the container.
func imageTree(ctx context.Context, e *Engine, rec *container.Record, i int) (image.Writable, error) {
	m := &rec.Mounts[i]
	tree, err := e.Writables.Find(ctx, imageKey(rec, i))
	if !fault.Is(err, fault.NotFound) {
		return tree, err
	}
	base, err := e.Writables.Base(ctx, m.Source)
	if err == nil {
		tree, err = e.Writables.Prepare(ctx, imageKey(rec, i), base.Image, 0, ownersOf(rec))
	}
	if err == nil {
		err = labelLayers(rec, tree.Lower)
	}
	if err != nil {
		return tree, fmt.Errorf("mount image %s on %s: %w", m.Source, m.Target, err)
	}
	return tree, nil
}

func mountPoint(m config.Mount) (*container.MountPoint, error) {
	p := &container.MountPoint{Kind: m.Kind, Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly, Propagation: m.Propagation,
		Mode: strings.Join(m.Options, ","), Asked: m}
	if !path.IsAbs(p.Target) { // podman takes it from the working folder
		return nil, fault.New(fault.Invalid, "invalid mount path: '%s' mount path must be absolute", m.Target)
	}
	switch m.Kind {
	case config.MountVolume:
		p.Name, p.Source = m.Source, ""
		p.Anonymous = m.Source == ""
	case config.MountBind:
		err := unix.Access(m.Source, unix.F_OK)
		if err == unix.ENOENT && m.CreateSource {
			err = os.MkdirAll(m.Source, 0o755)
		}
		if err == unix.ENOENT {
			return nil, fault.New(fault.Invalid, "invalid mount config for type \"bind\": bind source path does not exist: %s", m.Source)
		}
		if err != nil {
			return nil, fmt.Errorf("look at bind source %s: %w", m.Source, err)
		}
		p.Propagation = cmp.Or(p.Propagation, "rprivate")
	}
	return p, nil
}

// usernsOf decides whether the container gets a user namespace of its own.
func usernsOf(ctx context.Context, e *Engine, c *config.Config, r *container.Resolved, mounts []container.MountPoint) (choice container.UsernsChoice, err error) {
	facts := &container.UsernsFacts{Kernel: e.host().Kernel, Rootless: e.Defaults.Rootless}
	for _, m := range mounts {
		if m.Kind != config.MountBind || m.ReadOnly {
			continue
		}
		_, can, err := container.IDMapping(m.Source, facts.Kernel)
		if err != nil {
			return container.UsernsChoice{}, err
		}
		if !can {
			facts.Unmappable = append(facts.Unmappable, m.Source)
		}
	}
	if facts.Rootless {
		return ownIDs(ctx, e, c)
	}
	switch mode, _, _ := strings.Cut(c.Namespaces.User, ":"); mode {
	case "keep-id", "nomap":
		return choice, fault.New(fault.Unsupported, "%s is only supported in rootless mode", mode)
	case "auto":
		if id, ok := joined(c); ok {
			return choice, fault.New(fault.Invalid, "--userns=%s: the container shares namespaces of container %s, and has its ids", c.Namespaces.User, id)
		}
	}
	choice = container.PrivateUsers(c, facts)
	if c.Security.Nested && !choice.Private {
		return choice, fault.New(fault.Unsupported, "--nested: the container can have no user namespace of its own: %s", choice.Reason)
	}
	if choice.Size, err = container.UsersSize(c); err != nil {
		return choice, err
	}
	choice.LargeUIDs, choice.LargeGIDs = container.LargeIDs(c, r, choice.Size)
	return choice, nil
}

// host looks at the machine, once.
func (e *Engine) host() *container.Host {
	if e.machine == nil {
		h := container.Probe()
		h.NoCgroup = !runtime.FindCgroups(e.Runtime)
		e.machine = &h
	}
	return e.machine
}

// openSubpaths opens what is mounted of volumes and puts its name among our
// descriptors in the source's place: nobody who writes to the volume meanwhile can
// lead it elsewhere. The files are to be closed when all is mounted.
func openSubpaths(mounts []container.Mount) (opened []*os.File, err error) {
	for i := range mounts {
		m := &mounts[i]
		if m.Subpath == "" {
			continue
		}
		f, err := openBelow(m.Source, m.Subpath)
		if err != nil {
			return opened, fmt.Errorf("mount a volume on %s: subpath %s: %w", m.Target, m.Subpath, err)
		}
		opened = append(opened, f)
		m.Source, m.Subpath = fmt.Sprintf("/proc/self/fd/%d", f.Fd()), ""
	}
	return opened, nil
}

func openBelow(dir, path string) (*os.File, error) {
	root, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(root)
	fd, err := safepath.OpenBeneath(root, path, unix.O_PATH)
	if err == unix.EXDEV {
		return nil, fault.New(fault.Invalid, "a link leads out of the volume")
	}
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), dir+"/"+path), nil
}

// startMounts are the mounts of one start, with their sources found.
func startMounts(ctx context.Context, e *Engine, rec *container.Record) ([]container.Mount, error) {
	var out []container.Mount
	for i := range rec.Mounts {
		p := &rec.Mounts[i]
		m := container.Mount{
			Kind: p.Kind, Source: p.Source, Target: p.Target, ReadOnly: p.ReadOnly, Options: p.Asked.Options, Propagation: p.Propagation,
			NonRecursive: p.Asked.NonRecursive, ReadOnlyRecursive: p.ReadOnly && p.Asked.ReadOnlyRecursive != "writable",
			Size: p.Asked.SizeBytes, Mode: p.Asked.Mode,
		}
		switch p.Kind {
		case config.MountVolume:
			at, err := e.Volumes.Attach(ctx, p.Name)
			if err != nil {
				return nil, err
			}
			m.Kind, m.Source, m.ReadOnly = config.MountBind, at.Path, m.ReadOnly || at.ReadOnly
			m.Subpath = p.Asked.Subpath
		case config.MountImage:
			tree, err := imageTree(ctx, e, rec, i)
			if err != nil {
				return nil, err
			}
			m.Layers = &container.Layers{Lower: tree.Lower, Upper: tree.Upper, Work: tree.Work, Options: tree.Options, Subpath: p.Asked.Subpath}
		}
		if m.Kind == config.MountBind && rec.Userns.MapsMounts() {
			var err error
			if m.IDMap, _, err = container.IDMapping(m.Source, e.host().Kernel); err != nil {
				return nil, err
			}
		}
		out = append(out, m)
	}
	return out, nil
}

// fillVolumes offers new volumes what the image has at their place.
func fillVolumes(ctx context.Context, e *Engine, rec *container.Record) error {
	var root *os.File
	for i := range rec.Mounts {
		m := &rec.Mounts[i]
		if m.Kind != config.MountVolume || m.Asked.NoCopy || m.Asked.Subpath != "" || m.ReadOnly {
			continue
		}
		empty, err := isEmpty(m.Source)
		if err != nil {
			return err
		}
		if !empty {
			continue
		}
		if root == nil {
			if ownersOf(rec) == nil {
				root, err = e.Images.Root(ctx, rec.Image.ID)
			} else {
				root, err = e.Writables.Below(ctx, rec.Snapshot)
			}
			if err != nil {
				return err
			}
			defer root.Close()
		}
		if err := labelVolume(rec, m); err != nil {
			return err
		}
		if err := e.Volumes.CopyUp(ctx, m.Name, root, m.Target); err != nil {
			return err
		}
		if err := ownVolume(rec, m); err != nil {
			return err
		}
	}
	return nil
}

// isEmpty looks into a folder; one that is not there is no place to fill.
func isEmpty(dir string) (bool, error) {
	f, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	if _, err := f.ReadDir(1); errors.Is(err, io.EOF) {
		return true, nil
	}
	return false, nil
}

func newID() container.ID { return ids.New() }

func shortID(id container.ID) string { return string(id)[:min(12, len(id))] }
