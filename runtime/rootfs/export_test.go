package rootfs

import (
	"testing"

	"golang.org/x/sys/unix"

	"berth/sys/mount"
)

// OldKernel lets overlay mounts fail as before Linux 6.8, until the test ends.
func OldKernel(t testing.TB) {
	now := mountOverlay
	t.Cleanup(func() { mountOverlay = now })
	mountOverlay = func([]string, []mount.Param, uint64) (int, error) {
		return -1, &mount.Error{Type: "overlay", Op: "option lowerdir+=/", Err: unix.EINVAL}
	}
}
