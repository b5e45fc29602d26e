package engine

import (
	"context"

	"berth/image"
)

// TakeFrom copies what another engine keeps on this machine.
func TakeFrom(ctx context.Context, e *Engine, t image.TakeOver) ([]image.Loaded, error) {
	return e.Images.TakeFrom(ctx, t)
}
