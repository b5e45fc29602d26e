package engine

import (
	"cmp"
	"context"

	"berth/base/fault"
	"berth/image"
)

// The range of a search's limit, as the registry's endpoint takes it.
const (
	searchDefault = 25
	searchMax     = 100
)

// Search asks a registry's search endpoint; limit 0 is 25.
func Search(ctx context.Context, e *Engine, term string, limit int, filters map[string][]string, a image.Access) ([]image.Found, error) {
	if limit == 0 {
		limit = searchDefault
	}
	if limit < 1 || limit > searchMax {
		return nil, fault.New(fault.Invalid, "Limit %d is outside the range of [1, %d]", limit, searchMax)
	}
	return e.Registries.Search(ctx, term, limit, filters, a)
}

// SearchTags lists a repository's tags at its registry; limit 0 is 25. It gives
// the repository's canonical name too.
func SearchTags(ctx context.Context, e *Engine, typed string, limit int, a image.Access) (repository string, tags []string, err error) {
	name, err := e.Images.Name(typed)
	if err != nil {
		return "", nil, err
	}
	registry, path, _ := SplitName(name)
	tags, err = e.Registries.Tags(ctx, name, a)
	return registry + "/" + path, tags[:min(len(tags), cmp.Or(limit, searchDefault))], err
}

// LoginRequest is login; Access's file "" is the dialect's own place.
type LoginRequest struct {
	Registry   string
	Credential image.Credential
	image.Access
}

// Login verifies a credential with its registry and keeps it; it tells where.
func Login(ctx context.Context, e *Engine, r LoginRequest) (where string, err error) {
	return e.Registries.Login(ctx, r.Registry, r.Credential, r.Access)
}

// Logout forgets a credential, or all.
func Logout(ctx context.Context, e *Engine, registry, file string, all bool) error {
	return e.Registries.Logout(ctx, registry, file, all)
}

// LoggedIn gives the credential that is kept for a registry.
func LoggedIn(ctx context.Context, e *Engine, registry, file string) (image.Credential, error) {
	return e.Registries.LoggedIn(ctx, registry, file)
}
