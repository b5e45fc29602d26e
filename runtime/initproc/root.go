package initproc

import (
	"strconv"

	"golang.org/x/sys/unix"

	"berth/sys/mount"
)

// newRootStep makes the steps that build the container's root.
func newRootStep(o op) Step {
	switch o {
	case opOpenRoot:
		return new(OpenRoot)
	case opMount:
		return new(Mount)
	case opDevice:
		return new(Device)
	case opDevLinks:
		return new(DevLinks)
	case opMakeWorkdir:
		return new(MakeWorkdir)
	case opPivotRoot:
		return new(PivotRoot)
	case opMaskPaths:
		return new(MaskPaths)
	case opReadonlyPath:
		return new(ReadonlyPath)
	case opRootPropagation:
		return new(RootPropagation)
	case opRootReadonly:
		return new(RootReadonly)
	}
	return nil
}

// rootState is what the root's steps share. A descriptor of 0 is absent: 0 is
// the process's standard input.
type rootState struct {
	null int // detached or attached tree of the host's null device, for masks
	proc int // the mount on the container's /proc, if a step made one
	sys  int // the same for /sys
	// slash says that the root lies over the root of the namespace.
	slash bool
	// detached says that the root is a tree that is attached nowhere.
	detached bool
}

// OpenRoot takes the process's mount namespace off the host's propagation,
// attaches the container's root file system in it and keeps its descriptor for
// the steps that follow.
//
// The tree goes over the directory it came from, where hooks expect it; if the
// container's root may not reach that, over the root of the namespace.
type OpenRoot struct {
	Path string // of the root file system on the host
	// Tree is a detached mount tree of it, made by the parent; with NoFD the
	// first process clones Path itself.
	Tree FD
	// Mounts says that there is a mount namespace to work in. Without, the
	// root is only opened; or Tree stays detached, for mounts that the
	// namespace, which is not the container's, is not to see.
	Mounts bool
	// Null is a path of the host's null device to clone for masks, "" if the
	// parent passes one to MaskPaths.
	Null string
	// Propagation is what a tree cloned here gets, see mount.Attr.
	Propagation uint64
}

func (s *OpenRoot) Name() string { return "open root file system " + strconv.Quote(s.Path) }
func (s *OpenRoot) op() op       { return opOpenRoot }
func (s *OpenRoot) wire(c *coder) {
	c.Str(&s.Path)
	wireFD(c, &s.Tree)
	c.Bool(&s.Mounts)
	c.Str(&s.Null)
	c.U64(&s.Propagation)
}

func (s *OpenRoot) do(p *process) error {
	// Modes of files made by the root's steps are exact; step Umask comes later.
	unix.Umask(0)
	if !s.Mounts && s.Tree != NoFD {
		p.rootState.detached = true
		fd, err := p.fd(s.Tree)
		p.root = fd
		return err
	}
	if !s.Mounts {
		fd, err := unix.Open(s.Path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		p.root = fd
		return err
	}
	if err := mount.SetPropagation("/", unix.MS_SLAVE); err != nil {
		return fail("detach from the host's mounts", err)
	}
	tree, err := s.tree(p)
	if err != nil {
		return err
	}
	if s.Null != "" {
		if p.null, err = mount.ClonePath(s.Null, false); err != nil {
			return fail("clone "+s.Null, err)
		}
	}
	target, err := unix.Open(s.Path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		if target, err = unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
			return err
		}
		p.rootState.slash = true
	}
	defer unix.Close(target)
	if err := mount.Attach(tree, target); err != nil {
		return fail("attach it", err)
	}
	p.root = tree
	return nil
}

// tree returns the detached root.
func (s *OpenRoot) tree(p *process) (int, error) {
	if s.Tree != NoFD {
		return p.fd(s.Tree)
	}
	fd, err := mount.ClonePath(s.Path, true)
	if err != nil {
		return -1, fail("clone it", err)
	}
	return fd, mount.SetAttr(fd, mount.Attr{Propagation: s.Propagation}, true)
}

// The ways to make the container's root the process's.
const (
	RootPivot  = iota // pivot_root(2)
	RootMove          // move it over "/" and chroot(2), where "/" cannot be pivoted
	RootChroot        // chroot(2) alone, without a mount namespace
)

// PivotRoot makes the container's root the root of the process and lets go of
// the host's mounts.
type PivotRoot struct{ Mode int }

func (s *PivotRoot) Name() string {
	switch s.Mode {
	case RootMove:
		return "move the root file system to /"
	case RootChroot:
		return "change root"
	}
	return "pivot root"
}
func (s *PivotRoot) op() op        { return opPivotRoot }
func (s *PivotRoot) wire(c *coder) { c.Int(&s.Mode) }

func (s *PivotRoot) do(p *process) error {
	if s.Mode == RootMove {
		if err := p.moveRoot(); err != nil {
			return err
		}
	}
	if err := unix.Fchdir(p.root); err != nil {
		return err
	}
	if s.Mode != RootPivot {
		//house:allow call asked for by --no-pivot, or without a mount namespace of its own
		if err := unix.Chroot("."); err != nil {
			return err
		}
		return unix.Chdir("/")
	}
	// The old root ends up on top of the new one at "/", and "." finds it there:
	// pivot_root(2), section NOTES. It propagates nowhere since OpenRoot.
	if err := unix.PivotRoot(".", "."); err != nil {
		if err == unix.EINVAL {
			return fail("the present root may be an initial ramfs, which needs the no-pivot way", err)
		}
		return err
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fail("detach the host's root", err)
	}
	return unix.Chdir("/")
}

// RootPropagation sets the propagation type of the container's root.
type RootPropagation struct {
	Propagation uint64 // MS_SHARED, MS_SLAVE, MS_PRIVATE, MS_UNBINDABLE
	Rec         bool
}

func (s *RootPropagation) Name() string  { return "change propagation of the root file system" }
func (s *RootPropagation) op() op        { return opRootPropagation }
func (s *RootPropagation) wire(c *coder) { c.U64(&s.Propagation); c.Bool(&s.Rec) }

func (s *RootPropagation) do(p *process) error {
	return mount.SetAttr(p.root, mount.Attr{Propagation: s.Propagation}, s.Rec)
}

// RootReadonly makes the container's root read-only, not what is mounted in it.
type RootReadonly struct{}

func (s *RootReadonly) Name() string  { return "make the root file system read-only" }
func (s *RootReadonly) op() op        { return opRootReadonly }
func (s *RootReadonly) wire(c *coder) {}

func (s *RootReadonly) do(p *process) error {
	return mount.SetAttr(p.root, mount.Attr{Set: unix.MOUNT_ATTR_RDONLY}, false)
}
