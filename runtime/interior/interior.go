// Package interior changes what a container that runs sees: it mounts, unmounts,
// makes and removes device nodes on a thread in the container's mount namespace,
// where paths are looked up as if its root were "/" (openat2(2)). What is mounted is
// made before, outside. Nothing runs inside and no link leads out.
//
// It knows neither records nor limits, and keeps nothing. Row 2, inside room runtime.
package interior

import (
	"errors"
	"fmt"
	"os"
	"path"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/runtime/idmap"
	"berth/runtime/initproc"
	"berth/runtime/namespace"
	"berth/runtime/plan"
	"berth/runtime/rootfs"
	"berth/sys/mount"
	"berth/sys/safepath"
	"berth/sys/thread"
)

// Interior is a running container, opened.
type Interior struct {
	root   *os.File   // its root directory
	mounts *os.File   // its mount namespace
	host   *plan.Host // its first process; Userns is nil if it is the caller's
	maps   *idmap.Maps
}

// Open opens a container by its first process's folder in procfs, and its root.
func Open(procPID, root *os.File, pid int) (*Interior, error) {
	files, flags, err := namespace.Foreign(procPID)
	if err != nil {
		return nil, err
	}
	in := &Interior{root: root, host: &plan.Host{PID: pid}}
	for i, f := range files {
		switch flags[i] {
		case unix.CLONE_NEWNS:
			in.mounts = f
		case unix.CLONE_NEWUSER:
			in.host.Userns = f
		default:
			f.Close()
		}
	}
	if in.mounts == nil {
		err = fault.New(fault.Conflict, "the container has the caller's mounts")
	} else if in.host.Userns != nil {
		in.maps, err = idmap.Read(pid)
	}
	if err != nil {
		return nil, errors.Join(err, in.close())
	}
	return in, nil
}

// Close ends the look; the root is closed, too.
func (in *Interior) Close() error { return errors.Join(in.root.Close(), in.close()) }

func (in *Interior) close() (err error) {
	for _, f := range []*os.File{in.mounts, in.host.Userns} {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	return err
}

// Mount puts a bind or a tmpfs on its destination; one that is missing is made, as
// the container's root would.
func (in *Interior) Mount(m *specs.Mount) error {
	tree, err := rootfs.Live(m, in.host)
	if err == nil {
		defer tree.Close()
		err = in.attach(tree, m.Destination)
	}
	if err != nil {
		return fmt.Errorf("mount on %s: %w", m.Destination, err)
	}
	return nil
}

// attach mounts a tree on a path.
func (in *Interior) attach(tree *os.File, path string) error {
	return in.there(func() error {
		target, err := in.target(path, isDir(tree))
		if err != nil {
			return err
		}
		defer unix.Close(target)
		if err := offProc(target); err != nil {
			return err
		}
		return mount.Attach(int(tree.Fd()), target)
	})
}

// Unmount takes away what is mounted on a path, with all below. What still uses it
// keeps it: umount2(2), MNT_DETACH. Error: kind NotFound where nothing is mounted.
func (in *Interior) Unmount(target string) error {
	if err := in.there(func() error { return in.unmount(target) }); err != nil {
		return fmt.Errorf("unmount %s: %w", target, err)
	}
	return nil
}

// AddDevice makes the node of a device of the host; who may open it is a limit.
func (in *Interior) AddDevice(d *specs.LinuxDevice) error {
	node, err := rootfs.LiveDevice(d)
	if err == nil {
		err = in.there(func() error { return in.mknod(&node.Device) })
	}
	if errors.Is(err, unix.EPERM) {
		// As a start does it that may make no nodes.
		if tree, opened := node.Tree(); opened == nil {
			defer tree.Close()
			err = in.attach(tree, node.Path)
		}
	}
	if err != nil {
		return fmt.Errorf("make device %s: %w", d.Path, err)
	}
	return nil
}

// RemoveDevice takes a device's node away.
func (in *Interior) RemoveDevice(path string) error {
	err := in.there(func() error {
		err := in.unmount(path)
		if !fault.Is(err, fault.NotFound) {
			return err
		}
		dir, name, err := in.parent(path)
		if err != nil {
			return err
		}
		defer unix.Close(dir)
		var st unix.Stat_t
		err = unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW)
		if kind := st.Mode & unix.S_IFMT; err != nil || kind != unix.S_IFCHR && kind != unix.S_IFBLK {
			return nil // somebody inside took it away
		}
		return unix.Unlinkat(dir, name, 0)
	})
	if err != nil {
		return fmt.Errorf("remove device %s: %w", path, err)
	}
	return nil
}

