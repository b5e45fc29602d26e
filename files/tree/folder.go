package tree

import (
	"archive/tar"
	"path"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/sys/safepath"
)

// forget closes the folder that is kept open.
func (u *unpacker) forget() {
	if u.parent >= 0 {
		unix.Close(u.parent)
	}
	u.parent = -1
}

// folderOf opens the folder that a tidy name is in, which is made if it is
// missing; it stays u's. The last one is kept: most entries follow a neighbour.
func (u *unpacker) folderOf(name string) (dir int, base string, err error) {
	parent, base := path.Split(name)
	if u.parent >= 0 && u.inside == parent {
		return u.parent, base, nil
	}
	fd, err := u.openFolder(parent)
	if err != nil {
		return -1, "", err
	}
	u.forget()
	u.parent, u.inside = fd, parent
	return fd, base, nil
}

// openFolder opens a folder below Dir, or makes it.
func (u *unpacker) openFolder(name string) (int, error) {
	name = strings.Trim(name, "/")
	if name == "" {
		return unix.Openat(u.Dir, ".", openFolder, 0)
	}
	if u.Root >= 0 {
		return u.openInRoot(name)
	}
	dir, err := unix.Openat(u.Dir, ".", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	for part := range strings.SplitSeq(name, "/") {
		sub, err := below(dir, part)
		unix.Close(dir)
		if err != nil {
			return -1, err
		}
		dir = sub
	}
	return dir, nil
}

// below opens a folder of dir, or makes it; a link is none.
func below(dir int, name string) (int, error) {
	fd, err := safepath.OpenInRootNoLinks(dir, name, unix.O_PATH|unix.O_DIRECTORY)
	if err != unix.ENOENT {
		return fd, err
	}
	if err := unix.Mkdirat(dir, name, 0o755); err != nil && err != unix.EEXIST {
		return -1, err
	}
	return safepath.OpenInRootNoLinks(dir, name, unix.O_PATH|unix.O_DIRECTORY)
}

// openInRoot goes from Dir, which stays what it was however its path changes,
// unless a link leads out of it: then from the root.
func (u *unpacker) openInRoot(name string) (int, error) {
	fd, err := safepath.OpenBeneath(u.Dir, name, unix.O_PATH|unix.O_DIRECTORY)
	if err == nil || err != unix.ENOENT && err != unix.EXDEV {
		return fd, err
	}
	return safepath.MkdirAllInRoot(u.Root, path.Join(u.Path, name), 0o755)
}

// remove removes a name with all that is in it.
func remove(dir int, base string, depth int) error {
	err := unix.Unlinkat(dir, base, 0)
	if err != unix.EISDIR {
		return err
	}
	if depth > maxDepth {
		return fault.New(fault.Invalid, "folders more than %d deep", maxDepth)
	}
	fd, err := unix.Openat(dir, base, openFolder, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	names, err := list(fd)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := remove(fd, name, depth+1); err != nil && err != unix.ENOENT {
			return err
		}
	}
	return unix.Unlinkat(dir, base, unix.AT_REMOVEDIR)
}

// setTimes is futimens(3): the name is a null pointer, which x/sys has no word for.
func setTimes(fd int, h *tar.Header) error {
	ts := [2]unix.Timespec(times(h))
	if _, _, e := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(&ts)), 0, 0, 0); e != 0 {
		return e
	}
	return nil
}
