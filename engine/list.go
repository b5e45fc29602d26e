package engine

import (
	"context"

	"berth/container"
)

// Containers lists all containers, newest first. It changes nothing.
func Containers(ctx context.Context, e *Engine) ([]container.Summary, error) {
	return e.Containers.List(ctx)
}

// ContainerSize is what a container takes: its own files, and with those of its
// image, in bytes.
func ContainerSize(ctx context.Context, e *Engine, id container.ID) (own, all int64, err error) {
	rec, err := e.Containers.Get(ctx, string(id))
	if err != nil {
		return 0, 0, err
	}
	if own, err = e.Writables.Usage(ctx, rec.Snapshot); err != nil {
		return 0, 0, err
	}
	img, err := e.Images.Find(ctx, rec.Image.ID)
	if isNotFound(err) {
		return own, own, nil
	}
	return own, own + img.Size, err
}
