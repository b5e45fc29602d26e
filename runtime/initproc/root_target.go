package initproc

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"berth/sys/safepath"
)

// target opens where the mount goes, made if it is missing: a directory, or an
// empty file for a tree that is not one.
func (s *Mount) target(p *process, tree int) (fd int, made bool, err error) {
	switch {
	case guardProcFD && (s.FS == "proc" || s.FS == "sysfs"):
		fd, err = s.ordinaryTarget(p)
	case s.Flags&MountNoFollow != 0:
		fd, err = s.unfollowedTarget(p, tree)
	case s.FS != "" && s.Flags&(MountCopyUp|MountTargetMode) == 0:
		// A file system's root is a directory, and whether the target existed does
		// not matter.
		fd, err = safepath.MkdirAllInRoot(p.root, s.Dest, 0o755)
	default:
		fd, err = safepath.OpenInRoot(p.root, s.Dest, unix.O_PATH)
		if err == unix.ENOENT {
			made = true
			fd, err = makeTarget(p.root, s.Dest, tree)
		}
	}
	if err != nil {
		return -1, false, fail("open the target", err)
	}
	if err := s.checkTarget(fd, tree); err != nil {
		unix.Close(fd)
		return -1, false, err
	}
	return fd, made, nil
}

func makeTarget(root int, path string, tree int) (int, error) {
	if tree < 0 || isDir(tree) {
		return safepath.MkdirAllInRoot(root, path, 0o755)
	}
	return safepath.MkfileInRoot(root, path, 0o644)
}

// ordinaryTarget is for procfs and sysfs: no component may be a link, so that
// nobody can have them mounted elsewhere and leave a directory of his own in
// their place (security class V4).
func (s *Mount) ordinaryTarget(p *process) (int, error) {
	const flags = unix.O_PATH | unix.O_DIRECTORY
	fd, err := safepath.OpenInRootNoLinks(p.root, s.Dest, flags)
	if err == unix.ENOENT {
		made, merr := safepath.MkdirAllInRoot(p.root, s.Dest, 0o755)
		if merr != nil {
			return -1, merr
		}
		unix.Close(made)
		fd, err = safepath.OpenInRootNoLinks(p.root, s.Dest, flags)
	}
	if err == unix.ELOOP || err == unix.ENOTDIR {
		return -1, fail(s.FS+" must be mounted on an ordinary directory", err)
	}
	return fd, err
}

// unfollowedTarget opens the target itself even if it is a link.
func (s *Mount) unfollowedTarget(p *process, tree int) (int, error) {
	dir, name, err := safepath.ParentInRoot(p.root, s.Dest, 0o755)
	if err != nil {
		return -1, err
	}
	defer unix.Close(dir)
	fd, err := unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != unix.ENOENT {
		return fd, err
	}
	return makeTarget(dir, name, tree)
}

// onProc are the files of procfs over which something may be mounted: those
// that views of a container's own share of the machine replace (lxcfs).
var onProc = []string{
	"/proc/cpuinfo", "/proc/diskstats", "/proc/loadavg", "/proc/meminfo", "/proc/net/dev", "/proc/slabinfo",
	"/proc/stat", "/proc/swaps", "/proc/sys/crypto/fips_enabled", "/proc/sys/kernel/ns_last_pid", "/proc/uptime",
}

// MayCover reports whether a file system of type fs ("" for a bind) may be
// planned for path, which is absolute and clean. What is inside procfs may not
// be covered, and /proc itself only by procfs.
func MayCover(path, fs string) bool {
	if !guardProcFD || path != "/proc" && !strings.HasPrefix(path, "/proc/") {
		return true
	}
	if path == "/proc" {
		return fs == "proc" || fs == ""
	}
	return slices.Contains(onProc, path)
}

// procRootIno is the inode number of a procfs root directory.
const procRootIno = 1

// checkTarget keeps mounts off procfs: whoever can put something over its files
// decides what later steps and processes write to (security class V4).
func (s *Mount) checkTarget(target, tree int) error {
	if !guardProcFD {
		return nil
	}
	if s.Dest == "/proc" && s.FS == "" && !isProcRoot(tree) {
		return fail("only a procfs may be mounted there", unix.EPERM)
	}
	if s.FS == "proc" || !isFS(target, unix.PROC_SUPER_MAGIC) {
		return nil
	}
	if s.Dest == "/proc" && s.FS == "" || slices.Contains(onProc, s.Dest) {
		return nil
	}
	return fail("the target is inside procfs", unix.EPERM)
}

func isProcRoot(fd int) bool {
	var st unix.Stat_t
	return isFS(fd, unix.PROC_SUPER_MAGIC) && unix.Fstat(fd, &st) == nil && st.Ino == procRootIno
}

func isFS(fd int, magic int64) bool {
	var st unix.Statfs_t
	return fd >= 0 && unix.Fstatfs(fd, &st) == nil && st.Type == magic
}
