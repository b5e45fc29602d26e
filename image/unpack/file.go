package unpack

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"unsafe"

	"golang.org/x/sys/unix"

	"berth/base/fault"
)

// again calls make, and once more after removing what is in its place.
func (x *extractor) again(dir int, base string, make func() error) error {
	err := make()
	if err != unix.EEXIST {
		return err
	}
	if err := x.remove(dir, base); err != nil {
		return err
	}
	return make()
}

// regular makes a regular file with its contents.
func (x *extractor) regular(dir int, base string, h *tar.Header, a *attributes, r io.Reader) error {
	if h.Size > x.limits.FileBytes {
		return fault.New(fault.Invalid, "the file is larger than %d bytes", x.limits.FileBytes)
	}
	if x.bytes += h.Size; x.bytes > x.limits.Bytes {
		return fault.New(fault.Invalid, "the layer's files are larger than %d bytes", x.limits.Bytes)
	}
	fd := -1
	err := x.again(dir, base, func() (err error) {
		fd, err = unix.Openat(dir, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, a.Mode&0o777)
		return err
	})
	if err != nil {
		return fmt.Errorf("create the file: %w", err)
	}
	x.inodes++
	if h.Typeflag == tar.TypeGNUSparse || h.PAXRecords["GNU.sparse.major"] != "" || h.PAXRecords["GNU.sparse.size"] != "" ||
		h.PAXRecords["GNU.sparse.realsize"] != "" {
		err = x.copySparse(fd, r)
	} else {
		err = x.copy(fd, r)
	}
	if err == nil {
		err = x.setAll(fd, a, unix.S_IFREG)
	}
	if err == nil {
		err = x.addSize(fd)
	}
	if cerr := unix.Close(fd); err == nil && cerr != nil {
		err = fmt.Errorf("close: %w", cerr)
	}
	return err
}

// copy writes the contents of a file.
func (x *extractor) copy(fd int, r io.Reader) error {
	for {
		n, err := fill(r, x.buf)
		if werr := writeAll(fd, x.buf[:n]); werr != nil {
			return werr
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read its contents: %w", asContents(err))
		}
	}
}

func asContents(err error) error {
	if errors.Is(err, errStopped) {
		return err
	}
	return asInvalid(err)
}

func writeAll(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("write: %w", err)
		}
		b = b[n:]
	}
	return nil
}

// holeSize is the piece that copySparse leaves out when it is all zeros.
const holeSize = 4096

// copySparse is copy that leaves holes. Where the tar had them is not known any
// more: its reader fills them with zeros.
func (x *extractor) copySparse(fd int, r io.Reader) error {
	at := int64(0)
	for {
		n, err := fill(r, x.buf)
		for b := x.buf[:n]; len(b) > 0; {
			run, zero := zeroRun(b)
			if !zero {
				if _, serr := unix.Seek(fd, at, io.SeekStart); serr != nil {
					return fmt.Errorf("seek: %w", serr)
				}
				if werr := writeAll(fd, b[:run]); werr != nil {
					return werr
				}
			}
			at += int64(run)
			b = b[run:]
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("read its contents: %w", asContents(err))
		}
	}
	if err := unix.Ftruncate(fd, at); err != nil {
		return fmt.Errorf("truncate: %w", err)
	}
	return nil
}

// zeroRun gives the length of the pieces at the start of b that are all zeros,
// or all not.
func zeroRun(b []byte) (n int, zero bool) {
	for n < len(b) {
		end := min(n+holeSize, len(b))
		z := allZero(b[n:end])
		if n > 0 && z != zero {
			break
		}
		n, zero = end, z
	}
	return n, zero
}

func allZero(b []byte) bool {
	var zeros [holeSize]byte
	return string(b) == string(zeros[:len(b)])
}

// setAll gives an open file or folder its attributes, in the order in which
// they do not undo each other: chown(2) takes setuid bits and capabilities.
func (x *extractor) setAll(fd int, a *attributes, kind uint32) error {
	owned := !x.oneID && (a.UID != 0 || a.GID != 0)
	if owned {
		if err := unix.Fchown(fd, a.UID, a.GID); err != nil {
			return ownerError(a, err)
		}
	}
	if owned || kind == unix.S_IFDIR || a.Mode&0o7000 != 0 || len(a.Xattrs) > 0 {
		if err := unix.Fchmod(fd, a.Mode); err != nil {
			return fmt.Errorf("change the mode to %04o: %w", a.Mode, err)
		}
	}
	for i := range a.Xattrs {
		if err := x.setXattr(fd, &a.Xattrs[i]); err != nil {
			return err
		}
	}
	if x.oneID && (a.UID != 0 || a.GID != 0) {
		word := "file"
		if kind == unix.S_IFDIR {
			word = "dir"
		}
		if err := x.setXattr(fd, &xattr{overrideXattr, fmt.Appendf(nil, "%d:%d:%04o:%s", a.UID, a.GID, a.Mode, word)}); err != nil {
			return err
		}
	}
	if !a.Timed {
		return nil
	}
	// futimens(3): the name is a null pointer, which x/sys has no word for.
	ts := a.times()
	if _, _, e := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(&ts)), 0, 0, 0); e != 0 {
		return fmt.Errorf("change the times: %w", e)
	}
	return nil
}

func (a *attributes) times() [2]unix.Timespec {
	return [2]unix.Timespec{
		{Sec: a.Atime[0], Nsec: a.Atime[1]},
		{Sec: a.Mtime[0], Nsec: a.Mtime[1]},
	}
}

func ownerError(a *attributes, err error) error {
	if err == unix.EINVAL {
		return fmt.Errorf("the owner %d:%d is not among this user's subordinate ids (subuid(5)): %w", a.UID, a.GID, err)
	}
	return fmt.Errorf("change the owner to %d:%d: %w", a.UID, a.GID, err)
}

func (x *extractor) setXattr(fd int, a *xattr) error {
	err := unix.Fsetxattr(fd, a.Name, a.Value, 0)
	switch err {
	case nil:
		return nil
	case unix.EOPNOTSUPP:
		x.dropped++ // the file system takes none of this kind
		return nil
	}
	return fmt.Errorf("set the xattr %q: %w", a.Name, err)
}

// setSpecial gives attributes to what cannot be opened: a link, FIFO or device.
func (x *extractor) setSpecial(dir int, base string, a *attributes, link bool) error {
	x.dropped += int64(len(a.Xattrs)) // user.* is for regular files and folders, xattr(7)
	if !x.oneID && (a.UID != 0 || a.GID != 0) {
		if err := unix.Fchownat(dir, base, a.UID, a.GID, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return ownerError(a, err)
		}
	}
	if !link {
		// It is no link: the worker made it a moment ago, and nobody else is here.
		if err := unix.Fchmodat(dir, base, a.Mode, 0); err != nil {
			return fmt.Errorf("change the mode to %04o: %w", a.Mode, err)
		}
	}
	ts := a.times()
	if err := unix.UtimesNanoAt(dir, base, ts[:], unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("change the times: %w", err)
	}
	return nil
}

// addSize counts a finished file's blocks.
func (x *extractor) addSize(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("stat: %w", err)
	}
	x.size += st.Blocks * 512
	return nil
}
