package initproc

import (
	"errors"
	"strconv"

	"golang.org/x/sys/unix"

	"berth/base/codec"
	"berth/sys/mount"
	"berth/sys/safepath"
)

// Device makes one device node in the container's root: with mknod(2), or as a
// bind of a node where the process may not make any.
type Device struct {
	Path         string // in the container
	Mode         uint32 // S_IFCHR, S_IFBLK or S_IFIFO, and permissions
	Major, Minor uint32
	UID, GID     uint32
	// Tree is a detached mount of a node that the parent made, or NoFD.
	Tree FD
	// Host is a path of the host's node to bind, "" to make one.
	Host string
}

func (s *Device) Name() string { return "make device " + strconv.Quote(s.Path) }
func (s *Device) op() op       { return opDevice }
func (s *Device) wire(c *coder) {
	c.Str(&s.Path)
	c.U32(&s.Mode)
	c.U32(&s.Major)
	c.U32(&s.Minor)
	c.U32(&s.UID)
	c.U32(&s.GID)
	wireFD(c, &s.Tree)
	c.Str(&s.Host)
}

func (s *Device) do(p *process) error {
	dir, name, err := safepath.ParentInRoot(p.root, s.Path, 0o755)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	switch {
	case s.Tree != NoFD:
		tree, err := p.fd(s.Tree)
		if err != nil {
			return err
		}
		return bindNode(tree, dir, name)
	case s.Host != "":
		tree, err := mount.ClonePath(s.Host, false)
		if err != nil {
			return fail("clone the host's "+s.Host, err)
		}
		defer unix.Close(tree)
		return bindNode(tree, dir, name)
	}
	return s.makeNode(dir, name)
}

// makeNode makes the node itself. What the image has in its place is replaced,
// unless it is that very node; never is a link followed (security class V6).
func (s *Device) makeNode(dir int, name string) error {
	dev := int(unix.Mkdev(s.Major, s.Minor))
	for try := 0; ; try++ {
		err := unix.Mknodat(dir, name, s.Mode, dev)
		if err == nil {
			break
		}
		if err != unix.EEXIST || try > 0 {
			return err
		}
		var st unix.Stat_t
		if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
		if st.Mode&unix.S_IFMT == s.Mode&unix.S_IFMT && st.Rdev == uint64(dev) {
			break
		}
		if err := unix.Unlinkat(dir, name, 0); err != nil {
			return fail("replace what the root file system has there", err)
		}
	}
	if s.UID == 0 && s.GID == 0 {
		return nil
	}
	return unix.Fchownat(dir, name, int(s.UID), int(s.GID), unix.AT_SYMLINK_NOFOLLOW)
}

// bindNode attaches a node over a file, made if it is missing; a link in its
// place is removed.
func bindNode(tree, dir int, name string) error {
	const flags = unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat(dir, name, flags, 0)
	if err == nil {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT == unix.S_IFLNK {
			unix.Close(fd)
			if err := unix.Unlinkat(dir, name, 0); err != nil {
				return err
			}
			fd, err = safepath.MkfileAt(dir, name, 0o644)
			if err != nil {
				return err
			}
		}
	} else if err == unix.ENOENT {
		fd, err = safepath.MkfileAt(dir, name, 0o644)
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := mount.Attach(tree, fd); err != nil {
		return attachError(tree, fd, err)
	}
	return nil
}

// Link is a symbolic link in a directory.
type Link struct {
	Name, Target string
	// Replace says that what has the name gives way; otherwise it stays.
	Replace bool
}

// DevLinks makes symbolic links in a directory of the container: the usual
// ones of /dev, or the names of joined cgroup controllers.
type DevLinks struct {
	Dir   string
	Links []Link
}

func (s *DevLinks) Name() string { return "make links in " + strconv.Quote(s.Dir) }
func (s *DevLinks) op() op       { return opDevLinks }
func (s *DevLinks) wire(c *coder) {
	c.Str(&s.Dir)
	codec.List(c, &s.Links, func(c *coder, l *Link) { c.Str(&l.Name); c.Str(&l.Target); c.Bool(&l.Replace) })
}

func (s *DevLinks) do(p *process) error {
	dir, err := safepath.MkdirAllInRoot(p.root, s.Dir, 0o755)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	for _, l := range s.Links {
		err := makeLink(dir, l)
		if err == errOther && !l.Replace {
			continue // the image has something of its own there
		}
		if err != nil {
			return fail(lineOf(l.Name), err)
		}
	}
	return nil
}

var errOther = errors.New("something else has the name")

// makeLink makes a link, or finds it made.
func makeLink(dir int, l Link) error {
	for try := 0; ; try++ {
		err := unix.Symlinkat(l.Target, dir, l.Name)
		if err != unix.EEXIST {
			return err
		}
		var buf [unix.PathMax]byte
		n, err := unix.Readlinkat(dir, l.Name, buf[:])
		if err == nil && string(buf[:n]) == l.Target {
			return nil
		}
		if !l.Replace || try > 0 {
			return errOther
		}
		if err := unix.Unlinkat(dir, l.Name, 0); err != nil {
			return err
		}
	}
}

// MakeWorkdir makes the process's working directory if it is missing.
type MakeWorkdir struct{ Path string }

func (s *MakeWorkdir) Name() string  { return "make working directory " + strconv.Quote(s.Path) }
func (s *MakeWorkdir) op() op        { return opMakeWorkdir }
func (s *MakeWorkdir) wire(c *coder) { c.Str(&s.Path) }

func (s *MakeWorkdir) do(p *process) error {
	fd, err := safepath.MkdirAllInRoot(p.root, s.Path, 0o755)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}
