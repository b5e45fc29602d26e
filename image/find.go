package image

import (
	"context"

	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/base/fault"
	"berth/image/builtin"
	"berth/image/library"
	"berth/image/ref"
)

// Find finds an image by name, id or unique id prefix. Error: kind NotFound
// with docker's or podman's words.
func (s *Store) Find(ctx context.Context, nameOrID string) (Image, error) {
	img, _, err := findImage(ctx, s, nameOrID)
	return img, err
}

// findImage also gives the name that matched, "" if an id did. The built-in image is
// made when it is first looked for.
func findImage(ctx context.Context, s *Store, nameOrID string) (Image, string, error) {
	all, err := s.lib.Catalog(ctx)
	if err != nil {
		return Image{}, "", err
	}
	img, name, err := s.findIn(all, nameOrID)
	if err == nil {
		return img.Image, name, nil
	}
	if fault.Is(err, fault.NotFound) && s.meansBase(nameOrID) {
		if err := provideBase(ctx, s); err != nil {
			return Image{}, "", err
		}
		if all, err = s.lib.Catalog(ctx); err != nil {
			return Image{}, "", err
		}
		if img, name, err = s.findIn(all, builtin.Name); err == nil {
			return img.Image, name, nil
		}
	}
	return Image{}, "", err
}

// findNamed is findImage for callers that mostly name an image in full: then
// only that name is read, not all there are.
func findNamed(ctx context.Context, s *Store, nameOrID string) (Image, string, error) {
	if _, id := ref.ID(nameOrID); !id && nameOrID != "" {
		refs, err := s.local(nameOrID)
		if err != nil {
			refs = nil // findImage says it
		}
		for _, r := range refs {
			name := r.Pinned().String()
			img, err := library.Named(ctx, s.lib, name)
			if err == nil {
				return img, name, nil
			}
			if !fault.Is(err, fault.NotFound) {
				break
			}
		}
	}
	return findImage(ctx, s, nameOrID)
}

// meant is an image as the verbs take it that go on with what a name leads to.
type meant struct {
	Image
	name   string             // that matched, "" if an id did
	target ocispec.Descriptor // of that name, else the image's
	labels map[string]string  // of that name
}

// findMeant finds an image and what its name leads to now. Error: kind NotFound,
// also when the name was removed since it was found.
func findMeant(ctx context.Context, s *Store, typed string) (meant, error) {
	img, name, err := findImage(ctx, s, typed)
	if err != nil || name == "" {
		return meant{Image: img, target: img.Target}, err
	}
	n, err := s.lib.Names.Get(ctx, name)
	if errdefs.IsNotFound(err) {
		err = s.noSuch(typed)
	}
	return meant{Image: img, name: name, target: n.Target, labels: n.Labels}, err
}
