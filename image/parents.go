package image

import (
	"context"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/image/library"
	"berth/image/manifest"
)

// parentsOf are the images that others were made from here, by id.
func parentsOf(all []library.Entry) map[digest.Digest]bool {
	out := map[digest.Digest]bool{}
	for i := range all {
		if p := all[i].Parent; p != "" {
			out[p] = true
		}
	}
	return out
}

// hasChildren says that another image was made from one here, which then stays
// without a name. For podman an image is its own: it needs the layers only.
func (r *removal) hasChildren(img *library.Entry) bool {
	return !r.s.opts.Podman && slices.ContainsFunc(r.all, func(e library.Entry) bool { return e.Parent == img.ID })
}

// parents takes away what an image that just went was made from, the nearest
// first, as long as nothing else needs it: no name, no container, no other image.
// Docker knows what was made here; podman looks for images that end where
// another goes on. What cannot be read is needed.
func (r *removal) parents(ctx context.Context, img *library.Entry) (out []Removed, gone []*library.Entry, err error) {
	for !r.o.NoPrune {
		p := r.parent(ctx, img)
		if p == nil || len(r.o.InUse(p.ID)) > 0 || r.made(ctx, p) {
			break
		}
		lines, err := r.untag(ctx, p, slices.Clone(p.Keys))
		out = append(out, lines...)
		if err != nil {
			return out, gone, err
		}
		if img = r.forget(ctx, p); img == nil {
			break
		}
		gone = append(gone, img)
	}
	return out, gone, nil
}

// parent is the nearest image that img was made from, if it has no name.
func (r *removal) parent(ctx context.Context, img *library.Entry) (nearest *library.Entry) {
	steps := -1
	for i := range r.all {
		e := &r.all[i]
		if !r.s.opts.Podman {
			if e.ID == img.Parent {
				nearest = e
			}
		} else if n, ok := r.from(ctx, img, e); ok && n > steps {
			nearest, steps = e, n
		}
	}
	if nearest == nil || slices.ContainsFunc(nearest.Keys, func(k string) bool { return !strings.HasPrefix(k, library.Dangling) }) {
		return nil
	}
	return nearest
}

// made says that another image was made from p.
func (r *removal) made(ctx context.Context, p *library.Entry) bool {
	if !r.s.opts.Podman {
		return r.hasChildren(p)
	}
	for i := range r.all {
		if e := &r.all[i]; e.ID != p.ID && extends(e.Layers, p.Layers) {
			if _, ok := r.from(ctx, e, p); ok || r.steps(ctx, e) == nil {
				return true
			}
		}
	}
	return false
}

// from says whether img goes on where e ends, in layers and in steps, and how
// many steps e has.
func (r *removal) from(ctx context.Context, img, e *library.Entry) (n int, ok bool) {
	if e.ID == img.ID || !extends(img.Layers, e.Layers) {
		return 0, false
	}
	all, first := r.steps(ctx, img), r.steps(ctx, e)
	if first == nil || len(all) <= len(first) {
		return 0, false
	}
	return len(first), slices.EqualFunc(all[:len(first)], first, sameStep)
}

// steps are an image's history, nil if that cannot be read.
func (r *removal) steps(ctx context.Context, img *library.Entry) []ocispec.History {
	if known, ok := r.known[string(img.ID)]; ok {
		return known
	}
	var steps []ocispec.History
	if docs, err := r.s.lib.Read(ctx, img.Target, manifest.Host()); err == nil {
		steps = slices.Concat([]ocispec.History{}, docs.Config.History)
	}
	if r.known == nil {
		r.known = map[string][]ocispec.History{}
	}
	r.known[string(img.ID)] = steps
	return steps
}

func sameStep(a, b ocispec.History) bool {
	when := func(h ocispec.History) int64 {
		if h.Created == nil {
			return 0
		}
		return h.Created.UnixNano()
	}
	return a.CreatedBy == b.CreatedBy && a.EmptyLayer == b.EmptyLayer && when(a) == when(b)
}

// extends says that all begins with first.
func extends[T comparable](all, first []T) bool {
	return len(all) >= len(first) && slices.Equal(all[:len(first)], first)
}
