package snapshot

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/sys/thread"
	"berth/test/leak"

	"golang.org/x/sys/unix"
)

// pile makes n layers with one file each and prepares a box on top.
func pile(t *testing.T, o *Overlay, n int) []Mount {
	t.Helper()
	parent := ""
	for i := range n {
		name := fmt.Sprintf("c%d", i)
		f, err := o.PrepareLayer(t.Context(), "k")
		must(t, err)
		must(t, os.WriteFile(fmt.Sprintf("/proc/self/fd/%d/f%d", f.Fd(), i), []byte(name), 0o644))
		f.Close()
		must(t, o.CommitLayer(t.Context(), Layer{Name: name, Parent: parent, Key: "k"}))
		parent = name
	}
	mounts, err := o.Prepare(t.Context(), "box", parent)
	must(t, err)
	return mounts
}

func piled(t *testing.T, fd, n int) {
	t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/self/fd/%d/.", fd))
	must(t, err)
	if len(list) != n {
		t.Fatalf("%d files of %d", len(list), n)
	}
	data, err := os.ReadFile(fmt.Sprintf("/proc/self/fd/%d/f0", fd))
	if err != nil || string(data) != "c0" {
		t.Fatalf("the lowest file: %q, %v", data, err)
	}
	must(t, os.WriteFile(fmt.Sprintf("/proc/self/fd/%d/new", fd), nil, 0o644))
	must(t, os.Remove(fmt.Sprintf("/proc/self/fd/%d/new", fd)))
}

func needMounts(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: mounts")
	}
}

// TestOldKernel mounts as on kernels before 6.8, and by containerd's code.
func TestOldKernel(t *testing.T) {
	needMounts(t)
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 20))
	must(t, os.Mkdir(dir, 0o755))
	const n = 256
	mounts := pile(t, open(t, dir, LaterSync()), n)
	if size := len(strings.Join(mounts[0].Options, ",")); size < 2*4096 {
		t.Fatalf("the options have %d bytes only", size)
	}
	layers, opts, err := splitOptions(mounts[0].Options)
	must(t, err)
	fd, err := overlayAtOnce(layers, opts)
	must(t, err)
	piled(t, fd, n)
	unix.Close(fd)

	fd, err = MountTree(t.Context(), mounts)
	must(t, err)
	piled(t, fd, n)
	unix.Close(fd)
}

// TestLongPaths has a store whose paths are too long for fsconfig(2).
func TestLongPaths(t *testing.T) {
	needMounts(t)
	dir := filepath.Join(t.TempDir(), strings.Repeat("x", 200), strings.Repeat("y", 200))
	must(t, os.MkdirAll(dir, 0o755))
	mounts := pile(t, open(t, dir, LaterSync()), 40)
	fd, err := MountTree(t.Context(), mounts)
	must(t, err)
	defer unix.Close(fd)
	piled(t, fd, 40)
}

// TestMostLayers is overlay's own limit.
func TestMostLayers(t *testing.T) {
	needMounts(t)
	o := open(t, t.TempDir(), LaterSync())
	fd, err := MountTree(t.Context(), pile(t, o, maxLayers))
	must(t, err)
	piled(t, fd, maxLayers)
	unix.Close(fd)
	layer(t, o, "one more", fmt.Sprintf("c%d", maxLayers-1))
	if _, err := o.Prepare(t.Context(), "box2", "one more"); err == nil || strings.Contains(err.Error(), "\n") {
		t.Fatalf("prepare on %d layers: %v", maxLayers+1, err)
	}
	if got := names(t, o); slices.Contains(got, "box2") {
		t.Error("it was refused and is there")
	}
}

// TestNotInHost holds that a tree is in nobody's mount namespace until it is
// attached, and nowhere after its descriptor is closed.
func TestNotInHost(t *testing.T) {
	needMounts(t)
	o := open(t, t.TempDir(), LaterSync())
	mounts := pile(t, o, 3)
	var trees []int
	for _, make := range []func() (int, error){
		func() (int, error) { return MountTree(t.Context(), mounts) },
		func() (int, error) {
			layers, opts, err := splitOptions(mounts[0].Options)
			must(t, err)
			return overlayAtOnce(layers, opts)
		},
	} {
		fd, err := make()
		must(t, err)
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("the descriptor is inherited (%v)", err)
		}
		trees = append(trees, fd)
	}
	// Others mount what they like meanwhile; an overlay's line has the folders of its layers.
	for line := range strings.Lines(mountinfo(t)) {
		if strings.Contains(line, o.root) {
			t.Errorf("it is in the mount namespace: %s", line)
		}
	}
	for _, fd := range trees {
		unix.Close(fd)
	}
	must(t, o.Remove(t.Context(), "box"))
}

// TestOtherNamespace mounts in the namespace of a locked goroutine: it sees a
// store that the rest of the program does not.
func TestOtherNamespace(t *testing.T) {
	needMounts(t)
	dir := t.TempDir()
	done := make(chan error)
	go thread.Apart(func() {
		done <- func() error {
			if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
				return err
			}
			if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
				return err
			}
			if err := unix.Mount("none", dir, "tmpfs", 0, ""); err != nil {
				return err
			}
			mounts := pile(t, open(t, dir, LaterSync()), 3)
			layers, opts, err := splitOptions(mounts[0].Options)
			if err != nil {
				return err
			}
			for _, mk := range []func() (int, error){
				func() (int, error) { return overlayAtOnce(layers, opts) },
				func() (int, error) { return MountTree(t.Context(), mounts) },
			} {
				fd, err := mk()
				if err != nil {
					return err
				}
				piled(t, fd, 3)
				unix.Close(fd)
			}
			return nil
		}()
	})
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestNothingLeft goes through all verbs and looks for what they left behind.
func TestNothingLeft(t *testing.T) {
	needMounts(t)
	dir := t.TempDir()
	leak.Check(t, dir)
	o := open(t, filepath.Join(dir, "store"), LaterSync())
	fd, err := MountTree(t.Context(), pile(t, o, 3))
	must(t, err)
	unix.Close(fd)
	must(t, o.Sync(t.Context()))
	if _, err := o.Prepare(t.Context(), "box", ""); err == nil {
		t.Fatal("prepared twice")
	}
	if err := o.CommitLayer(t.Context(), Layer{Name: "c0", Key: "box"}); err == nil {
		t.Fatal("committed twice")
	}
	removeEverything(t, o)
	must(t, removeTree(dir, "store"))
}

func mountinfo(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	return string(data)
}
