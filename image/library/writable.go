package library

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/image-spec/identity"
	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/image/diff"
	"berth/image/snapshot"
	"berth/sys/quota"
)

// Writables makes writable trees above images' layers.
type Writables struct {
	L      *Library
	Podman bool // whose rules of diff hold
}

// Writable is a writable tree above an image's layers, as an overlay mount
// takes it.
type Writable struct {
	Store       string   // the folder below which all of these are
	Lower       []string // uppermost first
	Upper, Work string
	Options     []string // further options of the overlay mount
}

// writableLabel keeps a writable tree until it is removed.
const writableLabel = "writable"

// Prepare makes the writable tree of a key above an image's layers, for limit
// bytes at most if that is not 0; CheckLimits tells whether it can. With owners it lies
// above a copy of the layers that is theirs, which the first one waits for. Errors: kind
// Exists, NotFound if the image has gone meanwhile, Invalid for files of nobody's.
func (w *Writables) Prepare(ctx context.Context, key string, img Image, limit int64, owners *Owners) (_ Writable, err error) {
	top := string(identity.ChainID(slices.Clone(img.Layers)))
	if owners != nil && len(img.Layers) > 0 {
		h, failed := w.L.Hold(ctx, "owners")
		if failed != nil {
			return Writable{}, failed
		}
		defer func() { err = errors.Join(err, h.Release(ctx)) }()
		h.owners = owners
		if top, err = w.owned(ctx, h, img); err != nil {
			return Writable{}, err
		}
	}
	labels := snapshot.WithLabels(map[string]string{"containerd.io/gc.root": writableLabel})
	mounts, err := w.L.Layers.Prepare(ctx, key, top, labels, snapshot.WithLimit(limit))
	switch {
	case errdefs.IsAlreadyExists(err):
		return Writable{}, fault.Wrap(fault.Exists, err)
	case errdefs.IsNotFound(err):
		return Writable{}, fault.New(fault.NotFound, "prepare a root file system of image %s: a layer is missing: pull it again, or see berth check --repair", img.ID)
	case err != nil:
		return Writable{}, err
	}
	return w.tree(mounts)
}

// Find tells where the tree of a key is. Error: kind NotFound.
func (w *Writables) Find(ctx context.Context, key string) (Writable, error) {
	mounts, err := w.L.Layers.Mounts(ctx, key)
	if errdefs.IsNotFound(err) {
		return Writable{}, fault.Wrap(fault.NotFound, err)
	}
	if err != nil {
		return Writable{}, err
	}
	return w.tree(mounts)
}

// Below is what the tree of a key lies above, as a detached read-only mount. Error: kind
// NotFound.
func (w *Writables) Below(ctx context.Context, key string) (*os.File, error) {
	info, err := w.L.Layers.Stat(ctx, key)
	if errdefs.IsNotFound(err) {
		return nil, fault.Wrap(fault.NotFound, err)
	}
	if err != nil {
		return nil, err
	}
	mounts, err := w.L.Layers.Look(ctx, info.Parent)
	if err != nil {
		return nil, err
	}
	fd, err := snapshot.MountTree(ctx, mounts)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), key), nil
}

// tree reads the one mount of an active snapshot.
func (w *Writables) tree(mounts []snapshot.Mount) (Writable, error) {
	t := Writable{Store: w.L.root}
	if len(mounts) != 1 {
		return t, fmt.Errorf("a root file system of %d mounts", len(mounts))
	}
	if mounts[0].Type == "bind" { // an image without layers
		t.Upper = mounts[0].Source
		return t, nil
	}
	for _, o := range mounts[0].Options {
		k, v, _ := strings.Cut(o, "=")
		switch k {
		case "lowerdir":
			t.Lower = strings.Split(v, ":")
		case "upperdir":
			t.Upper = v
		case "workdir":
			t.Work = v
		default:
			t.Options = append(t.Options, o)
		}
	}
	return t, nil
}

// Remove removes the tree of a key; one that is gone is no error. The
// space is free when it returns.
func (w *Writables) Remove(ctx context.Context, key string) error {
	parent := ""
	if ofUser(w.L) {
		if info, err := w.L.Layers.Stat(ctx, key); err == nil {
			parent = info.Parent
		}
	}
	err := w.L.Layers.Remove(ctx, key)
	if err == nil {
		return w.dropOnce(ctx, parent)
	}
	if !errdefs.IsNotFound(err) {
		return err
	}
	w.Cleanup(ctx) // who made or removed it may have been killed
	return nil
}

// Cleanup takes away folders without a record: verbs that were killed left them.
func (w *Writables) Cleanup(ctx context.Context) {
	if err := w.L.Layers.Cleanup(ctx); err != nil {
		w.L.warn(err)
	}
}

// CheckLimits tells why no tree can be limited, nil if they can.
func (w *Writables) CheckLimits() error {
	dir, err := os.Open(w.L.root)
	if err != nil {
		return err
	}
	defer dir.Close()
	return quota.Check(dir)
}

// SweepLimits counts the limits of trees that are gone, which killed verbs left; with
// clear it takes them away.
func (w *Writables) SweepLimits(clear bool) (int, error) {
	dir, err := os.Open(w.L.root)
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	left, err := quota.Sweep(dir, clear)
	return len(left), err
}

// Old lists the keys of all trees that were made before this boot.
func (w *Writables) Old(ctx context.Context) (keys []string, err error) {
	up, err := upSince()
	if err != nil {
		return nil, err
	}
	err = w.L.Layers.Walk(ctx, func(_ context.Context, i snapshot.Info) error {
		if i.Kind == snapshot.Active && i.Labels["containerd.io/gc.root"] == writableLabel && i.Created.Before(up) {
			keys = append(keys, i.Name)
		}
		return nil
	})
	return keys, err
}

// upSince is when the machine was started, by the clock as it is now.
func upSince() (time.Time, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return time.Time{}, fmt.Errorf("read the clock: %w", err)
	}
	return time.Now().Add(-time.Duration(t.Nano())), nil
}

// Usage counts what the tree of a key holds above its image, in bytes
// on disk.
func (w *Writables) Usage(ctx context.Context, key string) (int64, error) {
	u, err := w.L.Layers.Usage(ctx, key)
	if errdefs.IsNotFound(err) {
		return 0, fault.Wrap(fault.NotFound, err)
	}
	return u.Size, err
}

// Changes tells what the tree of a key changed in its image, by the
// dialect's rules. Error: kind NotFound.
func (w *Writables) Changes(ctx context.Context, key string) ([]diff.Change, error) {
	t, err := w.Find(ctx, key)
	if err != nil {
		return nil, err
	}
	var open []*os.File
	defer func() {
		for _, f := range open {
			f.Close()
		}
	}()
	for _, dir := range append([]string{t.Upper}, t.Lower...) {
		f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
		if err != nil {
			return nil, fmt.Errorf("compare the files of %s: %w", key, err)
		}
		open = append(open, f)
	}
	rules := diff.Rules{Podman: w.Podman, Opaque: w.L.Layers.OpaqueXattr()}
	return rules.Changes(ctx, open[0], open[1:])
}
