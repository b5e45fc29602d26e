package volume

import (
	"archive/tar"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/sys/safepath"
)

// importEntry makes one file of a tar below root.
func importEntry(root int, h *tar.Header, content io.Reader, late map[string]*tar.Header) error {
	name := path.Clean("/" + h.Name)
	if strings.ContainsRune(h.Name, 0) || len(name) >= unix.PathMax {
		return fault.New(fault.Invalid, "the name is no path")
	}
	const most = 1<<32 - 2 // the one above means "leave it"
	if h.Uid < 0 || h.Gid < 0 || h.Uid > most || h.Gid > most {
		return fault.New(fault.Invalid, "its owner is %d:%d", h.Uid, h.Gid)
	}
	if h.Typeflag == tar.TypeDir {
		late[name] = h
		fd, err := safepath.MkdirAllInRoot(root, name, 0o755)
		if err != nil {
			return err
		}
		return unix.Close(fd)
	}
	if name == "/" {
		return fault.New(fault.Invalid, "the volume itself is a folder")
	}
	dir, base, err := safepath.ParentInRoot(root, name, 0o755)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	// Also a link that is there is replaced, not followed.
	if err := unix.Unlinkat(dir, base, 0); err != nil && err != unix.ENOENT {
		return err
	}
	switch h.Typeflag {
	case tar.TypeReg:
		return importFile(dir, base, h, content)
	case tar.TypeSymlink:
		if err := unix.Symlinkat(h.Linkname, dir, base); err != nil {
			return err
		}
		if err := unix.Fchownat(dir, base, h.Uid, h.Gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
		return unix.UtimesNanoAt(dir, base, times(h), unix.AT_SYMLINK_NOFOLLOW)
	case tar.TypeLink:
		fd, err := safepath.OpenInRoot(root, path.Clean("/"+h.Linkname), unix.O_PATH|unix.O_NOFOLLOW)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return linkFD(fd, dir, base)
	case tar.TypeFifo, tar.TypeChar, tar.TypeBlock:
		kind := map[byte]uint32{tar.TypeFifo: unix.S_IFIFO, tar.TypeChar: unix.S_IFCHR, tar.TypeBlock: unix.S_IFBLK}[h.Typeflag]
		dev := unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor))
		at := times(h)
		return node(dir, base, &unix.Stat_t{
			Mode: kind | uint32(h.Mode)&0o7777, Uid: uint32(h.Uid), Gid: uint32(h.Gid), Rdev: dev, Atim: at[0], Mtim: at[1],
		})
	}
	return fault.New(fault.Invalid, "entries of type %q are not known", h.Typeflag)
}

func importFile(dir int, name string, h *tar.Header, content io.Reader) error {
	fd, err := unix.Openat(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	if _, err := io.Copy(f, content); err != nil {
		return err
	}
	return applyHeader(int(f.Fd()), h)
}

// applyHeader gives an open file what the head says.
func applyHeader(fd int, h *tar.Header) error {
	if err := unix.Fchown(fd, h.Uid, h.Gid); err != nil {
		return err
	}
	if err := unix.Fchmod(fd, uint32(h.Mode)&0o7777); err != nil {
		return err
	}
	for key, value := range h.PAXRecords {
		name, ok := strings.CutPrefix(key, xattrPrefix)
		if !ok || !strings.HasPrefix(name, "user.") && name != "security.capability" || strings.HasPrefix(name, "user.overlay.") {
			continue
		}
		if err := notSupported(unix.Fsetxattr(fd, name, []byte(value), 0)); err != nil {
			return err
		}
	}
	return unix.UtimesNanoAt(unix.AT_FDCWD, procPath(fd), times(h), 0)
}

func times(h *tar.Header) []unix.Timespec {
	t := unix.NsecToTimespec(h.ModTime.UnixNano())
	return []unix.Timespec{t, t}
}
