package volume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"berth/base/atomicfile"
	"berth/base/fault"
	"berth/sys/safepath"
)

// CopyUp fills an empty volume with what an image has at target: root is the
// image's root, an open folder, in which target is resolved like a path of the
// image, so that its links cannot lead out. Owners stay as the caller sees them. A volume
// with files is left alone. A copy that was killed is gone on with: files
// appear whole or not at all.
func (s *Store) CopyUp(ctx context.Context, name string, root *os.File, target string) error {
	lock, err := s.lock(name)
	if err != nil {
		return err
	}
	defer s.unlock(lock, name)
	v, err := s.Get(name)
	if err != nil {
		return err
	}
	if isBind(v.Options) {
		return nil
	}
	if err := s.copyUp(ctx, v, root, target); err != nil {
		return fmt.Errorf("copy %s of the image into volume %s: %w", target, name, err)
	}
	return nil
}

func (s *Store) copyUp(ctx context.Context, v *Volume, root *os.File, target string) error {
	mark := filepath.Join(s.home(v.Name), fillingMark)
	_, err := os.Lstat(mark)
	begun := err == nil
	if !begun {
		if clear, err := isEmpty(v.Data); err != nil || !clear {
			return err
		}
	}
	from, err := safepath.OpenInRoot(int(root.Fd()), target, unix.O_RDONLY|unix.O_DIRECTORY)
	switch err {
	case nil:
	case unix.ENOENT, unix.ENOTDIR:
		return nil // nothing, or a file
	default:
		return os.NewSyscallError("openat2", err)
	}
	defer unix.Close(from)
	to, err := unix.Open(v.Data, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("open", err)
	}
	defer unix.Close(to)
	if !begun {
		if err := atomicfile.Write(mark, nil, 0o600); err != nil {
			return err
		}
	}
	c := &copier{ctx: ctx, links: map[inode]string{}, root: to}
	if err := c.folder(from, to, ""); err != nil {
		return err
	}
	return os.Remove(mark)
}

// isEmpty reports whether a folder has no files but what mkfs(8) makes.
func isEmpty(dir string) (bool, error) {
	d, err := os.Open(dir)
	if err != nil {
		return false, err
	}
	defer d.Close()
	names, err := d.Readdirnames(2)
	if len(names) == 0 {
		return true, nil
	}
	return len(names) == 1 && names[0] == "lost+found", err
}

// inode names a file of the source.
type inode struct{ dev, ino uint64 }

// Limits of a copy.
const (
	maxDepth = 512
	maxLinks = 1 << 20 // files with several names that are remembered
)

// copier copies a tree by descriptors: nothing is looked up by a path twice, no
// link is followed, whoever else changes the volume meanwhile.
type copier struct {
	ctx   context.Context
	root  int              // of the volume
	links map[inode]string // where files with several names are, from root
	depth int
}

// folder copies what is in from into to, then what from itself is.
func (c *copier) folder(from, to int, path string) error {
	if c.depth++; c.depth > maxDepth {
		return fault.New(fault.Invalid, "folders more than %d deep", maxDepth)
	}
	defer func() { c.depth-- }()
	names, err := namesOf(from)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		if err := c.entry(from, to, name, filepath.Join(path, name)); err != nil {
			return fmt.Errorf("%s: %w", filepath.Join("/", path, name), err)
		}
	}
	var st unix.Stat_t
	if err := unix.Fstat(from, &st); err != nil {
		return err
	}
	return copyAttributes(from, to, &st)
}

// namesOf lists a folder that stays open.
func namesOf(dir int) ([]string, error) {
	fd, err := unix.Openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("open", err)
	}
	d := os.NewFile(uintptr(fd), "folder")
	defer d.Close()
	return d.Readdirnames(-1)
}

func (c *copier) entry(from, to int, name, path string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(from, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return ignore(err, unix.ENOENT)
	}
	kind := st.Mode & unix.S_IFMT
	if kind != unix.S_IFDIR && st.Nlink > 1 {
		if first, ok := c.links[inode{st.Dev, st.Ino}]; ok {
			return c.link(first, to, name)
		}
		if len(c.links) < maxLinks {
			defer func() { c.links[inode{st.Dev, st.Ino}] = path }()
		}
	}
	switch kind {
	case unix.S_IFDIR:
		return c.subfolder(from, to, name, path)
	case unix.S_IFREG:
		return c.file(from, to, name)
	case unix.S_IFLNK:
		return symlink(from, to, name, &st)
	case unix.S_IFSOCK:
		return nil // nobody listens
	}
	return node(to, name, &st)
}

