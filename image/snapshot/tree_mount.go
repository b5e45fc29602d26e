package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"berth/base/fault"
	sysmount "berth/sys/mount"

	"github.com/containerd/containerd/v2/core/mount"
	"golang.org/x/sys/unix"
)

// MountTree makes the mount that a snapshot's Mounts describe, detached: in no
// mount namespace, and gone when the descriptor is closed unless it was
// attached (move_mount(2)). Paths are looked up in the calling thread's mount
// namespace. The descriptor is close-on-exec and the caller's.
func MountTree(ctx context.Context, mounts []mount.Mount) (fd int, err error) {
	if len(mounts) != 1 || mounts[0].Target != "" {
		return -1, refuse(fault.Unsupported, "mount a snapshot: %d mounts instead of one", len(mounts))
	}
	if err := ctx.Err(); err != nil {
		return -1, fmt.Errorf("mount a snapshot: %w", err)
	}
	m := mounts[0]
	layers, opts, err := splitOptions(m.Options)
	if err == nil {
		switch m.Type {
		case "bind":
			fd, err = bindTree(m.Source, opts)
		case "overlay":
			fd, err = overlayTree(m.Source, layers, opts)
		default:
			err = refuse(fault.Unsupported, "no such type")
		}
	}
	if err != nil {
		return -1, fmt.Errorf("mount a snapshot (%s): %w", m.Type, err)
	}
	return fd, nil
}

// splitOptions takes the layers, topmost first, out of the options.
func splitOptions(options []string) ([]string, *sysmount.Options, error) {
	var layers, rest []string
	for _, o := range options {
		if list, ok := strings.CutPrefix(o, "lowerdir="); ok {
			layers = strings.Split(list, ":")
		} else {
			rest = append(rest, o)
		}
	}
	opts, err := sysmount.Parse(rest)
	return layers, opts, err
}

func bindTree(source string, opts *sysmount.Options) (int, error) {
	fd, err := sysmount.ClonePath(source, opts.Rec)
	if err != nil {
		return -1, fmt.Errorf("clone %s: %w", source, err)
	}
	if !opts.Attr.Empty() {
		if err := sysmount.SetAttr(fd, opts.Attr, opts.Rec); err != nil {
			unix.Close(fd)
			return -1, fmt.Errorf("set attributes of %s: %w", source, err)
		}
	}
	return fd, nil
}

// overlayTree gives the layers to the kernel one by one (Linux 6.8: lowerdir+),
// so their number is not bounded by a page. Older kernels get them by mount(2).
func overlayTree(source string, layers []string, opts *sysmount.Options) (int, error) {
	fd, err := overlayByOne(source, layers, opts)
	var fail *sysmount.Error
	if errors.As(err, &fail) && strings.HasPrefix(fail.Op, "option lowerdir+") && fail.Err == unix.EINVAL {
		return overlayAtOnce(source, layers, opts)
	}
	return fd, err
}

// longParam is what fsconfig(2) takes of a string.
const longParam = 255

func overlayByOne(source string, layers []string, opts *sysmount.Options) (int, error) {
	var params []sysmount.Param
	for _, l := range layers {
		params = append(params, sysmount.Param{Key: "lowerdir+", Value: l})
	}
	params = append(append(params, opts.Data...), opts.Flags...)
	var open []*os.File
	defer func() {
		for _, f := range open {
			f.Close()
		}
	}()
	for i := range params {
		if len(params[i].Value) <= longParam {
			continue
		}
		f, err := os.OpenFile(params[i].Value, unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			return -1, err
		}
		open = append(open, f)
		params[i].Value = "/proc/" + sysmount.FDPath(int(f.Fd()))
	}
	return sysmount.New("overlay", source, params, opts.Attr.Set)
}

// overlayAtOnce does it by mount(2) in a mount namespace that only one thread
// sees, with paths relative to the layers' common folder.
func overlayAtOnce(source string, layers []string, opts *sysmount.Options) (int, error) {
	if len(layers) == 0 {
		return -1, unix.EINVAL
	}
	ns, err := os.Open("/proc/thread-self/ns/mnt")
	if err != nil {
		return -1, err
	}
	defer ns.Close()
	fd := -1
	apart(func() { fd, err = overlayApart(int(ns.Fd()), source, layers, opts) })
	return fd, err
}

// apart runs f on a thread of its own, which ends with f. That is not the main
// thread, which never ends: /proc/self would show what f did to it.
func apart(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			apart(f) // on another thread, as we keep this one
			runtime.UnlockOSThread()
			return
		}
		f()
	}()
	<-done
}

func overlayApart(ns int, source string, layers []string, opts *sysmount.Options) (int, error) {
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return -1, fmt.Errorf("unshare the working folder: %w", err)
	}
	if err := enter(ns); err != nil {
		return -1, fmt.Errorf("enter the caller's mount namespace: %w", err)
	}
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return -1, fmt.Errorf("make a mount namespace: %w", err)
	}
	if err := sysmount.SetPropagation("/", unix.MS_PRIVATE); err != nil {
		return -1, fmt.Errorf("make its mounts private: %w", err)
	}
	common := filepath.Dir(filepath.Dir(layers[0])) // of …/d/ID/fs
	if err := unix.Chdir(common); err != nil {
		return -1, fmt.Errorf("change to %s: %w", common, err)
	}
	near := func(path string) string { return strings.TrimPrefix(path, common+"/") }
	short := make([]string, len(layers))
	for i, l := range layers {
		short[i] = near(l)
	}
	params := append([]sysmount.Param(nil), opts.Data...)
	for i := range params {
		params[i].Value = near(params[i].Value)
	}
	params = append(params, sysmount.Param{Key: "lowerdir", Value: strings.Join(short, ":")})
	data := sysmount.Data(params)
	if len(data) >= os.Getpagesize() {
		return -1, refuse(fault.Unsupported, "%d layers are too many for a kernel before 6.8", len(layers))
	}
	if err := unix.Mount(source, common, "overlay", uintptr(sysmount.OldFlags(opts.Attr.Set)), data); err != nil {
		return -1, fmt.Errorf("mount %d layers: %w", len(layers), err)
	}
	fd, err := sysmount.ClonePath(common, false)
	if err != nil {
		return -1, fmt.Errorf("detach the mount: %w", err)
	}
	return fd, nil
}

// enter enters a mount namespace unless the thread is in it: a locked goroutine
// may be in another one than the rest of the program.
func enter(ns int) error {
	var want, have unix.Stat_t
	if err := unix.Fstat(ns, &want); err != nil {
		return err
	}
	if err := unix.Stat("/proc/thread-self/ns/mnt", &have); err != nil {
		return err
	}
	if want.Ino == have.Ino {
		return nil
	}
	return unix.Setns(ns, unix.CLONE_NEWNS)
}
