package snapshot

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"berth/base/fault"
	sysmount "berth/sys/mount"

	"golang.org/x/sys/unix"
)

// MountTree makes the mount that a snapshot's Mounts describe, detached: in no
// mount namespace, and gone when the descriptor is closed unless it was
// attached (move_mount(2)). Paths are looked up in the calling thread's mount
// namespace. The descriptor is close-on-exec and the caller's.
func MountTree(ctx context.Context, mounts []Mount) (fd int, err error) {
	if len(mounts) != 1 {
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
			fd, err = overlayTree(layers, opts)
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

// overlayTree mounts any number of layers; kernels before 6.8 get them all at once.
func overlayTree(layers []string, opts *sysmount.Options) (int, error) {
	fd, err := sysmount.Overlay(layers, overlayParams(opts), opts.Attr.Set)
	if sysmount.NeedsOldOverlay(err) && len(layers) > 0 {
		return overlayAtOnce(layers, opts)
	}
	return fd, err
}

func overlayParams(opts *sysmount.Options) []sysmount.Param {
	return append(opts.Data[:len(opts.Data):len(opts.Data)], opts.Flags...)
}

func overlayAtOnce(layers []string, opts *sysmount.Options) (int, error) {
	common := filepath.Dir(filepath.Dir(layers[0])) // of …/d/ID/fs
	fd, err := sysmount.OldOverlayApart(common, layers, overlayParams(opts), opts.Attr.Set)
	if errors.Is(err, unix.E2BIG) {
		return -1, fault.Wrap(fault.Unsupported, err)
	}
	return fd, err
}
