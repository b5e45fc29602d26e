package files

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/sys/mount"
	"berth/sys/proc"
	"berth/sys/safepath"
	"berth/sys/thread"
)

// quiet is what no mount of a visit lets happen.
const quiet = unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC

// namespaces makes the mount namespace of a visit, and opens the user namespace
// of those inside, nil if it is the host's.
func (p *Place) namespaces() (mounts, users *os.File, err error) {
	make := func() error { return p.Layers.mount(p.ReadOnly) }
	if p.Layers == nil {
		ns, err := openNamespaces(p)
		if err != nil {
			return nil, nil, err
		}
		defer ns[0].Close()
		users = ns[1]
		make = func() error { return copyMounts(int(ns[0].Fd()), p.ReadOnly) }
	}
	thread.Apart(func() {
		// What is inside may hide procfs, or show another.
		var self int
		if self, err = unix.Open("/proc/thread-self", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
			return
		}
		defer unix.Close(self)
		if err = unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
			err = fmt.Errorf("make a mount namespace: %w", err)
			return
		}
		if err = make(); err != nil {
			return
		}
		var fd int
		if fd, err = unix.Openat(self, "ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
			mounts = os.NewFile(uintptr(fd), "mount namespace")
		}
	})
	if err != nil && users != nil {
		users.Close()
	}
	return mounts, users, err
}

// openNamespaces opens those of a process: its mounts, and its users unless they
// are the host's.
func openNamespaces(p *Place) (ns [2]*os.File, err error) {
	defer func() {
		if err != nil {
			for _, f := range ns {
				f.Close()
			}
		}
	}()
	for i, kind := range []string{"mnt", "user"} {
		if ns[i], err = os.Open("/proc/" + strconv.Itoa(p.PID) + "/ns/" + kind); err != nil {
			return ns, ended(p, err)
		}
	}
	// Opened first: a process that is still the same one had them.
	st, err := proc.ReadStat(p.PID)
	if err != nil || st.Dead() || st.StartTime != p.StartTime {
		return ns, ended(p, unix.ESRCH)
	}
	var own, theirs unix.Stat_t
	if err := errors.Join(unix.Stat("/proc/self/ns/user", &own), unix.Fstat(int(ns[1].Fd()), &theirs)); err != nil {
		return ns, err
	}
	if own.Ino == theirs.Ino {
		ns[1].Close()
		ns[1] = nil
	}
	return ns, nil
}

func ended(p *Place, err error) error {
	return fault.New(fault.Conflict, "open the namespaces of process %d, which has ended: %w", p.PID, err)
}

// copyMounts makes this thread's mounts a copy of those in ns, for our eyes only.
func copyMounts(ns int, readOnly bool) error {
	if err := enter(ns); err != nil {
		return fmt.Errorf("enter the mount namespace: %w", err)
	}
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("copy the mount namespace: %w", err)
	}
	if err := mount.SetPropagation("/", unix.MS_PRIVATE); err != nil {
		return fmt.Errorf("make the mounts private: %w", err)
	}
	if err := hideKernel(); err != nil {
		return err
	}
	return calm(readOnly)
}

// hideKernel covers the kernel's own files, which are nobody's to copy, with an
// empty folder: mounts of another user namespace cannot be taken away.
func hideKernel() error {
	var root unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, "/", 0, unix.STATX_MNT_ID, &root); err != nil {
		return err
	}
	for _, path := range []string{"/proc", "/sys", "/dev"} {
		at, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			continue // it has none
		}
		var st unix.Statx_t
		err = unix.Statx(at, "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &st)
		if err == nil && st.Mnt_id != root.Mnt_id {
			err = cover(at)
		}
		unix.Close(at)
		if err != nil {
			return fmt.Errorf("hide %s: %w", path, err)
		}
	}
	return nil
}

func cover(at int) error {
	fd, err := mount.New("tmpfs", "berth", []mount.Param{{Key: "size", Value: "4k"}, {Key: "mode", Value: "0555"}}, quiet|unix.MOUNT_ATTR_RDONLY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return mount.Attach(fd, at)
}

// calm takes from all mounts what a visit does not need.
func calm(readOnly bool) error {
	root, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(root)
	attr := mount.Attr{Set: quiet}
	if readOnly {
		attr.Set |= unix.MOUNT_ATTR_RDONLY
	}
	if err := mount.SetAttr(root, attr, true); err != nil {
		return fmt.Errorf("limit the mounts: %w", err)
	}
	return nil
}

// mount makes the tree the root of this thread's own mount namespace.
func (l *Layers) mount(readOnly bool) error {
	if err := mount.SetPropagation("/", unix.MS_PRIVATE); err != nil {
		return fmt.Errorf("make the mounts private: %w", err)
	}
	sources, err := l.sources()
	defer func() {
		for _, fd := range sources {
			unix.Close(fd)
		}
	}()
	if err != nil {
		return err
	}
	tree, err := l.overlay(readOnly)
	if err != nil {
		return err
	}
	defer unix.Close(tree)
	if err := mount.BecomeRoot(tree); err != nil {
		return err
	}
	order := make([]int, len(l.Mounts))
	for i := range order {
		order[i] = i
	}
	depth := func(i int) int { return strings.Count(strings.Trim(l.Mounts[i].Target, "/"), "/") }
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(depth(a), depth(b)) })
	for _, i := range order {
		if err := attach(tree, sources[i], &l.Mounts[i]); err != nil {
			return fmt.Errorf("mount %s on %s: %w", l.Mounts[i].Source, l.Mounts[i].Target, err)
		}
	}
	if l.ReadOnlyRoot {
		if err := mount.SetAttr(tree, mount.Attr{Set: unix.MOUNT_ATTR_RDONLY}, false); err != nil {
			return fmt.Errorf("make the root read-only: %w", err)
		}
	}
	return calm(readOnly)
}

