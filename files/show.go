package files

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/base/undo"
	"berth/sys/mount"
)

// Show mounts layers read-only on path in the caller's mount namespace, which is
// made; what else uses them is not disturbed. What is mounted in them is not shown.
func Show(l *Layers, path string) (err error) {
	var u undo.Stack
	defer u.Unwind(&err)
	tree, err := l.detached()
	if err != nil {
		return err
	}
	defer unix.Close(tree)
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	u.Push("remove "+path, func() error { return os.Remove(path) })
	at, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(at)
	if err := mount.Attach(tree, at); err != nil {
		return fmt.Errorf("mount on %s: %w", path, err)
	}
	return nil
}

// detached is a mount of the layers that nobody can write to.
func (l *Layers) detached() (int, error) {
	const attr = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOSUID
	if len(l.Lower) == 0 {
		fd, err := mount.ClonePath(l.Upper, false)
		if err != nil {
			return -1, err
		}
		if err := mount.SetAttr(fd, mount.Attr{Set: attr, Propagation: unix.MS_PRIVATE}, false); err != nil {
			unix.Close(fd)
			return -1, err
		}
		return fd, nil
	}
	opts, err := mount.Parse(l.Options)
	if err != nil {
		return -1, fault.New(fault.Invalid, "options of overlay: %v", err)
	}
	lower, params := append([]string{l.Upper}, l.Lower...), append(opts.Data, opts.Flags...)
	fd, err := mount.Overlay(lower, params, attr)
	if mount.NeedsOldOverlay(err) {
		fd, err = mount.OldOverlayApart(l.Store, lower, params, attr)
	}
	if err != nil {
		return -1, fmt.Errorf("mount %d layers: %w", len(lower), err)
	}
	return fd, nil
}

// Shown reports whether something is mounted on path.
func Shown(path string) bool {
	var self, above unix.Statx_t
	flags := unix.AT_SYMLINK_NOFOLLOW
	if unix.Statx(unix.AT_FDCWD, path, flags, unix.STATX_MNT_ID, &self) != nil || unix.Statx(unix.AT_FDCWD, filepath.Dir(path), flags, unix.STATX_MNT_ID, &above) != nil {
		return false
	}
	return self.Mnt_id != above.Mnt_id
}

// Hide takes back what Show did. Kind Busy if it is in use, unless forced.
func Hide(path string, force bool) error {
	flags := unix.UMOUNT_NOFOLLOW
	if force {
		flags |= unix.MNT_DETACH
	}
	if Shown(path) {
		if err := unix.Unmount(path, flags); err != nil {
			return fmt.Errorf("unmount %s: %w", path, err)
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
