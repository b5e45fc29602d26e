package engine

import (
	"context"

	"github.com/opencontainers/go-digest"

	"berth/image"
)

// ListRequest makes or widens a manifest list; all names are as typed.
type ListRequest struct {
	List    string
	Members []string
	Amend   bool // Create: the list may be there
	All     bool // a member that is a list gives all its members
	Set     image.Annotation
}

// ListCreate makes a manifest list.
func ListCreate(ctx context.Context, e *Engine, r ListRequest) (digest.Digest, error) {
	return e.Lists.Create(ctx, r.List, r.Members, r.Amend, r.All)
}

// ListAdd adds members to a list.
func ListAdd(ctx context.Context, e *Engine, r ListRequest) (digest.Digest, error) {
	return e.Lists.Add(ctx, r.List, r.Members, r.All, r.Set)
}

// ListAnnotate changes what a list says of one member.
func ListAnnotate(ctx context.Context, e *Engine, list, member string, a image.Annotation) (digest.Digest, error) {
	return e.Lists.Annotate(ctx, list, member, a)
}

// ListDrop takes members out of a list.
func ListDrop(ctx context.Context, e *Engine, list string, members []digest.Digest) (digest.Digest, error) {
	return e.Lists.Remove(ctx, list, members)
}

// ListInspect gives the document of a list here, or of a name at its registry.
func ListInspect(ctx context.Context, e *Engine, name string, r image.PullRequest) ([]byte, error) {
	return e.Lists.Inspect(ctx, name, r)
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
