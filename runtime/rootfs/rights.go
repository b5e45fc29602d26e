package rootfs

import (
	"bytes"
	"os"

	"golang.org/x/sys/unix"
)

// OwnRights finds out what the caller may do.
func OwnRights() Rights {
	// Only the initial user namespace maps every id to itself.
	text, err := os.ReadFile("/proc/self/uid_map")
	r := Rights{Confined: err == nil && !bytes.Equal(bytes.Join(bytes.Fields(text), []byte(" ")), []byte("0 0 4294967295"))}
	// The rights are checked before the empty path is refused: open_tree(2).
	_, err = unix.OpenTree(unix.AT_FDCWD, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
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
