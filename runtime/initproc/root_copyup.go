package initproc

import (
	"strings"

	"golang.org/x/sys/unix"

	"berth/sys/safepath"
)

// Limits of a copy-up; the new file system's size bounds the bytes.
const (
	maxCopyDepth = 64
	maxCopyFiles = 1 << 20
	maxXattrs    = 64 << 10
)

// copier copies a directory of the container into a new file system that
// nobody can reach yet. Of the source only what is on the same mount is
// read, every name relative to an open directory and never through a link.
type copier struct {
	buf   []byte
	files int
}

// copyUp copies what the directory from holds into the directory to. from may
// be an O_PATH descriptor.
func copyUp(from, to int) error {
	c := &copier{buf: make([]byte, 128<<10)}
	return c.dir(from, to, 0)
}

func (c *copier) dir(from, to, depth int) error {
	if depth > maxCopyDepth {
		return fail("copy up", unix.ELOOP)
	}
	src, err := openCopy(from, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return fail("copy up: open directory", err)
	}
	defer unix.Close(src)
	names, err := readNames(src)
	if err != nil {
		return fail("copy up: read directory", err)
	}
	for _, name := range names {
		if c.files++; c.files > maxCopyFiles {
			return fail("copy up: too many files", unix.EMFILE)
		}
		if err := c.entry(src, to, name, depth); err != nil {
			return fail("copy up "+lineOf(name), err)
		}
	}
	return nil
}

// openCopy opens a name of a directory of the source: not another mount, not a
// link's target.
func openCopy(dir int, name string, flags int) (int, error) {
	return openat2(dir, name, &unix.OpenHow{
		Flags:   uint64(flags | unix.O_CLOEXEC | unix.O_NOFOLLOW),
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV,
	})
}

func readNames(dir int) ([]string, error) {
	var names []string
	buf := make([]byte, 32<<10)
	for {
		n, err := unix.ReadDirent(dir, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			return names, err
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
		if len(names) > maxCopyFiles {
			return nil, unix.EMFILE
		}
	}
}

func (c *copier) entry(src, to int, name string, depth int) error {
	fd, err := openCopy(src, name, unix.O_PATH)
	switch err {
	case nil:
	case unix.EXDEV, unix.ENOENT:
		return nil // a mount of its own, or gone
	default:
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return c.subdir(fd, to, name, &st, depth)
	case unix.S_IFREG:
		return c.regular(src, to, name, &st)
	case unix.S_IFLNK:
		var buf [unix.PathMax]byte
		n, err := unix.Readlinkat(fd, "", buf[:])
		if err != nil {
			return err
		}
		if err := unix.Symlinkat(string(buf[:n]), to, name); err != nil {
			return err
		}
	case unix.S_IFSOCK:
		return nil // nobody listens on a copy
	default:
		err := unix.Mknodat(to, name, st.Mode, int(st.Rdev))
		if err == unix.EPERM {
			return nil // devices, in a user namespace
		}
		if err != nil {
			return err
		}
	}
	return own(to, name, &st)
}

func (c *copier) subdir(fd, to int, name string, st *unix.Stat_t, depth int) error {
	if err := unix.Mkdirat(to, name, 0o700); err != nil {
		return err
	}
	dst, err := safepath.OpenBeneath(to, name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer unix.Close(dst)
	in, err := openCopy(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer unix.Close(in)
	if err := c.dir(in, dst, depth+1); err != nil {
		return err
	}
	return finishCopy(in, dst, st)
}

func (c *copier) regular(src, to int, name string, st *unix.Stat_t) error {
	// The name may be another file by now; a device or FIFO must not block or act.
	in, err := openCopy(src, name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return err
	}
	defer unix.Close(in)
	if err := unix.Fstat(in, st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil
	}
	out, err := unix.Openat(to, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	defer unix.Close(out)
	if err := c.bytes(in, out); err != nil {
		return err
	}
	return finishCopy(in, out, st)
}

func (c *copier) bytes(in, out int) error {
	for {
		n, err := unix.Read(in, c.buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return err
		}
		for b := c.buf[:n]; len(b) > 0; {
			w, err := unix.Write(out, b)
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				return err
			}
			b = b[w:]
		}
	}
}

// own gives a copy that cannot be opened its owner, mode and times.
func own(to int, name string, st *unix.Stat_t) error {
	if err := unix.Fchownat(to, name, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW); err != nil && !unmapped(err) {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		if err := unix.Fchmodat(to, name, st.Mode&0o7777, 0); err != nil {
			return err
		}
	}
	return unix.UtimesNanoAt(to, name, []unix.Timespec{st.Atim, st.Mtim}, unix.AT_SYMLINK_NOFOLLOW)
}

// unmapped: an owner that the user namespace does not know stays the maker's.
func unmapped(err error) bool { return err == unix.EINVAL || err == unix.EPERM }

// finishCopy copies owner, mode, extended attributes and times; the owner
// first, as a change of it drops set-id bits and file capabilities.
func finishCopy(in, out int, st *unix.Stat_t) error {
	if err := unix.Fchown(out, int(st.Uid), int(st.Gid)); err != nil && !unmapped(err) {
		return err
	}
	if err := unix.Fchmod(out, st.Mode&0o7777); err != nil {
		return err
	}
	copyXattrs(in, out)
	ts := [2]unix.Timespec{st.Atim, st.Mtim}
	return unix.UtimesNanoAt(out, "", ts[:], unix.AT_EMPTY_PATH)
}

// copyXattrs copies what the new file system takes: a tmpfs may lack user
// attributes, and a user namespace may not set trusted ones.
func copyXattrs(in, out int) {
	list := make([]byte, maxXattrs)
	n, err := unix.Flistxattr(in, list)
	if err != nil || n == 0 {
		return
	}
	value := make([]byte, maxXattrs)
	for name := range strings.SplitSeq(strings.TrimRight(string(list[:n]), "\x00"), "\x00") {
		if v, err := unix.Fgetxattr(in, name, value); err == nil {
			_ = unix.Fsetxattr(out, name, value[:v], 0)
		}
	}
}
