package image

import (
	"context"
	"errors"

	"github.com/containerd/errdefs"

	"berth/base/fault"
	"berth/image/lease"
	"berth/image/library"
)

// Tag lets target (typed) name what source names too. An image that loses its
// last name by it stays, without a name.
func (s *Store) Tag(ctx context.Context, source, target string) error {
	r, err := s.target(target)
	if err != nil {
		return err
	}
	img, err := findMeant(ctx, s, source)
	if err != nil {
		return err
	}
	label := ""
	// The registry's digest is the same only within the repository.
	if repo, _ := library.CutDigest(img.name); repo == r.Name() {
		label = img.labels[library.SourceLabel]
	}
	return s.nameHeld(ctx, library.Naming{Name: r.String(), Target: img.target, Source: label})
}

// nameHeld names what the store has: under a lease, so that nobody's rmi takes
// it between the look and the name.
func (s *Store) nameHeld(ctx context.Context, all ...library.Naming) (err error) {
	h, err := s.lib.Hold(ctx, "tag")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Release(ctx)) }()
	for _, n := range all {
		if err := h.Keep(ctx, lease.ContentType, string(n.Target.Digest)); err != nil {
			return err
		}
		if _, err := s.lib.Content.Info(ctx, n.Target.Digest); err != nil {
			return fault.New(fault.NotFound, "tag %s: the image was removed meanwhile: %w", s.Familiar(n.Name), err)
		}
	}
	return s.lib.Name(ctx, all...)
}

// Untag removes names only, never the image (podman's untag). No names: all.
func (s *Store) Untag(ctx context.Context, source string, typed []string) ([]Removed, error) {
	img, _, err := findImage(ctx, s, source)
	if err != nil {
		return nil, err
	}
	remove := img.Names
	if len(typed) > 0 {
		remove = nil
		for _, t := range typed {
			r, err := s.target(t)
			if err != nil {
				return nil, err
			}
			remove = append(remove, r.String())
		}
	}
	var out []Removed
	for _, n := range remove {
		old, err := s.lib.Names.Get(ctx, n)
		if errdefs.IsNotFound(err) {
			return out, fault.New(fault.NotFound, "%s: tag not known", n)
		}
		if err != nil {
			return out, err
		}
		rest, err := s.lib.Orphan(ctx, old)
		if err != nil {
			return out, err
		}
		for _, n := range rest {
			if err := s.nameHeld(ctx, library.Naming{Name: n.Name, Target: n.Target}); err != nil {
				return out, err
			}
		}
		if err := s.lib.Names.Delete(ctx, n); err != nil {
			return out, err
		}
		out = append(out, Removed{Untagged: s.Familiar(n)})
	}
	return out, nil
}
