// Package rootfs plans how a container's root comes to be: its file system, the
// mounts and devices in it, masked and read-only paths, and pivot_root(2). It is
// the parent's half; what the first process does about it is package initproc,
// files root*.go.
//
//	Before(…)   open the root · mounts · devices and links of /dev · working directory
//	            (the caller puts the console, the hooks' sync point and createContainer hooks here)
//	Pivot(…)    pivot root · read-only paths · masked paths · propagation and read-only root
//
// Planning is pure. What lies on the host, such as bind sources, is opened by
// the parent when the plan's files are opened: the first process may be in a
// user namespace that does not reach it, and gets detached mount trees instead.
// Only a parent without rights over its mounts (an ordinary user) leaves
// that to the first process.
//
// It decides nothing that the spec does not say, apart from refusing what would
// open the classes V3 to V6. Row 2, inside room runtime.
package rootfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/runtime/initproc"
	"berth/runtime/plan"
	"berth/sys/mount"
)

// Options are what a spec does not say.
type Options struct {
	Bundle  string   // absolute; relative paths of the spec start there
	Overlay *Overlay // mounted as the root, nil for a folder
	// Trees are sources of binds that are no paths: detached mounts.
	Trees   map[string]*os.File
	NoPivot bool // chroot(2) after moving the root over "/", for an initial ramfs
	Cgroup  CgroupView
	Rights  Rights
	// Warn receives a line for what is odd but goes on; nil drops it.
	Warn func(format string, args ...any)
}

// Rights are what the parent may do where it stands; see OwnRights.
type Rights struct {
	// Mount: CAP_SYS_ADMIN over its mount namespace, needed for detached trees.
	Mount bool
	// Mknod: CAP_MKNOD in the initial user namespace, needed for device nodes.
	Mknod bool
	// Confined: in a user namespace that is not the initial one.
	Confined bool
}

// CgroupView is how the host's cgroups look to the container, for mounts of
// type cgroup.
type CgroupView struct {
	// Unified says that the host has cgroup v2 only: type cgroup means cgroup2.
	Unified bool
	// Path is the container's directory in the cgroup v2 hierarchy on the host,
	// "" if it has none.
	Path string
	// V1 lists the mounted v1 hierarchies, in the order to show them.
	V1 []Hierarchy
}

// Hierarchy is one mounted cgroup v1 hierarchy.
type Hierarchy struct {
	// Name is the directory's name: "memory", "cpu,cpuacct", "systemd".
	Name string
	// Data are the mount options that select it: "memory", "cpu,cpuacct", "none,name=systemd".
	Data string
	// Path is the container's directory in it on the host, absolute.
	Path string
}

// Before plans everything up to the moment when hooks look at the root.
func Before(b *plan.Builder, spec *specs.Spec, o Options) error {
	p, err := newPlanner(b, spec, o)
	if err != nil {
		return err
	}
	if err := p.openRoot(); err != nil {
		return err
	}
	if err := p.mounts(); err != nil {
		return err
	}
	p.devices()
	if spec.Process != nil && p.ownMounts {
		if spec.Process.Cwd != "" && filepath.Clean(spec.Process.Cwd) != "/" {
			b.Add(&initproc.MakeWorkdir{Path: filepath.Clean("/" + spec.Process.Cwd)})
		}
	}
	return nil
}

// Pivot plans the change into the root and what is done from inside it.
func Pivot(b *plan.Builder, spec *specs.Spec, o Options) error {
	p, err := newPlanner(b, spec, o)
	if err != nil {
		return err
	}
	mode := initproc.RootPivot
	switch {
	case !p.ownMounts:
		mode = initproc.RootChroot
	case o.NoPivot:
		mode = initproc.RootMove
	}
	b.Add(&initproc.PivotRoot{Mode: mode})
	if err := p.hide(); err != nil {
		return err
	}
	// A private root is what OpenRoot left already.
	if prop := p.rootPropagation; p.ownMounts && prop.Type != 0 && prop.Type != unix.MS_PRIVATE {
		b.Add(&initproc.RootPropagation{Propagation: prop.Type, Rec: prop.Rec})
	}
	if spec.Root.Readonly {
		if !p.ownMounts {
			return errors.New("root.readonly: needs a mount namespace")
		}
		b.Add(&initproc.RootReadonly{})
	}
	return nil
}

// planner is one spec being planned.
type planner struct {
	b     *plan.Builder
	spec  *specs.Spec
	linux *specs.Linux
	o     Options
	root  string // path of the root file system on the host

	ns              map[specs.LinuxNamespaceType]string // path, "" for a new one
	ownMounts       bool                                // a mount namespace, new or joined
	rootPropagation mount.Propagation

	setupDev bool              // nodes and links of /dev are ours to make
	nodes    []initproc.Device // those that are not part of dev
	dev      *devTree          // the /dev made by the parent, nil if the first process makes it
}

func newPlanner(b *plan.Builder, spec *specs.Spec, o Options) (*planner, error) {
	if o.Warn == nil {
		o.Warn = func(string, ...any) {}
	}
	if spec.Root == nil || spec.Root.Path == "" {
		return nil, errors.New("root.path: missing")
	}
	p := &planner{b: b, spec: spec, linux: spec.Linux, o: o, ns: map[specs.LinuxNamespaceType]string{}}
	if p.linux == nil {
		p.linux = &specs.Linux{}
	}
	p.root = p.hostPath(spec.Root.Path)
	for _, ns := range p.linux.Namespaces {
		p.ns[ns.Type] = ns.Path
	}
	_, p.ownMounts = p.ns[specs.MountNamespace]
	prop, ok := mount.PropagationOf(p.linux.RootfsPropagation)
	if !ok && p.linux.RootfsPropagation != "" {
		return nil, fmt.Errorf("linux.rootfsPropagation: unknown value %q", p.linux.RootfsPropagation)
	}
	p.rootPropagation = prop
	return p, nil
}

// fresh reports whether the container gets a new namespace of a kind.
func (p *planner) fresh(kind specs.LinuxNamespaceType) bool {
	path, ok := p.ns[kind]
	return ok && path == ""
}

// userns reports whether the container is in another user namespace.
func (p *planner) userns() bool {
	_, ok := p.ns[specs.UserNamespace]
	return ok
}

// confined reports whether the container has no rights over the host's
// namespaces and ids: it or the parent is in a user namespace.
func (p *planner) confined() bool { return p.userns() || p.o.Rights.Confined }

// hostPath makes a path of the spec absolute.
func (p *planner) hostPath(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(p.o.Bundle, path)
}
