package image

import (
	"context"
	"errors"
	"slices"

	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/base/fault"
	"berth/image/library"
	"berth/image/manifest"
	"berth/image/ref"
)

// Pull brings an image, or all tags of a repository, into the store: resolve
// the name → its documents → ask the trust policy → all layers at
// once, each streamed through the unpack worker → one sync → the name. What was
// fetched of an interrupted pull is kept for a day and not fetched again.
func (s *Store) Pull(ctx context.Context, r PullRequest) ([]Pulled, error) {
	name, err := ref.Stored(r.Name)
	if err != nil {
		return nil, err
	}
	client, err := s.client(r.Access, r.Progress)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	refs := []ref.Ref{name}
	if r.AllTags {
		tags, err := client.Tags(ctx, name)
		if err != nil {
			return nil, err
		}
		refs = refs[:0]
		for _, t := range tags {
			one, err := name.WithTag(t)
			if err != nil {
				return nil, err
			}
			refs = append(refs, one)
		}
	}
	var out []Pulled
	for _, one := range refs {
		f := &fetcher{s: s, client: client, ref: one, tell: teller(r.Progress, one.Tag)}
		p, err := pullOne(ctx, s, f, r)
		if err != nil {
			return out, err
		}
		out = append(out, p)
	}
	return out, nil
}

func pullOne(ctx context.Context, s *Store, f *fetcher, r PullRequest) (Pulled, error) {
	name := f.ref.Pinned().String()
	if isBase(name) {
		return pulledBase(ctx, s)
	}
	if p, done, err := fromStore(ctx, s, name, r); done || err != nil {
		return p, err
	}
	desc, _, err := f.client.Resolve(ctx, f.ref.Pinned())
	if err != nil {
		if r.Policy == PullNewer && fault.Is(err, fault.Unavailable) {
			r.Policy = PullMissing
			if p, done, lerr := fromStore(ctx, s, name, r); done || lerr != nil {
				return p, lerr
			}
		}
		return Pulled{}, err
	}
	if f.ref.Digest != "" && desc.Digest != f.ref.Digest {
		return Pulled{}, fault.New(fault.Invalid, "pull %s: the registry answered with %s", f.ref.Familiar(), desc.Digest)
	}
	f.target = desc.Digest
	if f.lease, err = library.HoldPull(ctx, s.lib, name); err != nil {
		return Pulled{}, err
	}
	defer f.lease.End()
	fresh, err := fetchTarget(ctx, s, f, desc, r.Platform)
	if err != nil {
		return Pulled{}, err // the lease stays: the next pull goes on from here
	}
	target := desc
	if r.Platform != "" && r.Platform != "all" {
		target = f.one // the name is that platform's, as Docker's is, until another is pulled
	}
	old, err := s.lib.Names.Get(ctx, name)
	if err != nil && !errdefs.IsNotFound(err) {
		return Pulled{}, err
	}
	moved := err != nil || old.Target.Digest != target.Digest || fresh
	if err := s.lib.Name(ctx, library.Naming{Name: name, Target: target, Source: string(desc.Digest)}); err != nil {
		return Pulled{}, err
	}
	if err := f.lease.Release(ctx); err != nil {
		return Pulled{}, err
	}
	library.EndPulls(ctx, s.lib, func(other string) bool { return other == name })
	img, _, err := findImage(ctx, s, name)
	if fault.Is(err, fault.NotFound) { // it was there; another process has removed it
		img, err = Image{ID: f.image, Target: target}, nil
	}
	return Pulled{Image: img, Name: name, Digest: desc.Digest, New: moved}, err
}

