package library

import (
	"context"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/image/manifest"
	"berth/image/names"
)

// Dangling is what the names of images without a name begin with; the digest
// of the target follows. It is no reference, so nobody can type it.
const Dangling = "dangling@"

// Naming is a name that a target is to get. source is the digest that the
// name's registry has for it, or "".
type Naming struct {
	Name   string
	Target ocispec.Descriptor
	Source string
}

// Name gives names to targets, durably and in one commit. What bore a name
// before keeps another one.
func (l *Library) Name(ctx context.Context, all ...Naming) error {
	var put, kept []names.Image
	var others map[digest.Digest][]names.Image // listed once, for all that move
	for _, n := range all {
		labels := map[string]string{}
		if n.Source != "" {
			labels[SourceLabel] = n.Source
		}
		put = append(put, names.Image{Name: n.Name, Target: bare(n.Target), Labels: labels})
		old, err := l.Names.Get(ctx, n.Name)
		if err != nil && !errdefs.IsNotFound(err) {
			return err
		}
		if err == nil && n.Source == "" && has(ctx, l, old, n.Target) {
			put = put[:len(put)-1]
			continue
		}
		if err == nil && old.Target.Digest != n.Target.Digest && !l.sameImage(ctx, old.Target, n.Target) {
			if others == nil {
				if others, err = byTarget(ctx, l.Names); err != nil {
					return err
				}
			}
			if n.Source == old.Labels[SourceLabel] {
				old.Labels = nil // the registry's digest is the new one's: of a list, another platform's
			}
			kept = append(kept, orphan(others[old.Target.Digest], old)...)
		}
	}
	if err := l.Names.Put(ctx, append(put, kept...)...); err != nil {
		return err
	}
	for _, n := range kept {
		// Somebody may have removed the old image before it had this name.
		if _, err := l.Content.Info(ctx, n.Target.Digest); errdefs.IsNotFound(err) {
			if err := l.Names.Delete(ctx, n.Name, n.Target.Digest); err != nil && !errdefs.IsNotFound(err) {
				return err
			}
		}
	}
	for _, n := range all {
		if strings.HasPrefix(n.Name, Dangling) {
			continue
		}
		if err := l.Names.Delete(ctx, Dangling+string(n.Target.Digest)); err != nil && !errdefs.IsNotFound(err) {
			return err
		}
	}
	return nil
}

// has says that a name leads to an image already, perhaps in another wrapping:
// it keeps that, and with it the digest of its registry.
func has(ctx context.Context, l *Library, name names.Image, target ocispec.Descriptor) bool {
	if name.Target.Digest == target.Digest {
		return true
	}
	if manifest.IsIndex(target.MediaType) || !l.sameImage(ctx, name.Target, target) {
		return false
	}
	_, err := l.Content.Info(ctx, name.Target.Digest)
	return err == nil
}

// sameImage says that two targets are one image in two wrappings, as after a
// load and a pull of it: the older one need not stay.
func (l *Library) sameImage(ctx context.Context, a, b ocispec.Descriptor) bool {
	x, errX := l.summaryOf(ctx, a)
	y, errY := l.summaryOf(ctx, b)
	return errX == nil && errY == nil && x.ID == y.ID
}

// bare is a descriptor without what belongs to an index's entry.
func bare(d ocispec.Descriptor) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
}

// Orphan says under which name a target stays that loses old.
func (l *Library) Orphan(ctx context.Context, old names.Image) ([]names.Image, error) {
	others, err := byTarget(ctx, l.Names)
	return orphan(others[old.Target.Digest], old), err
}

// byTarget lists all names by what they lead to.
func byTarget(ctx context.Context, store *names.Store) (map[digest.Digest][]names.Image, error) {
	all, err := store.List(ctx)
	if err != nil {
		return nil, err
	}
	out := make(map[digest.Digest][]names.Image, len(all))
	for _, n := range all {
		out[n.Target.Digest] = append(out[n.Target.Digest], n)
	}
	return out, nil
}

// orphan is Orphan by the names that lead to the same target.
func orphan(others []names.Image, old names.Image) []names.Image {
	source := old.Labels[SourceLabel]
	repo, isDigest := CutDigest(old.Name)
	byDigest := repo + "@" + source
	for _, n := range others {
		if n.Name != old.Name && (source == "" || n.Name == byDigest || strings.HasPrefix(n.Name, repo+":")) {
			return nil
		}
	}
	if source != "" && !isDigest {
		return []names.Image{{Name: byDigest, Target: old.Target}}
	}
	return []names.Image{{Name: Dangling + string(old.Target.Digest), Target: old.Target}}
}
