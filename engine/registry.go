package engine

import (
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
func Search(ctx context.Context, e *Engine, term string, limit int, filters map[string][]string) ([]image.Found, error) {
	if limit == 0 {
		limit = searchDefault
	}
	if limit < 1 || limit > searchMax {
		return nil, fault.New(fault.Invalid, "Limit %d is outside the range of [1, %d]", limit, searchMax)
	}
	return e.Registries.Search(ctx, term, limit, filters)
}

// LoginRequest is login; File "" is the dialect's own place.
type LoginRequest struct {
	Registry, File string
	Credential     image.Credential
	SkipVerify     bool
}

// Login verifies a credential with its registry and keeps it; it gives the
// registry's words.
func Login(ctx context.Context, e *Engine, r LoginRequest) (string, error) {
	return e.Registries.Login(ctx, r.Registry, r.File, r.Credential, r.SkipVerify)
}

// Logout forgets a credential, or all.
func Logout(ctx context.Context, e *Engine, registry, file string, all bool) error {
	return e.Registries.Logout(ctx, registry, file, all)
}

// LoggedIn gives the credential that is kept for a registry.
func LoggedIn(ctx context.Context, e *Engine, registry, file string) (image.Credential, error) {
	return e.Registries.LoggedIn(ctx, registry, file)
}
