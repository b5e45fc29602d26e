package initproc

import (
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"berth/base/codec"
	"berth/sys/mount"
	"berth/sys/safepath"
)

// Flags of a Mount.
const (
	MountRec         = 1 << iota // a bind takes what is mounted below its source, too
	MountCopyUp                  // fill the new file system with what the target holds
	MountRemount                 // change the mount that is at the target
	MountNoFollow                // the target's last component is not followed
	MountSrcNoFollow             // neither is the source's
	MountTargetMode              // give the new root directory the target's mode
	MountLink                    // if the source is a link, make such a link
	MountDropGID                 // try again without gid= if the kernel refuses it
	MountNearest                 // of a host path that is missing, take the nearest parent
	MountRenew                   // attach a copy of Tree, so that mountinfo lists it in the order of attachment
)

// Mount attaches one mount in the container's root: a tree made by the parent,
// a new instance of a file system, or a bind of a host path.
//
// The target is looked up once, inside the root, made if it is missing, and
// the detached mount is attached to its descriptor (security class V5).
type Mount struct {
	Dest   string // in the container, absolute and clean
	FS     string // file system type, "" for a bind
	Source string // shown in mountinfo; of a bind without Tree the host's path
	// Tree is a detached tree from the parent, complete with its attributes, or
	// NoFD.
	Tree        FD
	Params      []mount.Param
	Attr        mount.Attr // of the mount
	RecAttr     mount.Attr // of it and all below
	Propagation []mount.Propagation
	Flags       int
	// Else is a host path that is bound, recursively, where the kernel does not
	// let the container have an instance of its own.
	Else string
}

func (s *Mount) Name() string {
	what := lineOf(s.FS)
	switch {
	case s.Flags&MountRemount != 0:
		return "remount " + strconv.Quote(s.Dest)
	case what == "":
		what = strconv.Quote(s.Source)
	}
	return "mount " + what + " on " + strconv.Quote(s.Dest)
}
func (s *Mount) op() op { return opMount }
func (s *Mount) wire(c *coder) {
	c.Str(&s.Dest)
	c.Str(&s.FS)
	c.Str(&s.Source)
	wireFD(c, &s.Tree)
	codec.List(c, &s.Params, func(c *coder, p *mount.Param) { c.Str(&p.Key); c.Str(&p.Value); c.Bool(&p.Flag) })
	codeAttr(c, &s.Attr)
	codeAttr(c, &s.RecAttr)
	codec.List(c, &s.Propagation, func(c *coder, p *mount.Propagation) { c.U64(&p.Type); c.Bool(&p.Rec) })
	c.Int(&s.Flags)
	c.Str(&s.Else)
}

func codeAttr(c *coder, a *mount.Attr) {
	c.U64(&a.Set)
	c.U64(&a.Clear)
	c.U64(&a.Propagation)
}

func (s *Mount) do(p *process) error {
	switch {
	case s.Flags&MountRemount != 0:
		return s.remount(p)
	case s.Flags&MountLink != 0:
		if done, err := s.copyLink(p); done || err != nil {
			return err
		}
	}
	if s.FS != "" && s.Tree == NoFD && mount.TooLong(s.Params) {
		return s.oldMount(p)
	}
	target, covered := -1, -1
	if s.Flags&(MountCopyUp|MountTargetMode) != 0 {
		fd, made, err := s.target(p, -1)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		target = fd
		if !made {
			covered = fd
		}
	}
	tree, err := s.detached(p, covered)
	if err != nil {
		return err
	}
	if target < 0 {
		if target, _, err = s.target(p, tree); err != nil {
			unix.Close(tree)
			return err
		}
		defer unix.Close(target)
	}
	if err := mount.Attach(tree, target); err != nil {
		err = attachError(tree, target, err)
		if p.rootState.detached && isErrno(err, unix.EINVAL) {
			err = fail("mounts without a mount namespace need Linux 6.15", unix.EINVAL)
		}
		unix.Close(tree)
		return err
	}
	return s.attached(p, tree)
}

