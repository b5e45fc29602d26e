package engine

import (
	"context"

	"berth/image"
)

// PruneRequest says what is to go: dangling images, or all that no container uses.
type PruneRequest struct {
	All     bool
	Filters map[string][]string
}

// ImagePrune removes what nothing needs any more.
func ImagePrune(ctx context.Context, e *Engine, r PruneRequest) (image.Pruned, error) {
	users, err := e.inUse(ctx)
	if err != nil {
		return image.Pruned{}, err
	}
	return e.Images.Prune(ctx, image.PruneOptions{All: r.All, Filters: r.Filters, InUse: users})
}