// sources clones what is to be mounted while the host's files are in sight.
func (l *Layers) sources() (fds []int, err error) {
	for i := range l.Mounts {
		m := &l.Mounts[i]
		fd, err := m.clone()
		if err != nil {
			return fds, fmt.Errorf("clone %s: %w", path.Join(m.Source, m.Subpath), err)
		}
		fds = append(fds, fd)
		if m.ReadOnly {
			if err := mount.SetAttr(fd, mount.Attr{Set: unix.MOUNT_ATTR_RDONLY}, true); err != nil {
				return fds, fmt.Errorf("make %s read-only: %w", m.Source, err)
			}
		}
	}
	return fds, nil
}

func (m *Mount) clone() (int, error) {
	if m.Subpath == "" {
		return mount.ClonePath(m.Source, m.Recursive)
	}
	whole, err := unix.Open(m.Source, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(whole)
	part, err := safepath.OpenBeneath(whole, m.Subpath, unix.O_PATH)
	if err != nil {
		return -1, err
	}
	defer unix.Close(part)
	return mount.Clone(part, m.Recursive)
}

// scratch is a folder that every host has; it is covered in our namespace alone.
const scratch = "/sys"

// overlay mounts the layers, detached. To read them, the upper folder is one layer
// more below an empty tmpfs, so that what uses it is not disturbed.
func (l *Layers) overlay(readOnly bool) (int, error) {
	lower, upper, work := l.Lower, l.Upper, l.Work
	if len(lower) == 0 { // nothing is below
		return mount.ClonePath(upper, false)
	}
	if readOnly || upper == "" {
		if upper != "" {
			lower = append([]string{upper}, lower...)
		}
		if err := tmpfs(scratch, lower[0]); err != nil {
			return -1, err
		}
		upper, work = scratch+"/upper", scratch+"/work"
	}
	opts, err := mount.Parse(l.Options)
	if err != nil {
		return -1, fault.New(fault.Invalid, "options of overlay: %v", err)
	}
	params := append(append(opts.Data, opts.Flags...), mount.Param{Key: "upperdir", Value: upper}, mount.Param{Key: "workdir", Value: work})
	fd, err := mount.Overlay(lower, params, opts.Attr.Set)
	if mount.NeedsOldOverlay(err) {
		fd, err = mount.OldOverlay(l.Store, lower, params, opts.Attr.Set)
	}
	if err != nil {
		return -1, fmt.Errorf("mount %d layers: %w", len(lower), err)
	}
	return fd, nil
}

// tmpfs mounts an empty one, with the folders that overlay wants: the upper one
// looks like the topmost layer, whose place as the root it takes.
func tmpfs(path, top string) error {
	fd, err := mount.New("tmpfs", "berth", []mount.Param{{Key: "size", Value: "1m"}, {Key: "mode", Value: "0755"}}, quiet)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Lstat(top, &st); err != nil {
		return fmt.Errorf("look at layer %s: %w", top, err)
	}
	for _, name := range []string{"upper", "work"} {
		if err := unix.Mkdirat(fd, name, 0o755); err != nil {
			return err
		}
	}
	if err := unix.Fchownat(fd, "upper", int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if err := unix.Fchmodat(fd, "upper", st.Mode&0o7777, 0); err != nil {
		return err
	}
	if err := unix.UtimesNanoAt(fd, "upper", []unix.Timespec{st.Atim, st.Mtim}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	at, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(at)
	return mount.Attach(fd, at)
}

// attach mounts a source at a target that is looked up inside the root.
func attach(root, source int, m *Mount) error {
	var st unix.Stat_t
	if err := unix.Fstat(source, &st); err != nil {
		return err
	}
	find := func() (int, error) { return safepath.MkfileInRoot(root, m.Target, 0o644) }
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		find = func() (int, error) { return safepath.MkdirAllInRoot(root, m.Target, 0o755) }
	}
	at, err := find()
	if err != nil {
		return err
	}
	defer unix.Close(at)
	return mount.Attach(source, at)
}