// there runs f on a thread of its own in the container's mount namespace, with all
// rights of the caller.
func (in *Interior) there(f func() error) (err error) {
	thread.Apart(func() {
		if err = unix.Unshare(unix.CLONE_FS); err == nil {
			err = unix.Setns(int(in.mounts.Fd()), unix.CLONE_NEWNS)
		}
		if err != nil {
			err = fmt.Errorf("enter the mount namespace: %w", err)
			return
		}
		unix.Umask(0) // this thread's own since unshare(2)
		err = f()
	})
	return err
}

func isDir(f *os.File) bool {
	var st unix.Stat_t
	return unix.Fstat(int(f.Fd()), &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR
}

// offProc keeps mounts off procfs (security class V4).
func offProc(target int) error {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(target, &fs); err != nil {
		return err
	}
	if fs.Type == unix.PROC_SUPER_MAGIC {
		return fault.New(fault.Invalid, "it is on procfs, which may not be covered")
	}
	return nil
}

// target opens a path as those inside see it, or makes it.
func (in *Interior) target(path string, dir bool) (int, error) {
	fd, err := safepath.OpenInRoot(int(in.root.Fd()), path, unix.O_PATH)
	if err != unix.ENOENT {
		return fd, err
	}
	err = in.asRoot(func() error {
		if dir {
			fd, err = safepath.MkdirAllInRoot(int(in.root.Fd()), path, 0o755)
		} else {
			fd, err = safepath.MkfileInRoot(int(in.root.Fd()), path, 0o644)
		}
		return err
	})
	return fd, err
}

// asRoot runs f with the file system ids of the container's root, so that what it
// makes is that one's: setfsuid(2), of this thread alone.
func (in *Interior) asRoot(f func() error) error {
	uid, gid, err := in.ids(0, 0)
	if err != nil {
		return err
	}
	if gid != 0 {
		if err := unix.Setfsgid(gid); err != nil {
			return err
		}
		defer unix.Setfsgid(0)
	}
	if uid != 0 {
		if err := unix.Setfsuid(uid); err != nil {
			return err
		}
		defer unix.Setfsuid(0)
	}
	return f()
}

// ids translates ids of the container.
func (in *Interior) ids(uid, gid uint32) (int, int, error) {
	if in.maps == nil {
		return int(uid), int(gid), nil
	}
	u, okU := idmap.Host(in.maps.UID, uid)
	g, okG := idmap.Host(in.maps.GID, gid)
	if !okU || !okG {
		return 0, 0, fmt.Errorf("%d:%d is not mapped in the container's user namespace", uid, gid)
	}
	return int(u), int(g), nil
}

// parent opens the folder that a path is in.
func (in *Interior) parent(name string) (dir int, base string, err error) {
	name = path.Clean("/" + name)
	dir, err = safepath.OpenInRoot(int(in.root.Fd()), path.Dir(name), unix.O_PATH|unix.O_DIRECTORY)
	return dir, path.Base(name), err
}

func (in *Interior) unmount(target string) error {
	dir, name, err := in.parent(target)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	var st unix.Statx_t
	err = unix.Statx(dir, name, unix.AT_SYMLINK_NOFOLLOW, 0, &st)
	if err == unix.ENOENT || err == nil && st.Attributes&unix.STATX_ATTR_MOUNT_ROOT == 0 {
		return fault.New(fault.NotFound, "nothing is mounted there")
	}
	if err == nil {
		err = unix.Fchdir(dir)
	}
	if err == nil {
		err = unix.Unmount(name, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	}
	return err
}

// mknod makes a node in the container's /dev, which a start made for it, with the
// host's owner as the container has it, else its root.
func (in *Interior) mknod(d *initproc.Device) error {
	uid, gid, err := in.ids(d.UID, d.GID)
	if err != nil {
		if uid, gid, err = in.ids(0, 0); err != nil {
			return err
		}
	}
	up, err := in.target(path.Dir(d.Path), true)
	if err != nil {
		return err
	}
	defer unix.Close(up)
	var fs unix.Statfs_t
	if err := unix.Fstatfs(up, &fs); err != nil {
		return err
	}
	if fs.Type != unix.TMPFS_MAGIC { // elsewhere nobody inside could open it
		return unix.EPERM
	}
	name := path.Base(d.Path)
	if err := unix.Mknodat(up, name, d.Mode, int(unix.Mkdev(d.Major, d.Minor))); err != nil {
		return err
	}
	if err := unix.Fchownat(up, name, uid, gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		_ = unix.Unlinkat(up, name, 0)
		return err
	}
	return nil
}
