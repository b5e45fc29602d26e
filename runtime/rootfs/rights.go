package rootfs

import (
	"golang.org/x/sys/unix"

	"berth/sys/proc"
)

// OwnRights finds out what the caller may do.
func OwnRights() Rights {
	var r Rights
	r.Confined, _ = proc.InUserNamespace()
	// The rights are checked before the empty path is refused: open_tree(2).
	_, err := unix.OpenTree(unix.AT_FDCWD, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	r.Mount = err == unix.ENOENT
	if !r.Mount {
		return r
	}
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&hdr, &data[0]) != nil || data[0].Effective&(1<<unix.CAP_MKNOD) == 0 {
		return r
	}
	r.Mknod = !r.Confined // nodes need CAP_MKNOD of the initial one, mknod(2)
	return r
}
