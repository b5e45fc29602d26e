package engine

import (
	"context"

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

// ContainerDiff tells what a container changed in its image's files.
func ContainerDiff(ctx context.Context, e *Engine, name string) ([]image.Change, error) {
	rec, err := e.Containers.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	return e.Writables.Changes(ctx, rec.Snapshot)
}
