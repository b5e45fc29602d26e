package rootfs

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/sys/mount"
	"berth/sys/safepath"
	"berth/sys/thread"
)

// TreeOf clones what another container has mounted on path, a folder of its root,
// for Options.Trees: pid is that one's first process. Nothing set-id, no
// device and no program works in it. Error: Conflict if there is no tmpfs.
func TreeOf(pid int, path string) (*os.File, error) {
	fd := -1
	var err error
	thread.Apart(func() { fd, err = treeOf(pid, path) })
	if err != nil {
		return nil, fmt.Errorf("clone %s of process %d: %w", path, pid, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// treeOf leaves the thread in the other's mount namespace, where alone its mounts
// can be cloned.
func treeOf(pid int, path string) (int, error) {
	ns, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(ns)
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return -1, err
	}
	if err := unix.Setns(ns, unix.CLONE_NEWNS); err != nil {
		return -1, fmt.Errorf("enter its mount namespace: %w", err)
	}
	root, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(root)
	at, err := safepath.OpenInRootNoLinks(root, path, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return -1, err
	}
	defer unix.Close(at)
	var st unix.Statfs_t
	if err := unix.Fstatfs(at, &st); err != nil {
		return -1, err
	}
	if st.Type != unix.TMPFS_MAGIC {
		return -1, fault.New(fault.Conflict, "it is no tmpfs")
	}
	tree, err := mount.Clone(at, false)
	if err != nil {
		return -1, err
	}
	err = mount.SetAttr(tree, mount.Attr{Set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC, Propagation: unix.MS_PRIVATE}, false)
	if err != nil {
		unix.Close(tree)
		return -1, err
	}
	return tree, nil
}
