package engine

import (
	"context"

	"berth/image"
)

// ImageTag gives an image more names, all as typed.
func ImageTag(ctx context.Context, e *Engine, source string, targets []string) error {
	for _, t := range targets {
		if err := e.Images.Tag(ctx, source, t); err != nil {
			return noImage(source, err)
		}
	}
	return nil
}

// ImageUntag takes names away, all of them if none is given; the image stays.
func ImageUntag(ctx context.Context, e *Engine, source string, names []string) ([]image.Removed, error) {
	if _, err := e.find(ctx, source); err != nil {
		return nil, err
	}
	return e.Images.Untag(ctx, source, names)
}
