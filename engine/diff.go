package engine

import (
	"context"
	"slices"
	"strings"

	"berth/image"
)

// ImageDiff lists what an image adds to its lower layers, or to another image.
func ImageDiff(ctx context.Context, e *Engine, nameOrID, base string) ([]image.Change, error) {
	for _, name := range []string{nameOrID, base} {
		if name == "" {
			continue
		}
		if _, err := e.find(ctx, name); err != nil {
			return nil, err
		}
	}
	return e.Images.Diff(ctx, nameOrID, base)
}

// laidOver are files of ours that lie over the container's; an empty file marks
// the place of each.
var laidOver = []string{"/etc/hostname", "/etc/hosts", "/etc/resolv.conf"}

// ContainerDiff tells what a container changed in its image's files. The places
// of laidOver are no change, nor is their folder if nothing else changed in it.
func ContainerDiff(ctx context.Context, e *Engine, name string) ([]image.Change, error) {
	rec, err := e.Containers.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	all, err := e.Writables.Changes(ctx, rec.Snapshot)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(c image.Change) bool { return slices.Contains(laidOver, c.Path) })
	inside := slices.ContainsFunc(all, func(c image.Change) bool { return strings.HasPrefix(c.Path, "/etc/") })
	return slices.DeleteFunc(all, func(c image.Change) bool { return c.Path == "/etc" && !inside }), nil
}
