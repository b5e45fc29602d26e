package mount_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"berth/sys/mount"
	"berth/sys/thread"
)

// TestOverlay: both ways give the same mount, and the old one leaves nothing
// where it was made.
func TestOverlay(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: mounts")
	}
	store := t.TempDir()
	for _, d := range []string{"a", "b", "up", "work"} {
		if err := os.Mkdir(filepath.Join(store, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"a/f": "below", "b/f": "above", "a/g": "only"} {
		if err := os.WriteFile(filepath.Join(store, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	lower := []string{store + "/b", store + "/a"}
	params := []mount.Param{{Key: "upperdir", Value: store + "/up"}, {Key: "workdir", Value: store + "/work"}, {Key: "index", Value: "off"}}
	for name, f := range map[string]func() (int, error){
		"now": func() (int, error) { return mount.Overlay(lower, params, unix.MOUNT_ATTR_NODEV) },
		"old": func() (int, error) {
			if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
				return -1, err
			}
			if err := mount.SetPropagation("/", unix.MS_PRIVATE); err != nil {
				return -1, err
			}
			fd, err := mount.OldOverlay(store, lower, params, unix.MOUNT_ATTR_NODEV)
			if _, e := os.Stat(store + "/a/f"); e != nil {
				err = errors.Join(err, e) // the mount is still there
			}
			return fd, err
		},
	} {
		t.Run(name, func(t *testing.T) {
			fd := -1
			var err error
			thread.Apart(func() { fd, err = f() })
			if name == "now" && mount.NeedsOldOverlay(err) {
				t.Skip("this kernel is one before 6.8, without lowerdir+")
			}
			if err != nil {
				t.Fatal(err)
			}
			dir := os.NewFile(uintptr(fd), "overlay")
			defer dir.Close()
			for file, want := range map[string]string{"f": "above", "g": "only"} {
				got, err := os.ReadFile("/proc/self/fd/" + strconv.Itoa(fd) + "/" + file)
				if err != nil || string(got) != want {
					t.Errorf("%s: %q, %v, want %q", file, got, err, want)
				}
			}
			var st unix.Statfs_t
			if err := unix.Fstatfs(fd, &st); err != nil || st.Type != unix.OVERLAYFS_SUPER_MAGIC || st.Flags&unix.ST_NODEV == 0 {
				t.Errorf("type %#x, flags %#x, %v", st.Type, st.Flags, err)
			}
		})
	}
	_, err := mount.Overlay([]string{store + "/none", store + "/a"}, nil, 0)
	if !errors.Is(err, unix.ENOENT) && !mount.NeedsOldOverlay(err) { // the latter before 6.8
		t.Errorf("a missing layer: %v", err)
	}
	long := make([]string, 500)
	for i := range long {
		long[i] = store + "/a-long-name"
	}
	thread.Apart(func() {
		if err = unix.Unshare(unix.CLONE_FS); err == nil {
			_, err = mount.OldOverlay(store, long, params, 0)
		}
	})
	if !errors.Is(err, unix.E2BIG) {
		t.Errorf("too many layers: %v", err)
	}
}

// TestVolatileAgain: what was mounted with "volatile" is mounted once more, as a
// container is that starts again.
func TestVolatileAgain(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: mounts")
	}
	store := t.TempDir()
	for _, d := range []string{"a", "up", "work"} {
		if err := os.Mkdir(filepath.Join(store, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	params := []mount.Param{{Key: "upperdir", Value: store + "/up"}, {Key: "workdir", Value: store + "/work"}, {Key: "volatile", Flag: true}}
	for range 2 {
		fd, err := mount.Overlay([]string{store + "/a"}, params, 0)
		if mount.NeedsOldOverlay(err) {
			t.Skip("this kernel is one before 6.8, without lowerdir+")
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("/proc/self/fd/"+strconv.Itoa(fd)+"/f", nil, 0o644); err != nil {
			t.Error(err)
		}
		unix.Close(fd)
	}
}
