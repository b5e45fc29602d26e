package image

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"

	"berth/base/fault"
	"berth/image/gc"
	"berth/image/ref"
)

// Remove is rmi of names or ids, with one collection at the end: the space is
// free when it returns. each is called for every argument in its order; the
// error is the first argument's that failed, or the collection's.
func (s *Store) Remove(ctx context.Context, namesOrIDs []string, o RemoveOptions, each func(arg string, r []Removed, err error)) error {
	if o.InUse == nil {
		o.InUse = func(digest.Digest) []InUse { return nil }
	}
	all, err := s.catalog(ctx)
	if err != nil {
		return err
	}
	r := &removal{s: s, o: o, all: all}
	type result struct {
		removed []Removed
		gone    *named
		err     error
	}
	results := make([]result, len(namesOrIDs))
	for i, arg := range namesOrIDs {
		res := &results[i]
		res.removed, res.gone, res.err = r.one(ctx, arg)
	}
	var layers map[string]bool
	var collected error
	if len(r.gone) > 0 {
		layers, collected = s.collect(ctx)
	}
	var first error
	for i, arg := range namesOrIDs {
		res := results[i]
		if res.gone != nil {
			res.removed = append(res.removed, s.deleted(res.gone, layers)...)
		}
		if each != nil {
			each(arg, res.removed, res.err)
		}
		if first == nil {
			first = res.err
		}
	}
	if first == nil {
		first = collected
	}
	return first
}

// deleted are the lines of an image that is gone: its id, and in docker's words
// the layers that went with it, the uppermost first.
func (s *Store) deleted(img *named, layers map[string]bool) []Removed {
	out := []Removed{{Deleted: img.ID}}
	if s.opts.Podman {
		return out
	}
	chains := identity.ChainIDs(slices.Clone(img.Layers))
	for _, c := range slices.Backward(chains) {
		if layers[string(c)] {
			out = append(out, Removed{Deleted: c})
			delete(layers, string(c))
		}
	}
	return out
}

// collect frees what nothing leads to, and names the layers that went.
func (s *Store) collect(ctx context.Context) (layers map[string]bool, err error) {
	res, err := s.collector().Collect(ctx, gc.Options{})
	for _, p := range res.Problems {
		s.opts.Warn(p)
	}
	layers = map[string]bool{}
	for _, f := range res.Freed {
		if f.Kind == gc.SnapshotKind {
			layers[f.ID] = true
		}
	}
	return layers, err
}

// removal is one rmi: the catalog as it changes from argument to argument.
type removal struct {
	s    *Store
	o    RemoveOptions
	all  []named
	gone []*named
}

// one removes what one argument names. gone is the image if nothing names it
// any more.
func (r *removal) one(ctx context.Context, arg string) (out []Removed, gone *named, err error) {
	img, name, err := r.find(ctx, arg)
	if err != nil {
		return nil, nil, err
	}
	use := r.o.InUse(img.ID)
	if name != "" {
		if len(img.keys) == 1 || single(img) {
			if err := r.check(img, use, arg, true); err != nil {
				return nil, nil, err
			}
		}
		drop := []string{name}
		if rest := siblings(img, name); len(rest) > 0 {
			drop = append(drop, rest...)
		}
		if out, err = r.untag(ctx, img, drop); err != nil || len(img.keys) > 0 {
			return out, nil, err
		}
		return out, r.forget(ctx, img), nil
	}
	if !single(img) && !r.o.Force {
		return nil, nil, fault.New(fault.Conflict, "conflict: unable to delete %s (must be forced) - image is referenced in multiple repositories", ref.Short(img.ID))
	}
	if err := r.check(img, use, arg, false); err != nil {
		return nil, nil, err
	}
	if out, err = r.untag(ctx, img, slices.Clone(img.keys)); err != nil {
		return out, nil, err
	}
	return out, r.forget(ctx, img), nil
}

// find finds an image in the removal's own catalog.
func (r *removal) find(ctx context.Context, arg string) (*named, string, error) {
	img, name, err := r.s.findIn(r.all, arg)
	if err != nil && isBaseTyped(r.s, arg) {
		return nil, "", r.s.noSuch(arg)
	}
	return img, name, err
}

// single says that at most one tag, with any digests, names the image.
func single(img *named) bool { return len(img.Names) <= 1 }

// siblings are the digest names of name's repository if name is its last tag.
func siblings(img *named, name string) []string {
	repo, isDigest := cutDigest(name)
	if isDigest {
		return nil
	}
	var out []string
	for _, k := range img.keys {
		other, otherDigest := cutDigest(k)
		switch {
		case k == name || other != repo:
		case !otherDigest:
			return nil
		default:
			out = append(out, k)
		}
	}
	return out
}

