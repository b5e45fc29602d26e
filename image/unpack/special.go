package unpack

import (
	"archive/tar"
	"fmt"

	"golang.org/x/sys/unix"

	"berth/base/fault"
)

func (x *extractor) symlink(dir int, base, text string, a *attributes) error {
	if err := x.again(dir, base, func() error { return unix.Symlinkat(text, dir, base) }); err != nil {
		return fmt.Errorf("make a link to %q: %w", text, err)
	}
	x.inodes++
	return x.setSpecial(dir, base, a, true)
}

func (x *extractor) fifo(dir int, base string, a *attributes) error {
	if err := x.again(dir, base, func() error { return unix.Mknodat(dir, base, unix.S_IFIFO|0o600, 0) }); err != nil {
		return fmt.Errorf("make a FIFO: %w", err)
	}
	x.inodes++
	return x.setSpecial(dir, base, a, false)
}

// The largest numbers of a device, see the kernel's include/linux/kdev_t.h.
const (
	maxMajor = 1<<12 - 1
	maxMinor = 1<<20 - 1
)

// device has the caller's process make a device node. A character device 0:0
// is a whiteout, also for overlay.
func (x *extractor) device(dir int, base, real string, h *tar.Header, a *attributes) error {
	if h.Devmajor < 0 || h.Devmajor > maxMajor || h.Devminor < 0 || h.Devminor > maxMinor {
		return fault.New(fault.Invalid, "the device number %d:%d is out of range", h.Devmajor, h.Devminor)
	}
	q := request{Op: opNode, Path: []byte(real), Mode: unix.S_IFCHR, Major: uint32(h.Devmajor), Minor: uint32(h.Devminor)}
	if h.Typeflag == tar.TypeBlock {
		q.Mode = unix.S_IFBLK
	}
	if q.Mode == unix.S_IFCHR && q.Major == 0 && q.Minor == 0 {
		return x.whiteout(real)
	}
	var st unix.Stat_t
	if unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW) == nil {
		if err := x.remove(dir, base); err != nil {
			return err
		}
	}
	if err := x.ask(q, nil); fault.Is(err, fault.Unsupported) {
		x.skipped++
		return nil
	} else if err != nil {
		return err
	}
	x.inodes++
	return x.setSpecial(dir, base, a, false)
}

// link makes a hard link. Its header repeats the attributes of the file, and as
// with docker and containerd those of the last header count.
func (x *extractor) link(name, real, target string, a *attributes) error {
	want, err := clean(target, x.limits.Depth)
	if err != nil {
		return fmt.Errorf("make a hard link to %q: %w", target, err)
	}
	if err := x.linkTo(name, want, a); err != nil {
		return fmt.Errorf("make a hard link to %q: %w", target, err)
	}
	return nil
}

func (x *extractor) linkTo(name, target string, a *attributes) error {
	from, fromBase, fromReal, err := x.parentIfThere(target)
	if err != nil {
		return notInLayer(err)
	}
	if fromBase == "" {
		return unix.EISDIR
	}
	var st unix.Stat_t
	if err := unix.Fstatat(from, fromBase, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return notInLayer(err)
	}
	if isWhiteout(&st) {
		return notInLayer(unix.ENOENT)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return unix.EISDIR
	}
	// The cache may close from while it opens the other folder.
	if from, err = unix.FcntlInt(uintptr(from), unix.F_DUPFD_CLOEXEC, 0); err != nil {
		return err
	}
	defer unix.Close(from)
	dir, base, real, err := x.parent(name)
	if err != nil {
		return err
	}
	if real != fromReal {
		err := x.again(dir, base, func() error { return unix.Linkat(from, fromBase, dir, base, 0) })
		if err != nil {
			return notInLayer(err)
		}
	}
	return x.setLinked(dir, base, &st, a)
}

// notInLayer says what ENOENT means here.
func notInLayer(err error) error {
	if err == unix.ENOENT {
		return fmt.Errorf("this layer has no such file: %w", err)
	}
	return err
}

// setLinked sets what the header of a hard link says differently.
func (x *extractor) setLinked(dir int, base string, st *unix.Stat_t, a *attributes) error {
	same := x.oneID && a.UID == 0 && a.GID == 0 || !x.oneID && int(st.Uid) == a.UID && int(st.Gid) == a.GID
	same = same && st.Mode&0o7777 == a.Mode && st.Mtim.Sec == a.Mtime[0] && st.Mtim.Nsec == a.Mtime[1]
	kind := st.Mode & unix.S_IFMT
	if kind != unix.S_IFREG {
		return x.setSpecial(dir, base, a, kind == unix.S_IFLNK)
	}
	if same && len(a.Xattrs) == 0 {
		return nil
	}
	fd, err := unix.Openat(dir, base, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	// The file may have the owner that setAll takes for a new file's.
	if !x.oneID {
		if err := unix.Fchown(fd, a.UID, a.GID); err != nil {
			return ownerError(a, err)
		}
	}
	if err := unix.Fchmod(fd, a.Mode); err != nil {
		return err
	}
	return x.setAll(fd, a, kind)
}

// remove takes away what an earlier entry made, a folder with all in it.
func (x *extractor) remove(dir int, base string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		if err := unix.Unlinkat(dir, base, 0); err != nil {
			return err
		}
		x.uncount(&st)
		return nil
	}
	if err := x.removeAll(dir, base); err != nil {
		return fmt.Errorf("remove the folder that is in its place: %w", err)
	}
	return x.forgetBelow(dir)
}

// forgetBelow closes the open folders, of which some are gone, but for the one
// that is in use.
func (x *extractor) forgetBelow(dir int) error {
	for name, fd := range x.open {
		if fd != dir {
			unix.Close(fd)
			delete(x.open, name)
		}
	}
	return nil
}

func (x *extractor) uncount(st *unix.Stat_t) {
	if st.Nlink > 1 && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return
	}
	x.inodes--
	if k := st.Mode & unix.S_IFMT; k == unix.S_IFREG {
		x.size -= st.Blocks * 512
	}
}

func (x *extractor) removeAll(dir int, base string) error {
	fd, err := openBeneath(dir, base)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	// A file system may pass over names while others go away: the list is read
	// until it is empty from its start.
	for {
		names, err := list(fd)
		if err != nil {
			return err
		}
		if len(names) == 0 {
			break
		}
		for _, name := range names {
			var st unix.Stat_t
			if err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
				return err
			}
			if st.Mode&unix.S_IFMT == unix.S_IFDIR {
				if err := x.removeAll(fd, name); err != nil {
					return err
				}
				continue
			}
			if err := unix.Unlinkat(fd, name, 0); err != nil {
				return err
			}
			x.uncount(&st)
		}
	}
	x.inodes--
	return unix.Unlinkat(dir, base, unix.AT_REMOVEDIR)
}

// list reads the names of an open folder from its start, at most a buffer full.
func list(fd int) ([]string, error) {
	if _, err := unix.Seek(fd, 0, unix.SEEK_SET); err != nil {
		return nil, err
	}
	buf := make([]byte, 16<<10)
	for {
		n, err := unix.ReadDirent(fd, buf)
		if err != nil || n == 0 {
			return nil, err
		}
		// A buffer with "." and ".." alone is not the end.
		if _, _, names := unix.ParseDirent(buf[:n], -1, nil); len(names) > 0 {
			return names, nil
		}
	}
}
