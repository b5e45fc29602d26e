package image

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/base/fault"
	"berth/image/lease"
	"berth/image/library"
	"berth/image/manifest"
	"berth/image/ref"
)

// Lists makes manifest lists by hand: docker's and podman's manifest verbs. A
// list is an OCI index under a name of this store; its members are images here,
// or documents of a registry whose layers stay there.
type Lists struct{ store *Store }

// Annotation changes one manifest's entry in a list; empty fields change
// nothing.
type Annotation struct {
	OS, Arch, Variant, OSVersion string
	OSFeatures                   []string
	Annotations                  map[string]string
}

func (a Annotation) apply(d *ocispec.Descriptor) {
	if d.Platform == nil {
		d.Platform = &ocispec.Platform{}
	}
	for to, v := range map[*string]string{&d.Platform.OS: a.OS, &d.Platform.Architecture: a.Arch, &d.Platform.Variant: a.Variant, &d.Platform.OSVersion: a.OSVersion} {
		if v != "" {
			*to = v
		}
	}
	if len(a.OSFeatures) > 0 {
		d.Platform.OSFeatures = a.OSFeatures
	}
	if len(a.Annotations) > 0 {
		if d.Annotations == nil {
			d.Annotations = map[string]string{}
		}
		maps.Copy(d.Annotations, a.Annotations)
	}
}

// Create makes a list with members; with Amend, one that is there gets them as
// well. It gives the list's digest.
func (l *Lists) Create(ctx context.Context, q ListRequest) (digest.Digest, error) {
	r, err := l.store.target(q.List)
	if err != nil {
		return "", err
	}
	_, err = l.store.lib.Names.Get(ctx, r.String())
	if err == nil && !q.Amend {
		return "", fault.New(fault.Exists, "refusing to amend an existing manifest list with no --amend flag")
	}
	if err != nil && !errdefs.IsNotFound(err) {
		return "", err
	}
	return l.change(ctx, r, err != nil, func(d *draft) error { return l.gather(ctx, d, q) })
}

// Add gives a list more members.
func (l *Lists) Add(ctx context.Context, q ListRequest) (digest.Digest, error) {
	r, err := l.store.target(q.List)
	if err != nil {
		return "", err
	}
	return l.change(ctx, r, false, func(d *draft) error { return l.gather(ctx, d, q) })
}

// Annotate changes the entries of members, each a digest or a name.
func (l *Lists) Annotate(ctx context.Context, q ListRequest) (digest.Digest, error) {
	r, err := l.store.target(q.List)
	if err != nil {
		return "", err
	}
	return l.change(ctx, r, false, func(x *draft) error {
		for _, member := range q.Members {
			wanted, err := l.memberDigest(ctx, x, member, q.Access)
			if err != nil {
				return err
			}
			at := slices.IndexFunc(x.Manifests, func(d ocispec.Descriptor) bool { return slices.Contains(wanted, d.Digest) })
			if at < 0 {
				return fault.New(fault.NotFound, "manifest for image %s does not exist in %s", member, q.List)
			}
			q.Set.apply(&x.Manifests[at])
		}
		return nil
	})
}

// Remove takes members out of a list.
func (l *Lists) Remove(ctx context.Context, list string, members []digest.Digest) (digest.Digest, error) {
	r, err := l.store.target(list)
	if err != nil {
		return "", err
	}
	return l.change(ctx, r, false, func(x *draft) error {
		for _, m := range members {
			n := len(x.Manifests)
			x.Manifests = slices.DeleteFunc(x.Manifests, func(d ocispec.Descriptor) bool { return d.Digest == m })
			if len(x.Manifests) == n {
				return fault.New(fault.NotFound, "no manifest %s in %s", m, list)
			}
		}
		return nil
	})
}

// draft is a list in the making.
type draft struct {
	ocispec.Index
	held *library.Held
	// sources are the list's labels that say in which repositories its members
	// are: what is not here is pushed from there.
	sources map[string]string
}

// from notes a repository that members are in.
func (x *draft) from(r ref.Ref) {
	key := manifest.SourceLabel + r.Domain
	paths := repositories(x.sources, r.Domain)
	if !slices.Contains(paths, r.Path) {
		x.sources[key] = strings.Join(append(paths, r.Path), ",")
	}
}

// repositories are the paths that a blob's labels name of a registry.
func repositories(labels map[string]string, domain string) []string {
	return strings.FieldsFunc(labels[manifest.SourceLabel+domain], func(c rune) bool { return c == ',' })
}

