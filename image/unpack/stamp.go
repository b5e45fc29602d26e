package unpack

import (
	"archive/tar"
	"fmt"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"berth/base/fault"
)

// stamp reads attributes from headers and gives them to files.
type stamp struct {
	oneID   bool
	dropped int64 // xattrs
}

// attributesOf takes a header's attributes and holds them to their limits.
func (p *stamp) attributesOf(h *tar.Header, limits *Limits) (*attributes, error) {
	if h.Uid < 0 || h.Gid < 0 || h.Uid > maxID || h.Gid > maxID {
		return nil, fault.New(fault.Invalid, "the owner %d:%d is out of range", h.Uid, h.Gid)
	}
	a := &attributes{UID: h.Uid, GID: h.Gid, Mode: uint32(h.Mode) & 0o7777, Timed: true}
	a.Mtime = [2]int64{h.ModTime.Unix(), int64(h.ModTime.Nanosecond())}
	if a.Atime = a.Mtime; !h.AccessTime.IsZero() {
		a.Atime = [2]int64{h.AccessTime.Unix(), int64(h.AccessTime.Nanosecond())}
	}
	err := p.xattrsOf(h, a, limits)
	return a, err
}

// maxID is the largest id; the one above means "leave it" to chown(2).
const maxID = 1<<32 - 2

// paxXattr is the prefix of xattrs in extended headers, as all tools write it.
const paxXattr = "SCHILY.xattr."

func (p *stamp) xattrsOf(h *tar.Header, a *attributes, limits *Limits) error {
	if len(h.PAXRecords) == 0 {
		return nil
	}
	total := 0
	for key, value := range h.PAXRecords {
		name, ok := strings.CutPrefix(key, paxXattr)
		if !ok {
			continue
		}
		if !keptXattr(name) {
			p.dropped++
			continue
		}
		if len(name) > unix.NAME_MAX || strings.IndexByte(name, 0) >= 0 {
			return fault.New(fault.Invalid, "the name of an xattr is too long or has a zero byte")
		}
		if total += len(name) + len(value); total > limits.XattrBytes {
			return fault.New(fault.Invalid, "the xattrs take more than %d bytes", limits.XattrBytes)
		}
		if len(a.Xattrs) == limits.Xattrs {
			return fault.New(fault.Invalid, "there are more than %d xattrs", limits.Xattrs)
		}
		a.Xattrs = append(a.Xattrs, xattr{name, []byte(value)})
	}
	return nil
}

// overrideXattr keeps the true owner where there is one id only.
const overrideXattr = "user.containers.override_stat"

// keptXattr says which xattrs of a tar go to disk; see the package comment.
func keptXattr(name string) bool {
	switch name {
	case "security.capability", "system.posix_acl_access", "system.posix_acl_default":
		return true
	case overrideXattr:
		return false
	}
	return strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, "user.overlay.") &&
		!strings.HasPrefix(name, "user.fuseoverlayfs.")
}

// setAll gives an open file or folder its attributes, in the order in which
// they do not undo each other: chown(2) takes setuid bits and capabilities.
func (p *stamp) setAll(fd int, a *attributes, kind uint32) error {
	owned := !p.oneID && (a.UID != 0 || a.GID != 0)
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
		if err := p.setXattr(fd, &a.Xattrs[i]); err != nil {
			return err
		}
	}
	if p.oneID && (a.UID != 0 || a.GID != 0) {
		word := "file"
		if kind == unix.S_IFDIR {
			word = "dir"
		}
		if err := p.setXattr(fd, &xattr{overrideXattr, fmt.Appendf(nil, "%d:%d:%04o:%s", a.UID, a.GID, a.Mode, word)}); err != nil {
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

func (p *stamp) setXattr(fd int, a *xattr) error {
	err := unix.Fsetxattr(fd, a.Name, a.Value, 0)
	switch err {
	case nil:
		return nil
	case unix.EOPNOTSUPP:
		p.dropped++ // the file system takes none of this kind
		return nil
	}
	return fmt.Errorf("set the xattr %q: %w", a.Name, err)
}

// setSpecial gives attributes to what cannot be opened: a link, FIFO or device.
func (p *stamp) setSpecial(dir int, base string, a *attributes, link bool) error {
	p.dropped += int64(len(a.Xattrs)) // user.* is for regular files and folders, xattr(7)
	if !p.oneID && (a.UID != 0 || a.GID != 0) {
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

// setLinked sets what the header of a hard link says differently.
func (p *stamp) setLinked(dir int, base string, st *unix.Stat_t, a *attributes) error {
	same := p.oneID && a.UID == 0 && a.GID == 0 || !p.oneID && int(st.Uid) == a.UID && int(st.Gid) == a.GID
	same = same && st.Mode&0o7777 == a.Mode && st.Mtim.Sec == a.Mtime[0] && st.Mtim.Nsec == a.Mtime[1]
	kind := st.Mode & unix.S_IFMT
	if kind != unix.S_IFREG {
		// It may have the owner that setSpecial takes for a new one's.
		if !p.oneID {
			if err := unix.Fchownat(dir, base, a.UID, a.GID, unix.AT_SYMLINK_NOFOLLOW); err != nil {
				return ownerError(a, err)
			}
		}
		return p.setSpecial(dir, base, a, kind == unix.S_IFLNK)
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
	if !p.oneID {
		if err := unix.Fchown(fd, a.UID, a.GID); err != nil {
			return ownerError(a, err)
		}
	}
	if err := unix.Fchmod(fd, a.Mode); err != nil {
		return err
	}
	return p.setAll(fd, a, kind)
}
