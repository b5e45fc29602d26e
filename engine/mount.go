package engine

import (
	"context"
	"slices"
	"strings"

	"berth/base/fault"
	"berth/image"
)

// MountedImage is an image whose tree can be seen, and where.
type MountedImage struct {
	Image image.Image
	Path  string
}

// ImageMount shows the trees of images, named as typed.
func ImageMount(ctx context.Context, e *Engine, names []string) ([]MountedImage, error) {
	var out []MountedImage
	for _, name := range names {
		img, err := e.find(ctx, name)
		if err != nil {
			return out, err
		}
		path, err := e.Images.Mount(ctx, name)
		if err != nil {
			return out, err
		}
		out = append(out, MountedImage{img, path})
	}
	return out, nil
}

// ImageMounts lists the trees that can be seen.
func ImageMounts(ctx context.Context, e *Engine) ([]MountedImage, error) {
	mounted, err := e.Images.Mounted(ctx)
	if err != nil {
		return nil, err
	}
	var out []MountedImage
	for id, path := range mounted {
		img, err := e.Images.Find(ctx, id.String())
		if isNotFound(err) {
			img, err = image.Image{ID: id}, nil
		}
		if err != nil {
			return nil, err
		}
		out = append(out, MountedImage{img, path})
	}
	slices.SortFunc(out, func(a, b MountedImage) int { return strings.Compare(string(a.Image.ID), string(b.Image.ID)) })
	return out, nil
}

// ImageUnmount takes the trees away, all of them if no name is given, and gives
// the images that were mounted.
func ImageUnmount(ctx context.Context, e *Engine, names []string, force bool) ([]image.Image, error) {
	mounted, err := e.Images.Mounted(ctx)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		for id := range mounted {
			names = append(names, id.String())
		}
		slices.Sort(names)
	}
	var out []image.Image
	for _, name := range names {
		img, err := e.find(ctx, name)
		if err != nil {
			return out, err
		}
		if _, ok := mounted[img.ID]; !ok && !force {
			return out, fault.New(fault.Conflict, "unmount image %s: it is not mounted", name)
		}
		if err := e.Images.Unmount(ctx, name, force); err != nil {
			return out, err
		}
		out = append(out, img)
	}
	return out, nil
}
