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
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/runtime/idmap"
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
	mounts, users, err := openPair(procPID)
	if err != nil {
		return nil, err
	}
	in := &Interior{root: root, mounts: mounts, host: &plan.Host{PID: pid, Userns: users}}
	if users != nil {
		if in.maps, err = idmap.Read(pid); err != nil {
			return nil, errors.Join(err, in.Close())
		}
	}
	return in, nil
}

// Close ends the look; the root is closed, too.
func (in *Interior) Close() error {
	err := errors.Join(in.root.Close(), in.mounts.Close())
	if in.host.Userns != nil {
		err = errors.Join(err, in.host.Userns.Close())
	}
	return err
}

// Mount puts a bind or a tmpfs on its destination; one that is missing is made, as
// the container's root would.
func (in *Interior) Mount(m *specs.Mount) error {
	tree, err := rootfs.Live(m, in.host)
	if err == nil {
		defer tree.Close()
		err = in.there(func() error {
			target, err := in.target(m.Destination, isDir(tree))
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
	if err != nil {
		return fmt.Errorf("mount on %s: %w", m.Destination, err)
	}
	return nil
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
	err := in.there(func() error { return in.mknod(d) })
	if errors.Is(err, unix.EPERM) {
		// As a start does it that may make no nodes.
		var st unix.Stat_t
		if unix.Stat(d.Path, &st) == nil && st.Rdev == unix.Mkdev(uint32(d.Major), uint32(d.Minor)) {
			return in.Mount(&specs.Mount{Destination: d.Path, Source: d.Path, Type: "bind", Options: []string{"bind", "rprivate"}})
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

// openPair opens a process's mount namespace, and its user namespace unless it is
// the caller's.
func openPair(procPID *os.File) (mounts, users *os.File, err error) {
	open := func(name string) (*os.File, error) {
		fd, err := unix.Openat(int(procPID.Fd()), "ns/"+name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("open the %s namespace of the container: %w", name, err)
		}
		return os.NewFile(uintptr(fd), name), nil
	}
	if mounts, err = open("mnt"); err != nil {
		return nil, nil, err
	}
	if users, err = open("user"); err != nil {
		mounts.Close()
		return nil, nil, err
	}
	var own, theirs unix.Stat_t
	if unix.Stat("/proc/self/ns/user", &own) == nil && unix.Fstat(int(users.Fd()), &theirs) == nil && own.Ino == theirs.Ino {
		users.Close()
		users = nil
	}
	return mounts, users, nil
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
func (in *Interior) mknod(d *specs.LinuxDevice) error {
	kind := map[string]uint32{"c": unix.S_IFCHR, "b": unix.S_IFBLK}[d.Type]
	if kind == 0 {
		return fault.New(fault.Invalid, "type %s is no device's", strconv.Quote(d.Type))
	}
	uid, gid, err := in.ids(idOr0(d.UID), idOr0(d.GID))
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
	name, mode := path.Base(d.Path), uint32(0o666)
	if d.FileMode != nil {
		mode = uint32(*d.FileMode) & 0o777
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(up, &fs); err != nil {
		return err
	}
	if fs.Type != unix.TMPFS_MAGIC { // elsewhere nobody inside could open it
		return unix.EPERM
	}
	if err := unix.Mknodat(up, name, kind|mode, int(unix.Mkdev(uint32(d.Major), uint32(d.Minor)))); err != nil {
		return err
	}
	if err := unix.Fchownat(up, name, uid, gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		_ = unix.Unlinkat(up, name, 0)
		return err
	}
	return nil
}

func idOr0(id *uint32) uint32 {
	if id == nil {
		return 0
	}
	return *id
}
