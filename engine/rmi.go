package engine

import (
	"context"

	"berth/image"
)

// RemoveImageRequest is rmi of names and ids, as typed.
type RemoveImageRequest struct {
	Names   []string
	Force   bool
	NoPrune bool
	// Each is told what became of each name, in their order; err may be a *NoImage.
	Each func(name string, gone []image.Removed, err error)
}

// ImageRemove removes names, and images with their last ones, unless a
// container is made of them. The error is the first name's that failed.
func ImageRemove(ctx context.Context, e *Engine, r RemoveImageRequest) error {
	users, err := e.inUse(ctx)
	if err != nil {
		return err
	}
	o := image.RemoveOptions{Force: r.Force, NoPrune: r.NoPrune, InUse: users}
	return e.Images.Remove(ctx, r.Names, o, func(name string, gone []image.Removed, err error) {
		if r.Each != nil {
			r.Each(name, gone, noImage(name, err))
		}
	})
}
