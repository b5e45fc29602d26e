package mount

import (
	"golang.org/x/sys/unix"

	"berth/sys/safepath"
	"berth/sys/thread"
)

// Sub makes a detached mount of a path inside a detached tree: a link that leads
// out of the tree is refused (EXDEV). The tree may be attached nowhere after.
func Sub(tree int, path string) (int, error) {
	at, err := safepath.OpenBeneath(tree, path, unix.O_PATH)
	if err != nil {
		return -1, err
	}
	defer unix.Close(at)
	fd, err := Clone(at, false)
	if err == unix.EINVAL { // before Linux 6.15 what is attached nowhere cannot be cloned
		fd, err = subApart(tree, at)
	}
	return fd, err
}

// subApart attaches the tree in a mount namespace that ends with the call.
func subApart(tree, at int) (fd int, err error) {
	ns, err := unix.Open("/proc/thread-self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(ns)
	fd = -1
	thread.Apart(func() {
		if err = leaveTo(ns); err != nil {
			return
		}
		var root int
		if root, err = unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
			return
		}
		defer unix.Close(root)
		if err = Attach(tree, root); err == nil {
			fd, err = Clone(at, false)
		}
	})
	return fd, err
}