// have answers from the store alone if the policy allows that.
func fromStore(ctx context.Context, s *Store, name string, r PullRequest) (Pulled, bool, error) {
	if r.Policy != PullMissing && r.Policy != PullNever {
		return Pulled{}, false, nil
	}
	n, err := s.lib.Names.Get(ctx, name)
	switch {
	case err == nil:
		img, _, err := findImage(ctx, s, name)
		if err == nil {
			return Pulled{Image: img, Name: name, Digest: n.Target.Digest}, true, nil
		}
		if r.Policy == PullNever {
			return Pulled{}, false, err
		}
		return Pulled{}, false, nil // broken here: pull it again
	case !errdefs.IsNotFound(err):
		return Pulled{}, false, err
	case r.Policy == PullNever:
		return Pulled{}, false, s.noSuch(s.Familiar(name))
	}
	return Pulled{}, false, nil
}

// fetchTarget brings a target whole: its documents, and the layers of the platforms
// that are wanted. fresh says whether anything was not there.
func fetchTarget(ctx context.Context, s *Store, f *fetcher, desc ocispec.Descriptor, platform string) (fresh bool, err error) {
	want, all := manifest.Host(), platform == "all"
	if platform != "" && !all {
		if want, err = manifest.ParsePlatform(platform); err != nil {
			return false, err
		}
	}
	var chosen []ocispec.Descriptor
	var noChoice error
	doc, err := f.document(ctx, desc, func(d *manifest.Document) func(int) bool {
		if d.Index == nil {
			return nil
		}
		chosen, noChoice = choose(d, want, all)
		return func(i int) bool {
			return slices.ContainsFunc(chosen, func(c ocispec.Descriptor) bool { return c.Digest == d.Index.Manifests[i].Digest })
		}
	})
	if err = errors.Join(err, noChoice); err != nil {
		return false, err
	}
	if doc.Index == nil {
		return fetchImage(ctx, s, f, doc, nil, platform)
	}
	for _, c := range chosen {
		var got bool
		if manifest.IsIndex(c.MediaType) {
			got, err = fetchTarget(ctx, s, f, c, platform)
		} else {
			var child *manifest.Document
			if child, err = f.document(ctx, c, nil); err == nil {
				got, err = fetchImage(ctx, s, f, child, doc, "")
			}
		}
		if err != nil {
			return fresh, err
		}
		fresh = fresh || got
	}
	return fresh, nil
}

// choose says which entries of an index are to come.
func choose(d *manifest.Document, want manifest.Platform, all bool) ([]ocispec.Descriptor, error) {
	if all {
		return manifest.Images(d.Index), nil
	}
	one, err := manifest.Select(d.Index, want)
	if err != nil {
		return nil, err
	}
	return []ocispec.Descriptor{one}, nil
}

// fetchImage brings one manifest's configuration and layers. An image without
// an index has to be of the platform that was asked for by name.
func fetchImage(ctx context.Context, s *Store, f *fetcher, doc, index *manifest.Document, platform string) (bool, error) {
	if doc.Kind() != manifest.ImageKind {
		return false, fault.New(fault.Unsupported, "%s is no image: its manifest %s is an artifact", f.ref.Familiar(), doc.Digest)
	}
	if err := trusted(ctx, s, f, f.target, doc.Digest); err != nil {
		return false, err
	}
	cfg, err := f.config(ctx, doc)
	if err != nil {
		return false, err
	}
	img := library.Documents{Index: index, Manifest: doc, Config: cfg}
	if err := manifest.CheckLayers(doc.Manifest, cfg); err != nil {
		return false, err
	}
	if platform != "" && platform != "all" && index == nil {
		want, err := manifest.ParsePlatform(platform)
		if err != nil {
			return false, err
		}
		if manifest.Rank(want, cfg.Platform()) < 0 {
			return false, fault.New(fault.NotFound, "image with reference %s was found but does not match the specified platform: wanted %s, actual: %s",
				f.ref.Familiar(), manifest.PlatformString(want), manifest.PlatformString(cfg.Platform()))
		}
	}
	f.image, f.one = cfg.Digest(), doc.Descriptor()
	fresh, err := s.lib.Unpack(ctx, f.lease, img, f.tell, f.layer)
	if err != nil {
		return false, err
	}
	return fresh, s.lib.Sync(ctx, f.lease)
}
