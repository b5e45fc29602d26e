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
	if err := x.small.settle(); err != nil {
		return err
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
