package image

import (
	"context"
	"errors"
	"os"
	"slices"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"

	"berth/image/diff"
	"berth/image/library"
)

// Change is one line of a diff: a kind, 'A', 'C' or 'D', and a path.
type Change = diff.Change

// Diff tells what an image's topmost layer changed, or with a base, in what the
// image differs from that other one; both are names or ids. What counts as a
// change is the dialect's. Errors: NotFound, Invalid for a tree too large.
func (s *Store) Diff(ctx context.Context, nameOrID, base string) (out []Change, err error) {
	img, _, err := findImage(ctx, s, nameOrID)
	if err != nil {
		return nil, err
	}
	below := img.Layers[:max(0, len(img.Layers)-1)]
	if base != "" {
		other, _, err := findImage(ctx, s, base)
		if err != nil {
			return nil, err
		}
		below = other.Layers
	}
	h, err := s.lib.Hold(ctx, "diff")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, h.Release(ctx)) }()
	now, closeNow, err := folders(ctx, s, h, img.Layers)
	if err != nil {
		return nil, err
	}
	defer closeNow()
	rules := diff.Rules{Podman: s.opts.Podman, Opaque: s.lib.Layers.OpaqueXattr()}
	if n := len(img.Layers); n > 0 && slices.Equal(below, img.Layers[:n-1]) {
		return rules.Changes(ctx, now[0], now[1:])
	}
	then, closeThen, err := folders(ctx, s, h, below)
	if err != nil {
		return nil, err
	}
	defer closeThen()
	return rules.Between(ctx, now, then)
}

// folders opens the folders of layers, newest first, and keeps them.
func folders(ctx context.Context, s *Store, h *library.Held, layers []digest.Digest) (list []*os.File, done func(), err error) {
	done = func() {
		for _, f := range list {
			f.Close()
		}
	}
	chains := identity.ChainIDs(slices.Clone(layers))
	slices.Reverse(chains)
	for _, c := range chains {
		err := h.Keep(ctx, library.LayerType, string(c))
		if err != nil {
			done()
			return nil, nil, err
		}
		f, err := s.lib.Layers.Folder(ctx, string(c))
		if err != nil {
			done()
			return nil, nil, err
		}
		list = append(list, f)
	}
	return list, done, nil
}
