package engine

import (
	"context"
	"errors"

	"github.com/opencontainers/go-digest"

	"berth/image"
)

// TrustRules gives the policy's rules, the default first, and its file's text.
func TrustRules(e *Engine) ([]image.TrustRule, []byte, error) { return e.Trust.Rules() }

// SetTrust puts one rule into the policy.
func SetTrust(e *Engine, r image.TrustRule) error { return e.Trust.Set(r) }

// NewKey makes a key pair, PEM.
func NewKey(e *Engine) (private, public []byte, err error) { return e.Trust.NewKey() }

// Sign signs what a registry has under a name with a private key.
func Sign(ctx context.Context, e *Engine, typed string, key []byte, a image.Access) (digest.Digest, error) {
	name, err := e.Images.Name(typed)
	if err != nil {
		return "", err
	}
	return e.Trust.Sign(ctx, name, key, a)
}

// Verify says whether the policy accepts what a registry has under a name, or
// whether one of keys signed it.
func Verify(ctx context.Context, e *Engine, typed string, keys [][]byte, a image.Access) (digest.Digest, error) {
	name, err := e.Images.Name(typed)
	if err != nil {
		return "", err
	}
	return e.Trust.Verify(ctx, name, keys, a)
}

// SignPushed signs what was pushed, each under its own name.
func SignPushed(ctx context.Context, e *Engine, pushed []image.Pushed, key []byte, a image.Access) error {
	var failed []error
	for _, p := range pushed {
		_, err := e.Trust.Sign(ctx, p.Name, key, a)
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}
