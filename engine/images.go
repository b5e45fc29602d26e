package engine

import (
	"context"

	"berth/image"
)

// ImageList lists images, the newest first; a reference in the filters is as typed.
func ImageList(ctx context.Context, e *Engine, o image.ListOptions) ([]image.Image, error) {
	return e.Images.List(ctx, o)
}

// ImageInspect tells all of one image; history and tree are drawn from it too.
func ImageInspect(ctx context.Context, e *Engine, nameOrID string) (image.Details, error) {
	d, err := e.Images.Inspect(ctx, nameOrID)
	return d, noImage(nameOrID, err)
}

// ImageExists reports whether a name or id is an image here.
func ImageExists(ctx context.Context, e *Engine, nameOrID string) (bool, error) {
	_, err := e.Images.Find(ctx, nameOrID)
	if isNotFound(err) {
		return false, nil
	}
	return err == nil, err
}