func ignore(err error, these ...error) error {
	for _, e := range these {
		if errors.Is(err, e) {
			return nil
		}
	}
	return err
}

const openFolder = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC

func (c *copier) subfolder(from, to int, name, path string) error {
	src, err := unix.Openat(from, name, openFolder, 0)
	if err != nil {
		return err
	}
	defer unix.Close(src)
	if err := unix.Mkdirat(to, name, 0o700); err != nil && err != unix.EEXIST {
		return err
	}
	dst, err := unix.Openat(to, name, openFolder, 0)
	if err != nil {
		return ignore(err, unix.ENOTDIR, unix.ELOOP) // something else took the name
	}
	defer unix.Close(dst)
	return c.folder(src, dst, path)
}

// file copies a regular file: made without a name, linked when it is whole.
func (c *copier) file(from, to int, name string) error {
	src, err := unix.Openat(from, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(src)
	var st unix.Stat_t
	if err := unix.Fstat(src, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil // changed meanwhile
	}
	dst, err := unix.Openat(to, ".", unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	defer unix.Close(dst)
	if err := c.content(src, dst); err != nil {
		return err
	}
	if err := copyAttributes(src, dst, &st); err != nil {
		return err
	}
	return ignore(linkFD(dst, to, name), unix.EEXIST)
}

// linkFD gives an open file a name. By the descriptor's link in procfs, as
// AT_EMPTY_PATH takes a right that root of a user namespace has not: open(2).
func linkFD(fd, dir int, name string) error {
	return unix.Linkat(unix.AT_FDCWD, procPath(fd), dir, name, unix.AT_SYMLINK_FOLLOW)
}

// content copies the bytes, with holes where the kernel clones or skips them.
func (c *copier) content(src, dst int) error {
	if unix.IoctlFileClone(dst, src) == nil {
		return nil
	}
	for {
		n, err := unix.CopyFileRange(src, nil, dst, nil, 1<<30, 0)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EXDEV || err == unix.EINVAL || err == unix.ENOSYS || err == unix.EOPNOTSUPP:
			return c.readWrite(src, dst)
		case err != nil:
			return err
		case n == 0:
			return nil
		}
		if err := c.ctx.Err(); err != nil {
			return err
		}
	}
}

// readWrite goes on where CopyFileRange stopped.
func (c *copier) readWrite(src, dst int) error {
	buf := make([]byte, 256<<10)
	for {
		n, err := unix.Read(src, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return err
		}
		for b := buf[:n]; len(b) > 0; {
			m, err := unix.Write(dst, b)
			if err != nil && err != unix.EINTR {
				return err
			}
			b = b[max(m, 0):]
		}
		if err := c.ctx.Err(); err != nil {
			return err
		}
	}
}

// link gives a file that was copied before another name. What it finds there
// must be below the volume and no link.
func (c *copier) link(first string, to int, name string) error {
	fd, err := safepath.OpenInRootNoLinks(c.root, first, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return ignore(err, unix.ENOENT, unix.ELOOP)
	}
	defer unix.Close(fd)
	return ignore(linkFD(fd, to, name), unix.EEXIST)
}

func symlink(from, to int, name string, st *unix.Stat_t) error {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(from, name, buf)
	if err != nil {
		return err
	}
	if err := unix.Symlinkat(string(buf[:n]), to, name); err != nil {
		return ignore(err, unix.EEXIST)
	}
	if err := unix.Fchownat(to, name, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	return unix.UtimesNanoAt(to, name, []unix.Timespec{st.Atim, st.Mtim}, unix.AT_SYMLINK_NOFOLLOW)
}

// node makes a FIFO or a device, where the caller may.
func node(to int, name string, st *unix.Stat_t) error {
	if err := unix.Mknodat(to, name, st.Mode&unix.S_IFMT|0o600, int(st.Rdev)); err != nil {
		return ignore(err, unix.EEXIST, unix.EPERM)
	}
	fd, err := unix.Openat(to, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var now unix.Stat_t
	if err := unix.Fstat(fd, &now); err != nil || now.Mode&unix.S_IFMT != st.Mode&unix.S_IFMT || now.Rdev != st.Rdev {
		return err // somebody changed it
	}
	if err := unix.Fchownat(fd, "", int(st.Uid), int(st.Gid), unix.AT_EMPTY_PATH); err != nil {
		return err
	}
	if err := unix.Chmod(procPath(fd), st.Mode&0o7777); err != nil {
		return err
	}
	return unix.UtimesNanoAt(unix.AT_FDCWD, procPath(fd), []unix.Timespec{st.Atim, st.Mtim}, 0)
}