// attached keeps the descriptors that later steps need and closes the others.
func (s *Mount) attached(p *process, tree int) error {
	switch s.Dest {
	case "/":
		// What follows goes into the new mount; the old one is below it.
		p.root = tree
		return nil
	case "/proc":
		p.rootState.proc = tree
		return nil
	case "/sys":
		p.rootState.sys = tree
		return nil
	}
	if s.Tree == NoFD {
		return unix.Close(tree)
	}
	return nil // the table is closed by exec
}

// detached makes the mount and gives it its attributes. covered is the directory
// that it will hide, -1 if that was made for it or does not matter.
func (s *Mount) detached(p *process, covered int) (int, error) {
	if s.Tree != NoFD {
		return s.passed(p)
	}
	if s.FS == "" {
		return s.bind(s.Source, s.Flags&MountRec != 0, false)
	}
	params, err := s.params(covered)
	if err != nil {
		return -1, err
	}
	attr, late := s.Attr.Set, mount.Attr{}
	copying := s.Flags&MountCopyUp != 0 && covered >= 0
	if copying {
		late.Set = attr & unix.MOUNT_ATTR_RDONLY
		attr &^= unix.MOUNT_ATTR_RDONLY
	}
	fd, err := mount.New(s.FS, s.Source, params, attr)
	if s.Flags&MountDropGID != 0 && isErrno(err, unix.EINVAL) {
		params = slices.DeleteFunc(slices.Clone(params), func(p mount.Param) bool { return p.Key == "gid" })
		fd, err = mount.New(s.FS, s.Source, params, attr)
	}
	if s.Else != "" && (isErrno(err, unix.EPERM) || isErrno(err, unix.EBUSY)) {
		// The host's mounts below it get the same attributes.
		return s.bind(s.Else, true, true)
	}
	if err != nil {
		return -1, err
	}
	if copying {
		err = copyUp(covered, fd)
	}
	if err == nil {
		err = s.finish(fd, late)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// passed is the parent's tree, or a copy of it. Since Linux 6.8 mountinfo lists
// mounts as they were made, not as they were attached; whoever reads the
// order of the spec out of it needs a mount that is made now. Before 6.15 the
// copy of a detached mount is refused, and the tree itself does as well.
func (s *Mount) passed(p *process) (int, error) {
	tree, err := p.fd(s.Tree)
	if err != nil || s.Flags&MountRenew == 0 {
		return tree, err
	}
	if renewed, err := mount.Clone(tree, false); err == nil {
		return renewed, nil
	}
	return tree, nil
}

// params are the file system's parameters, with the mode of the directory that
// it will hide if that was asked for.
func (s *Mount) params(covered int) ([]mount.Param, error) {
	if s.Flags&MountTargetMode == 0 || covered < 0 {
		return s.Params, nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(covered, &st); err != nil {
		return nil, err
	}
	mode := strconv.FormatUint(uint64(st.Mode&0o7777), 8)
	return append(slices.Clip(s.Params), mount.Param{Key: "mode", Value: mode}), nil
}

// bind clones a host path that the container's root can reach by itself; with
// all, the attributes are for everything below, too.
func (s *Mount) bind(path string, rec, all bool) (int, error) {
	flags := unix.O_PATH | unix.O_CLOEXEC
	if s.Flags&MountSrcNoFollow != 0 {
		flags |= unix.O_NOFOLLOW
	}
	src, err := unix.Open(path, flags, 0)
	for s.Flags&MountNearest != 0 && err == unix.ENOENT && len(path) > 1 {
		path = path[:max(strings.LastIndexByte(path, '/'), 1)]
		src, err = unix.Open(path, flags, 0)
	}
	if err != nil {
		return -1, fail("open "+lineOf(path), err)
	}
	defer unix.Close(src)
	fd, err := mount.Clone(src, rec)
	if err != nil {
		return -1, fail("clone "+path, err)
	}
	attr := s.Attr
	if all {
		err, attr = mount.SetAttr(fd, attr, true), mount.Attr{}
	}
	if err == nil {
		err = s.finish(fd, attr)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// finish sets the attributes that a detached mount does not have yet.
func (s *Mount) finish(fd int, a mount.Attr) error {
	if !a.Empty() {
		if err := mount.SetAttr(fd, a, false); err != nil {
			return fail("set its attributes", err)
		}
	}
	if !s.RecAttr.Empty() {
		if err := mount.SetAttr(fd, s.RecAttr, true); err != nil {
			return fail("set attributes of it and all below", err)
		}
	}
	for _, prop := range s.Propagation {
		if err := mount.SetAttr(fd, mount.Attr{Propagation: prop.Type}, prop.Rec); err != nil {
			return fail("change its propagation", err)
		}
	}
	return nil
}

// remount changes the attributes of what is mounted at the target.
func (s *Mount) remount(p *process) error {
	fd, err := safepath.OpenInRoot(p.root, s.Dest, unix.O_PATH)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if len(s.Params) > 0 {
		if err := mount.Reconfigure(fd, s.Params); err != nil {
			return err
		}
	}
	return s.finish(fd, s.Attr)
}

// oldMount is for parameters that only mount(2) takes, by way of the target's
// descriptor in the host's procfs.
func (s *Mount) oldMount(p *process) error {
	target, _, err := s.target(p, -1)
	if err != nil {
		return err
	}
	defer unix.Close(target)
	proc, err := p.fd(ProcFD)
	if err != nil {
		return err
	}
	if err := unix.Fchdir(proc); err != nil {
		return err
	}
	flags := mount.OldFlags(s.Attr.Set)
	//house:allow call the target is /proc/self/fd/N of a directory opened inside the root
	if err := unix.Mount(s.Source, mount.FDPath(target), s.FS, uintptr(flags), mount.Data(s.Params)); err != nil {
		return err
	}
	fd, err := safepath.OpenInRoot(p.root, s.Dest, unix.O_PATH)
	if err != nil {
		return err
	}
	if err := s.finish(fd, mount.Attr{}); err != nil {
		unix.Close(fd)
		return err
	}
	return s.attached(p, fd)
}

// copyLink makes a link like the source, if that is one.
func (s *Mount) copyLink(p *process) (done bool, err error) {
	var buf [unix.PathMax]byte
	var n int
	if s.Tree != NoFD {
		fd, err := p.fd(s.Tree)
		if err != nil {
			return true, err
		}
		n, err = unix.Readlinkat(fd, "", buf[:])
		if err != nil {
			return false, nil // not a link: a tree to attach
		}
	} else if n, err = unix.Readlink(s.Source, buf[:]); err != nil {
		return false, nil
	}
	dir, name, err := safepath.ParentInRoot(p.root, s.Dest, 0o755)
	if err != nil {
		return true, err
	}
	defer unix.Close(dir)
	return true, makeLink(dir, Link{Name: name, Target: string(buf[:n])})
}

func isErrno(err error, want unix.Errno) bool {
	for err != nil {
		if err == want {
			return true
		}
		u, ok := err.(interface{ Unwrap() error })
		if !ok {
			return false
		}
		err = u.Unwrap()
	}
	return false
}

// attachError explains the answers of move_mount(2) that say little.
func attachError(tree, target int, err error) error {
	switch tree, target := isDir(tree), isDir(target); {
	case err != unix.EINVAL && err != unix.ENOTDIR || tree == target:
		return fail("attach it", err)
	case tree:
		return fail("source is a directory, target is not", unix.ENOTDIR)
	}
	return fail("target is a directory, source is not", unix.EISDIR)
}

func isDir(fd int) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR
}

// lineOf is for messages: paths without what would break a line.
func lineOf(s string) string { return strings.ReplaceAll(s, "\n", " ") }
