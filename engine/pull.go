package engine

import (
	"cmp"
	"context"
	"strings"

	"berth/image"
)

// PullRequest is pull as a person asks for it; Name is as typed.
type PullRequest struct {
	image.PullRequest
	// Named is told the canonical name before the registry is asked.
	Named func(canonical string)
}

// Pull brings an image, or all tags of a repository, from its registry.
func Pull(ctx context.Context, e *Engine, r PullRequest) ([]image.Pulled, error) {
	name, err := e.Images.Name(r.Name)
	if err != nil {
		return nil, err
	}
	p := r.PullRequest
	p.Name = name
	p.Platform = cmp.Or(p.Platform, e.Platform)
	p.Policy = cmp.Or(p.Policy, image.PullAlways)
	if r.Named != nil {
		r.Named(name)
	}
	return e.Images.Pull(ctx, p)
}

// SplitName takes a canonical name apart: the registry, the repository's path,
// and the tag or digest without its sign.
func SplitName(canonical string) (registry, path, tag string) {
	registry, path, _ = strings.Cut(canonical, "/")
	if before, digest, ok := strings.Cut(path, "@"); ok {
		path, _, _ = strings.Cut(before, ":")
		return registry, path, digest
	}
	path, tag, _ = strings.Cut(path, ":")
	return registry, path, tag
}