// change reads a list, lets f change it, and names the new one.
func (l *Lists) change(ctx context.Context, r ref.Ref, fresh bool, f func(*draft) error) (_ digest.Digest, err error) {
	h, err := l.store.lib.Hold(ctx, "manifest")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, h.Release(ctx)) }()
	x := &draft{Index: ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}, held: h}
	x.sources = map[string]string{}
	if !fresh {
		doc, err := l.local(ctx, r)
		if err != nil {
			return "", err
		}
		if x.sources, err = l.sources(ctx, doc); err != nil {
			return "", err
		}
		x.Index = *doc.Index
		x.Manifests = slices.Clone(x.Manifests)
		for _, m := range x.Manifests {
			if err := h.Keep(ctx, lease.ContentType, string(m.Digest)); err != nil {
				return "", err
			}
		}
	}
	if err := f(x); err != nil {
		return "", err
	}
	doc, err := manifest.NewIndex(x.Index)
	if err != nil {
		return "", err
	}
	if err := h.Keep(ctx, lease.ContentType, string(doc.Digest)); err != nil {
		return "", err
	}
	here := func(i int) bool {
		_, err := l.store.lib.Content.Info(ctx, x.Manifests[i].Digest)
		return err == nil
	}
	labels := doc.GCLabels(here)
	maps.Copy(labels, x.sources)
	if err := l.store.lib.Put(ctx, doc.Descriptor(), doc.Raw(), labels); err != nil {
		return "", err
	}
	if err := l.store.lib.Sync(ctx, h); err != nil {
		return "", err
	}
	if old, err := l.store.lib.Names.Get(ctx, r.String()); err == nil && old.Target.Digest != doc.Digest {
		// A list that was changed is not kept: nobody had its old form.
		if err := l.store.lib.Names.Delete(ctx, r.String()); err != nil {
			return "", err
		}
	}
	return doc.Digest, l.store.lib.Name(ctx, library.Naming{Name: r.String(), Target: doc.Descriptor()})
}

// sources are the labels of a list that say where its members are.
func (l *Lists) sources(ctx context.Context, doc *manifest.Document) (map[string]string, error) {
	info, err := l.store.lib.Content.Info(ctx, doc.Digest)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for k, v := range info.Labels {
		if strings.HasPrefix(k, manifest.SourceLabel) {
			out[k] = v
		}
	}
	return out, nil
}

func (l *Lists) local(ctx context.Context, r ref.Ref) (*manifest.Document, error) {
	n, err := l.store.lib.Names.Get(ctx, r.String())
	if errdefs.IsNotFound(err) {
		return nil, fault.New(fault.NotFound, "no such manifest: %s", r.Familiar())
	}
	if err != nil {
		return nil, err
	}
	doc, err := l.store.lib.Document(ctx, n.Target)
	if err != nil {
		return nil, err
	}
	if doc.Index == nil {
		return nil, fault.New(fault.Invalid, "%s is an image, not a manifest list", r.Familiar())
	}
	return doc, nil
}

// gather adds the entries of members to an index, or replaces those of the same
// digest.
func (l *Lists) gather(ctx context.Context, x *draft, q ListRequest) error {
	for _, m := range q.Members {
		entries, err := l.entries(ctx, x, m, q.All, q.Access)
		if err != nil {
			return err
		}
		for _, e := range entries {
			q.Set.apply(&e)
			x.Manifests = slices.DeleteFunc(x.Manifests, func(d ocispec.Descriptor) bool { return d.Digest == e.Digest })
			x.Manifests = append(x.Manifests, e)
		}
	}
	return nil
}

func (l *Lists) memberDigest(ctx context.Context, x *draft, member string, a Access) ([]digest.Digest, error) {
	if d := digest.Digest(member); d.Validate() == nil {
		return []digest.Digest{d}, nil
	}
	entries, err := l.entries(ctx, x, member, true, a)
	var out []digest.Digest
	for _, e := range entries {
		out = append(out, e.Digest)
	}
	return out, err
}

// entries are what a member puts into a list: found here, else in its registry.
func (l *Lists) entries(ctx context.Context, x *draft, member string, all bool, a Access) ([]ocispec.Descriptor, error) {
	s := l.store
	f := &fetcher{s: s, lease: x.held, tell: func(Progress) {}}
	var target ocispec.Descriptor
	img, err := findMeant(ctx, s, member)
	switch {
	case err == nil:
		target = img.target
		if from, err := ref.Stored(img.name); err == nil && img.labels[library.SourceLabel] != "" {
			x.from(from) // its other platforms may be there only
		}
	case fault.Is(err, fault.NotFound):
		if f.ref, err = s.parse(member); err != nil {
			return nil, err
		}
		if f.client, err = s.client(a, nil); err != nil {
			return nil, err
		}
		defer f.client.Close()
		if target, _, err = f.client.Resolve(ctx, f.ref.OrLatest().Pinned()); err != nil {
			return nil, err
		}
		x.from(f.ref)
	default:
		return nil, err
	}
	doc, err := f.document(ctx, target, func(*manifest.Document) func(int) bool { return func(int) bool { return f.client == nil } })
	if err != nil {
		return nil, err
	}
	if doc.Index != nil {
		return choose(doc, manifest.Host(), all)
	}
	cfg, err := f.config(ctx, doc)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", member, err)
	}
	d := doc.Descriptor()
	p := cfg.Platform()
	d.Platform = &p
	return []ocispec.Descriptor{d}, nil
}

// Inspect gives the document's bytes: of a list here, else from the registry.
func (l *Lists) Inspect(ctx context.Context, name string, a Access) ([]byte, error) {
	s := l.store
	refs, err := s.local(name)
	if err != nil {
		return nil, err
	}
	for _, one := range refs {
		if doc, err := l.local(ctx, one); err == nil {
			return doc.Raw(), nil
		}
	}
	one, err := s.parse(name)
	if err != nil {
		return nil, err
	}
	client, err := s.client(a, nil)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	one = one.OrLatest().Pinned()
	desc, _, err := client.Resolve(ctx, one)
	if err != nil {
		if fault.Is(err, fault.NotFound) {
			return nil, fault.New(fault.NotFound, "no such manifest: %s", one.Familiar())
		}
		return nil, err
	}
	return client.Manifest(ctx, one, desc)
}
