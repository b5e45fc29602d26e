package image

import (
	"context"

	"berth/image/library"
	"berth/image/manifest"
)

// Config is an image's configuration, checked.
type Config = manifest.Config

// Writable is a writable tree above an image's layers.
type Writable = library.Writable

// Owners are whose the files of a tree's layers are; see library.Owners.
type Owners = library.Owners

// Writables is the part of the store that makes root file systems of images.
type Writables struct {
	library.Writables
	s *Store
}

// NewWritables is the part of the store that makes root file systems.
func NewWritables(s *Store) *Writables {
	return &Writables{library.Writables{L: s.lib, Podman: s.opts.Podman}, s}
}

// Base is an image that something is made of.
type Base struct {
	Image
	// Name is the canonical name that matched, "" if an id did.
	Name   string
	Config *Config
}

// Base finds an image by name, id or unique id prefix, with its configuration.
// A name costs a few small reads, however many images there are. Error: as Find.
func (w *Writables) Base(ctx context.Context, nameOrID string) (Base, error) {
	img, name, err := findNamed(ctx, w.s, nameOrID)
	if err != nil {
		return Base{}, err
	}
	docs, err := w.s.lib.Read(ctx, img.Target, manifest.Host())
	if err != nil {
		return Base{}, err
	}
	return Base{Image: img, Name: name, Config: docs.Config}, nil
}
