package engine

import (
	"context"

	"berth/image"
)

// DiskUsage tells what takes space in the store.
func DiskUsage(ctx context.Context, e *Engine) (image.Usage, error) {
	users, err := e.inUse(ctx)
	if err != nil {
		return image.Usage{}, err
	}
	return e.Images.Usage(ctx, users)
}
