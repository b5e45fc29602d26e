package engine

import (
	"context"

	"github.com/opencontainers/go-digest"

	"berth/base/fault"
	"berth/container"
	"berth/image"
)

// Usage is what takes space: images, containers, volumes.
type Usage struct {
	Images     image.Usage
	Containers []ContainerUsage // newest first
	Volumes    []VolumeUsage
}

// ContainerUsage is what a container takes, in bytes on disk.
type ContainerUsage struct {
	container.Summary
	Own int64 // its own files
	All int64 // and those of its image
}

// VolumeUsage is what a volume takes, in bytes on disk; -1 where that is not known.
type VolumeUsage struct {
	VolumeInfo
	Size int64
}

// DiskUsage tells what takes space in the store. What was counted when it came is
// not counted again: of containers and volumes their own folders are walked, once.
func DiskUsage(ctx context.Context, e *Engine) (*Usage, error) {
	var all []container.Summary
	var err error
	if e.Containers != nil {
		if all, err = Containers(ctx, e); err != nil {
			return nil, err
		}
	}
	u := &Usage{}
	if u.Images, err = e.Images.Usage(ctx, imageUsers(all)); err != nil || e.Containers == nil {
		return u, err
	}
	sizes := map[string]int64{}
	for i := range u.Images.Images {
		sizes[string(u.Images.Images[i].ID)] = u.Images.Images[i].Size
	}
	for i := range all {
		one, err := e.sizeOf(ctx, &all[i], func(id string) (int64, error) { return sizes[id], nil })
		if err != nil {
			return nil, err
		}
		u.Containers = append(u.Containers, one)
	}
	u.Volumes, err = volumesUsage(ctx, e, all)
	return u, err
}

func volumesUsage(ctx context.Context, e *Engine, all []container.Summary) ([]VolumeUsage, error) {
	found, err := e.Volumes.List()
	if err != nil {
		return nil, err
	}
	users := volumeUsers(all)
	var out []VolumeUsage
	for i := range found {
		v := VolumeUsage{VolumeInfo: VolumeInfo{found[i], users[found[i].Name]}}
		v.Size, err = e.Volumes.Usage(ctx, v.Name)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case fault.Is(err, fault.NotFound): // removed meanwhile
			continue
		case err != nil: // a server that does not answer, a folder that is gone
			v.Size = -1
		}
		out = append(out, v)
	}
	return out, nil
}

// volumeUsers lists the containers that use each volume.
func volumeUsers(all []container.Summary) map[string][]string {
	users := map[string][]string{}
	for i := range all {
		for _, name := range all[i].Volumes {
			users[name] = append(users[name], string(all[i].ID))
		}
	}
	return users
}

// ContainerSizes tells what containers take; an image is looked up once.
func ContainerSizes(ctx context.Context, e *Engine, all []container.Summary) ([]ContainerUsage, error) {
	sizes := map[string]int64{}
	imageSize := func(id string) (int64, error) {
		if n, ok := sizes[id]; ok {
			return n, nil
		}
		img, err := e.Images.Find(ctx, id)
		if err != nil && !isNotFound(err) {
			return 0, err
		}
		sizes[id] = img.Size // 0: it is gone
		return img.Size, nil
	}
	var out []ContainerUsage
	for i := range all {
		one, err := e.sizeOf(ctx, &all[i], imageSize)
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, nil
}

// sizeOf counts one container. A writable tree that was lost takes nothing.
func (e *Engine) sizeOf(ctx context.Context, s *container.Summary, imageSize func(id string) (int64, error)) (ContainerUsage, error) {
	u := ContainerUsage{Summary: *s}
	own, err := e.Writables.Usage(ctx, snapshotOf(s.ID))
	if err != nil && !fault.Is(err, fault.NotFound) {
		return u, err
	}
	below, err := imageSize(s.ImageID)
	u.Own, u.All = own, own+below
	return u, err
}

// ContainerSize is what one container takes.
func ContainerSize(ctx context.Context, e *Engine, rec *container.Record) (ContainerUsage, error) {
	all, err := ContainerSizes(ctx, e, []container.Summary{{ID: rec.ID, ImageID: rec.Image.ID}})
	if err != nil {
		return ContainerUsage{}, err
	}
	return all[0], nil
}

// imageUsers answers the question "who uses this image".
func imageUsers(all []container.Summary) func(digest.Digest) []image.InUse {
	users := map[digest.Digest][]image.InUse{}
	for i := range all {
		id := digest.Digest(all[i].ImageID)
		users[id] = append(users[id], image.InUse{Container: shortID(all[i].ID), Running: all[i].State().Live()})
	}
	return func(id digest.Digest) []image.InUse { return users[id] }
}
