package image

import (
	"context"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/base/fault"
	"berth/image/ref"
)

// Tag lets target (typed) name what source names too. An image that loses its
// last name by it stays, without a name.
func (s *Store) Tag(ctx context.Context, source, target string) error {
	r, err := s.target(target)
	if err != nil {
		return err
	}
	img, name, err := s.find(ctx, source)
	if err != nil {
		return err
	}
	desc, label := img.Target, ""
	if name != "" {
		n, err := s.names.Get(ctx, name)
		if err != nil {
			return err
		}
		// The registry's digest is the same only within the repository.
		if repo, _ := cutDigest(name); repo == r.Name() {
			label = n.Labels[sourceLabel]
		}
		desc = n.Target
	}
	return s.name(ctx, naming{r.String(), desc, label})
}

// target reads a name that an image is to get.
func (s *Store) target(typed string) (ref.Ref, error) {
	parse := ref.Docker
	if s.opts.Podman {
		parse = ref.Podman
	}
	r, err := parse(typed)
	if err != nil {
		return r, err
	}
	if r.Digest != "" {
		return r, fault.New(fault.Invalid, "refusing to create a tag with a digest reference")
	}
	return r.On(ref.LocalDomain).OrLatest(), nil
}

// naming is a name that a target is to get. source is the digest that the
// name's registry has for it, or "".
type naming struct {
	name   string
	target ocispec.Descriptor
	source string
}

// name gives names to targets, durably and in one commit. What bore a name
// before keeps another one.
func (s *Store) name(ctx context.Context, all ...naming) error {
	var put []images.Image
	for _, n := range all {
		labels := map[string]string{}
		if n.source != "" {
			labels[sourceLabel] = n.source
		}
		put = append(put, images.Image{Name: n.name, Target: bare(n.target), Labels: labels})
		old, err := s.names.Get(ctx, n.name)
		if err != nil && !errdefs.IsNotFound(err) {
			return err
		}
		if err == nil && old.Target.Digest != n.target.Digest {
			rest, err := s.orphan(ctx, old)
			if err != nil {
				return err
			}
			put = append(put, rest...)
		}
	}
	if err := s.names.Put(ctx, put...); err != nil {
		return err
	}
	for _, n := range all {
		if strings.HasPrefix(n.name, dangling) {
			continue
		}
		if err := s.names.Delete(ctx, dangling+string(n.target.Digest)); err != nil && !errdefs.IsNotFound(err) {
			return err
		}
	}
	return nil
}

// bare is a descriptor without what belongs to an index's entry.
func bare(d ocispec.Descriptor) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
}

// orphan says under which name a target stays that loses old.
func (s *Store) orphan(ctx context.Context, old images.Image) ([]images.Image, error) {
	all, err := s.names.List(ctx)
	if err != nil {
		return nil, err
	}
	source := old.Labels[sourceLabel]
	repo, isDigest := cutDigest(old.Name)
	byDigest := repo + "@" + source
	for _, n := range all {
		if n.Target.Digest == old.Target.Digest && n.Name != old.Name && (source == "" || n.Name == byDigest || strings.HasPrefix(n.Name, repo+":")) {
			return nil, nil
		}
	}
	if source != "" && !isDigest {
		return []images.Image{{Name: byDigest, Target: old.Target}}, nil
	}
	return []images.Image{{Name: dangling + string(old.Target.Digest), Target: old.Target}}, nil
}

// Untag removes names only, never the image (podman's untag). No names: all.
func (s *Store) Untag(ctx context.Context, source string, typed []string) ([]Removed, error) {
	img, _, err := s.find(ctx, source)
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
		old, err := s.names.Get(ctx, n)
		if errdefs.IsNotFound(err) {
			return out, fault.New(fault.NotFound, "%s: tag not known", n)
		}
		if err != nil {
			return out, err
		}
		rest, err := s.orphan(ctx, old)
		if err != nil {
			return out, err
		}
		if len(rest) > 0 {
			if err := s.names.Put(ctx, rest...); err != nil {
				return out, err
			}
		}
		if err := s.names.Delete(ctx, n); err != nil {
			return out, err
		}
		out = append(out, Removed{Untagged: s.Familiar(n)})
	}
	return out, nil
}
