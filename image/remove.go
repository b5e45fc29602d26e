package image

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/base/fault"
	"berth/image/library"
	"berth/image/names"
	"berth/image/ref"
)

// Remove is rmi of names or ids, with one collection at the end: the space is
// free when it returns. each is called for every argument in its order; the
// error is the first argument's that failed, or the collection's.
func (s *Store) Remove(ctx context.Context, namesOrIDs []string, o RemoveOptions, each func(arg string, r []Removed, err error)) error {
	if o.InUse == nil {
		o.InUse = func(digest.Digest) []InUse { return nil }
	}
	all, err := s.lib.Catalog(ctx)
	if err != nil {
		return err
	}
	r := &removal{s: s, o: o, all: all, names: s.lib.Names.Later()}
	type result struct {
		removed []Removed
		gone    []*library.Entry
		err     error
	}
	results := make([]result, len(namesOrIDs))
	for i, arg := range namesOrIDs {
		res := &results[i]
		res.removed, res.gone, res.err = r.withParents(ctx, arg)
	}
	var layers map[string]bool
	collected := r.sync()
	if len(r.gone) > 0 && collected == nil {
		library.EndPulls(ctx, s.lib, func(name string) bool { return slices.Contains(r.dropped, name) })
		layers, _, collected = s.lib.Collect(ctx)
	}
	var first error
	for i, arg := range namesOrIDs {
		res := results[i]
		for _, gone := range res.gone {
			res.removed = append(res.removed, deletedLines(s, gone, layers)...)
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
func deletedLines(s *Store, img *library.Entry, layers map[string]bool) []Removed {
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

// removal is one rmi: the catalog as it changes from argument to argument.
type removal struct {
	s    *Store
	o    RemoveOptions
	all  []library.Entry
	gone []*library.Entry
	// dropped are the names that were removed.
	dropped []string
	names   *names.Store // synced once, by sync
	known   map[string][]ocispec.History
}

// withParents removes what one argument names, and its parents if it is gone.
func (r *removal) withParents(ctx context.Context, arg string) ([]Removed, []*library.Entry, error) {
	out, img, err := r.one(ctx, arg)
	if err != nil || img == nil {
		return out, nil, err
	}
	more, gone, err := r.parents(ctx, img)
	return append(out, more...), append([]*library.Entry{img}, gone...), err
}

// sync makes what untag did durable. Nothing is collected before: a name that
// comes back in a power cut must find its image.
func (r *removal) sync() error {
	if len(r.dropped) == 0 {
		return nil
	}
	return r.names.Sync()
}

// one removes what one argument names. gone is the image if nothing names it
// any more.
func (r *removal) one(ctx context.Context, arg string) (out []Removed, gone *library.Entry, err error) {
	img, name, err := r.s.findIn(r.all, arg)
	if err != nil {
		return nil, nil, err
	}
	use := r.o.InUse(img.ID)
	if name != "" {
		if len(img.Keys) == 1 || single(img) {
			if err := r.check(img, use, arg, true); err != nil {
				return nil, nil, err
			}
		}
		drop := []string{name}
		if rest := siblings(img, name); len(rest) > 0 {
			drop = append(drop, rest...)
		}
		if out, err = r.untag(ctx, img, drop); err != nil || len(img.Keys) > 0 {
			return out, nil, err
		}
		return out, r.forget(ctx, img), nil
	}
	if r.hasChildren(img) {
		return nil, nil, fault.New(fault.Conflict, "conflict: unable to delete %s (cannot be forced) - image has dependent child images", ref.Short(img.ID))
	}
	if !single(img) && !r.o.Force {
		return nil, nil, fault.New(fault.Conflict, "conflict: unable to delete %s (must be forced) - image is referenced in multiple repositories", ref.Short(img.ID))
	}
	if err := r.check(img, use, arg, false); err != nil {
		return nil, nil, err
	}
	if out, err = r.untag(ctx, img, slices.Clone(img.Keys)); err != nil {
		return out, nil, err
	}
	return out, r.forget(ctx, img), nil
}

// single says that at most one tag, with any digests, names the image.
func single(img *library.Entry) bool { return len(img.Names) <= 1 }

// siblings are the digest names of name's repository if name is its last tag.
func siblings(img *library.Entry, name string) []string {
	repo, isDigest := library.CutDigest(name)
	if isDigest {
		return nil
	}
	var out []string
	for _, k := range img.Keys {
		other, otherDigest := library.CutDigest(k)
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
func (r *removal) check(img *library.Entry, use []InUse, arg string, byName bool) error {
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
func (r *removal) untag(ctx context.Context, img *library.Entry, keys []string) (out []Removed, err error) {
	digests := slices.Clone(img.Digests)
	for _, k := range keys {
		n, err := r.names.Get(ctx, k)
		if err == nil {
			err = r.names.Delete(ctx, k, n.Target.Digest)
		}
		if err != nil && !errdefs.IsNotFound(err) {
			return out, err
		}
		r.dropped = append(r.dropped, k)
		img.Keys = slices.DeleteFunc(img.Keys, func(x string) bool { return x == k })
		img.Names = slices.DeleteFunc(img.Names, func(x string) bool { return x == k })
		if !strings.HasPrefix(k, library.Dangling) {
			out = append(out, Removed{Untagged: r.s.Familiar(k)})
		}
		repo, isDigest := library.CutDigest(k)
		img.Digests = slices.DeleteFunc(img.Digests, func(d string) bool {
			base, _ := library.CutDigest(d)
			return d == k || !isDigest && base == repo && !slices.ContainsFunc(img.Keys, func(x string) bool { o, _ := library.CutDigest(x); return o == repo })
		})
	}
	for _, d := range digests {
		if !slices.Contains(img.Digests, d) && !slices.ContainsFunc(out, func(o Removed) bool { return o.Untagged == r.s.Familiar(d) }) {
			out = append(out, Removed{Untagged: r.s.Familiar(d)})
		}
	}
	return out, nil
}

// forget takes an image out of the catalog. One that a container uses, or that
// another was made from, stays with a name that nobody sees.
func (r *removal) forget(ctx context.Context, img *library.Entry) *library.Entry {
	if len(r.o.InUse(img.ID)) > 0 || r.hasChildren(img) {
		kept := names.Image{Name: library.Dangling + string(img.Target.Digest), Target: img.Target}
		if err := r.s.lib.Names.Put(ctx, kept); err != nil {
			r.s.opts.Warn(err)
		}
		img.Keys = append(img.Keys, kept.Name)
		return nil
	}
	gone := *img
	r.gone = append(r.gone, &gone)
	for _, t := range img.Targets {
		library.RemoveSummary(r.s.lib.SummaryPath(t))
	}
	r.all = slices.DeleteFunc(r.all, func(n library.Entry) bool { return n.ID == gone.ID })
	return &gone
}

// Prune removes images without a name, or all that no container uses.
func (s *Store) Prune(ctx context.Context, o PruneOptions) (Pruned, error) {
	if o.InUse == nil {
		o.InUse = func(digest.Digest) []InUse { return nil }
	}
	keep, err := filterBy(ctx, s, o.Filters)
	if err != nil {
		return Pruned{}, err
	}
	all, err := s.lib.Catalog(ctx)
	if err != nil {
		return Pruned{}, err
	}
	r := &removal{s: s, o: RemoveOptions{Force: true, InUse: o.InUse}, all: slices.Clone(all), names: s.lib.Names.Later()}
	var gone []goneImage
	for i := range all {
		img := &all[i]
		if (!o.All && !img.Dangling()) || !keep(&img.Image) || len(o.InUse(img.ID)) > 0 || img.Bare() && r.hasChildren(img) {
			continue
		}
		lines, err := r.untag(ctx, img, slices.Clone(img.Keys))
		gone = append(gone, goneImage{untagged: lines})
		if err != nil {
			return inOrder(gone, nil), errors.Join(err, r.sync())
		}
		gone[len(gone)-1].entry = r.forget(ctx, img)
	}
	if err := r.sync(); err != nil {
		return inOrder(gone, nil), err
	}
	if o.All {
		library.EndPulls(ctx, s.lib, func(string) bool { return true })
	}
	layers, freed, err := s.lib.Collect(ctx)
	library.DropSummaries(ctx, s.lib)
	out := inOrder(gone, func(e *library.Entry) []Removed { return deletedLines(s, e, layers) })
	out.Reclaimed = freed
	return out, err
}

// goneImage is an image that a prune takes: its names, and then itself.
type goneImage struct {
	untagged []Removed
	entry    *library.Entry
}

// inOrder lists image after image, with what deleted says of each if that is known.
func inOrder(gone []goneImage, deleted func(*library.Entry) []Removed) Pruned {
	var out Pruned
	for _, g := range gone {
		out.Removed = append(out.Removed, g.untagged...)
		if deleted != nil && g.entry != nil {
			out.Removed = append(out.Removed, deleted(g.entry)...)
		}
	}
	return out
}
