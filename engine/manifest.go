package engine

import (
	"context"

	"github.com/opencontainers/go-digest"

	"berth/image"
)

// ListCreate makes a manifest list.
func ListCreate(ctx context.Context, e *Engine, r image.ListRequest) (digest.Digest, error) {
	return e.Lists.Create(ctx, r)
}

// ListAdd adds members to a list.
func ListAdd(ctx context.Context, e *Engine, r image.ListRequest) (digest.Digest, error) {
	return e.Lists.Add(ctx, r)
}

// ListAnnotate changes what a list says of its members.
func ListAnnotate(ctx context.Context, e *Engine, r image.ListRequest) (digest.Digest, error) {
	return e.Lists.Annotate(ctx, r)
}

// ListDrop takes members out of a list.
func ListDrop(ctx context.Context, e *Engine, list string, members []digest.Digest) (digest.Digest, error) {
	return e.Lists.Remove(ctx, list, members)
}

// ListInspect gives the document of a list here, or of a name at its registry.
func ListInspect(ctx context.Context, e *Engine, name string, a image.Access) ([]byte, error) {
	return e.Lists.Inspect(ctx, name, a)
}

// ListPush sends a list with its members; r.Name is as typed, the list's own if empty.
func ListPush(ctx context.Context, e *Engine, list string, all bool, r image.PushRequest) (image.Pushed, error) {
	if r.Name != "" {
		name, err := e.Images.Name(r.Name)
		if err != nil {
			return image.Pushed{}, err
		}
		r.Name = name
	}
	r.Source = list
	return e.Lists.Push(ctx, list, all, r)
}
