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

// Check verifies the whole store; with repair it mends what it can.
func Check(ctx context.Context, e *Engine, repair bool) ([]image.Finding, error) {
	return e.Images.Check(ctx, repair)
}