// check refuses to take an image from its containers.
func (r *removal) check(img *named, use []InUse, arg string, byName bool) error {
	for _, c := range use {
		switch {
		case c.Running && !byName:
			return fault.New(fault.Conflict, "conflict: unable to delete %s (cannot be forced) - image is being used by running container %s", ref.Short(img.ID), c.Container)
		case !r.o.Force && byName:
			return fault.New(fault.Conflict, "conflict: unable to remove repository reference %q (must force) - container %s is using its referenced image %s", arg, c.Container, ref.Short(img.ID))
		case !r.o.Force:
			return fault.New(fault.Conflict, "conflict: unable to delete %s (must be forced) - image is being used by stopped container %s", ref.Short(img.ID), c.Container)
		}
	}
	return nil
}

// untag removes names; docker's lines also show the digests that went with
// the last tag.
func (r *removal) untag(ctx context.Context, img *named, keys []string) (out []Removed, err error) {
	digests := slices.Clone(img.Digests)
	for _, k := range keys {
		n, err := r.s.names.Get(ctx, k)
		if err == nil {
			err = r.s.names.Delete(ctx, k, images.DeleteTarget(&n.Target))
		}
		if err != nil && !errdefs.IsNotFound(err) {
			return out, err
		}
		img.keys = slices.DeleteFunc(img.keys, func(x string) bool { return x == k })
		img.Names = slices.DeleteFunc(img.Names, func(x string) bool { return x == k })
		if !strings.HasPrefix(k, dangling) {
			out = append(out, Removed{Untagged: r.s.Familiar(k)})
		}
		repo, isDigest := cutDigest(k)
		img.Digests = slices.DeleteFunc(img.Digests, func(d string) bool {
			base, _ := cutDigest(d)
			return d == k || !isDigest && base == repo && !slices.ContainsFunc(img.keys, func(x string) bool { o, _ := cutDigest(x); return o == repo })
		})
	}
	for _, d := range digests {
		if !slices.Contains(img.Digests, d) && !slices.ContainsFunc(out, func(o Removed) bool { return o.Untagged == r.s.Familiar(d) }) {
			out = append(out, Removed{Untagged: r.s.Familiar(d)})
		}
	}
	return out, nil
}

// forget takes an image out of the catalog. One that a container uses stays
// with a name that nobody sees: the container's layers need it.
func (r *removal) forget(ctx context.Context, img *named) *named {
	if len(r.o.InUse(img.ID)) > 0 {
		if err := r.s.names.Put(ctx, images.Image{Name: dangling + string(img.Target.Digest), Target: img.Target}); err != nil {
			r.s.opts.Warn(err)
		}
		return nil
	}
	gone := *img
	r.gone = append(r.gone, &gone)
	for t := range img.targets {
		removeSummary(r.s.summaryPath(t))
	}
	r.all = slices.DeleteFunc(r.all, func(n named) bool { return n.ID == gone.ID })
	return &gone
}

// Prune removes images without a name, or all that no container uses.
func (s *Store) Prune(ctx context.Context, o PruneOptions) (Pruned, error) {
	if o.InUse == nil {
		o.InUse = func(digest.Digest) []InUse { return nil }
	}
	keep, err := s.filter(ctx, o.Filters)
	if err != nil {
		return Pruned{}, err
	}
	all, err := s.catalog(ctx)
	if err != nil {
		return Pruned{}, err
	}
	r := &removal{s: s, o: RemoveOptions{Force: true, InUse: o.InUse}, all: slices.Clone(all)}
	var out Pruned
	var gone []*named
	for i := range all {
		img := &all[i]
		if (!o.All && !img.Dangling()) || !keep(&img.Image) || len(o.InUse(img.ID)) > 0 {
			continue
		}
		lines, err := r.untag(ctx, img, slices.Clone(img.keys))
		out.Removed = append(out.Removed, lines...)
		if err != nil {
			return out, err
		}
		gone = append(gone, r.forget(ctx, img))
	}
	res, err := s.collector().Collect(ctx, gc.Options{})
	layers := map[string]bool{}
	for _, f := range res.Freed {
		if f.Kind == gc.SnapshotKind {
			layers[f.ID] = true
		}
	}
	for _, img := range gone {
		out.Removed = append(out.Removed, s.deleted(img, layers)...)
	}
	out.Reclaimed = res.Bytes
	for _, p := range res.Problems {
		err = errors.Join(err, p)
	}
	return out, err
}

func (s *Store) collector() *gc.Collector {
	return &gc.Collector{Content: s.content, Names: s.names, Leases: s.leases, Snapshots: s.layers,
		Locks: s.path("locks"), Quarantine: s.path("quarantine")}
}
