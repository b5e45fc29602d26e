package image

import (
	"context"

	"berth/base/fault"
	"berth/image/builtin"
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
