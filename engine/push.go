package engine

import (
	"cmp"
	"context"

	"berth/base/fault"
	"berth/image"
)

// PushRequest is push as a person asks for it: Source and Name are as typed,
// an empty Name is Source's own.
type PushRequest struct {
	image.PushRequest
	// Named is told the canonical destination before the registry is asked.
	Named func(canonical string)
}

// Push sends an image, or all tags of a repository, to a registry.
func Push(ctx context.Context, e *Engine, r PushRequest) ([]image.Pushed, error) {
	name, err := e.Images.Name(cmp.Or(r.Name, r.Source))
	if err != nil {
		return nil, err
	}
	p := r.PushRequest
	p.Name = name
	if r.Named != nil {
		r.Named(name)
	}
	if err := e.isHere(ctx, p); err != nil {
		return nil, err
	}
	return e.Images.Push(ctx, p)
}

// isHere is a NoImage if there is nothing to push.
func (e *Engine) isHere(ctx context.Context, p image.PushRequest) error {
	if !p.AllTags {
		_, err := e.find(ctx, p.Source)
		return err
	}
	registry, path, _ := SplitName(p.Name)
	found, err := e.Images.List(ctx, image.ListOptions{Filters: map[string][]string{"reference": {registry + "/" + path}}})
	if err == nil && len(found) == 0 {
		err = &NoImage{Name: p.Source, Err: fault.New(fault.NotFound, "no image here has a tag in %s/%s", registry, path)}
	}
	return err
}
