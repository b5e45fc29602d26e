package containerd

import (
	"context"

	"berth/image/names"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
)

// Images is a store's names.
type Images struct{ Store *names.Store }

var _ images.Store = Images{}

// Get reads one name.
func (s Images) Get(ctx context.Context, name string) (images.Image, error) {
	img, err := s.Store.Get(ctx, name)
	return images.Image(img), err
}

// List lists the names that a filter matches.
func (s Images) List(ctx context.Context, filters ...string) ([]images.Image, error) {
	all, err := s.Store.List(ctx, filters...)
	var out []images.Image
	for _, img := range all {
		out = append(out, images.Image(img))
	}
	return out, err
}

// Create makes a name.
func (s Images) Create(ctx context.Context, img images.Image) (images.Image, error) {
	made, err := s.Store.Create(ctx, names.Image(img))
	return images.Image(made), err
}

// Update changes a name, or those of its fields that are named.
func (s Images) Update(ctx context.Context, img images.Image, fieldpaths ...string) (images.Image, error) {
	now, err := s.Store.Update(ctx, names.Image(img), fieldpaths...)
	return images.Image(now), err
}

// Delete removes a name. What it pointed to stays until a collection,
// images.SynchronousDelete or not.
func (s Images) Delete(ctx context.Context, name string, opts ...images.DeleteOpt) error {
	var o images.DeleteOptions
	for _, opt := range opts {
		if err := opt(ctx, &o); err != nil {
			return err
		}
	}
	var target []digest.Digest
	if o.Target != nil && o.Target.Digest != "" {
		target = append(target, o.Target.Digest)
	}
	return s.Store.Delete(ctx, name, target...)
}
