package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"berth/base/fault"
	"berth/image/lease"
	"berth/image/library"
	"berth/image/manifest"
	"berth/image/ref"
	"berth/image/registry"
)

// Push sends an image, or all tags of a repository: blobs that the registry has
// are skipped, those of its other repositories mounted there, the rest sent at
// once. Layers that are kept uncompressed are compressed first, and that is
// remembered, so that a second push sends nothing.
func (s *Store) Push(ctx context.Context, r PushRequest) ([]Pushed, error) {
	name, err := ref.Stored(r.Name)
	if err != nil {
		return nil, err
	}
	client, err := s.client(r.Access, r.Progress)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	h, err := s.lib.Hold(ctx, "push")
	if err != nil {
		return nil, err
	}
	out, err := pushAll(ctx, s, h, client, name, r)
	return out, errors.Join(err, h.Release(ctx))
}

func pushAll(ctx context.Context, s *Store, h *library.Held, client *registry.Client, name ref.Ref, r PushRequest) ([]Pushed, error) {
	type one struct {
		source string
		to     ref.Ref
	}
	list := []one{{r.Source, name.OrLatest()}}
	if r.AllTags {
		all, err := s.lib.Names.List(ctx)
		if err != nil {
			return nil, err
		}
		list = nil
		for _, n := range all {
			if t, err := ref.Stored(n.Name); err == nil && t.Tag != "" && t.Repository() == name.Repository() {
				list = append(list, one{n.Name, t})
			}
		}
		if len(list) == 0 {
			return nil, fault.New(fault.NotFound, "An image does not exist locally with the tag: %s", name.Repository().FamiliarName())
		}
	}
	var out []Pushed
	for _, o := range list {
		p := &pusher{s: s, client: client, lease: h, to: o.to, r: r, tell: teller(r.Progress, o.to.Tag)}
		done, err := p.push(ctx, o.source)
		if err != nil {
			return out, err
		}
		out = append(out, done)
	}
	return out, nil
}

// pusher sends one image under one name.
type pusher struct {
	s      *Store
	client *registry.Client
	lease  *library.Held
	to     ref.Ref
	r      PushRequest
	tell   func(Progress)
	sent   atomic.Int64
}

func (p *pusher) push(ctx context.Context, source string) (Pushed, error) {
	img, err := findMeant(ctx, p.s, source)
	if fault.Is(err, fault.NotFound) {
		return Pushed{}, fault.New(fault.NotFound, "An image does not exist locally with the tag: %s", p.to.FamiliarName())
	}
	if err != nil {
		return Pushed{}, err
	}
	name, target := img.name, img.target
	if err := p.lease.Keep(ctx, lease.ContentType, string(target.Digest)); err != nil {
		return Pushed{}, err
	}
	doc, err := p.s.lib.Document(ctx, target)
	if err != nil {
		return Pushed{}, err
	}
	if doc.Index != nil {
		doc, err = p.index(ctx, doc)
	} else {
		doc, err = p.image(ctx, doc)
	}
	if err != nil {
		return Pushed{}, err
	}
	if _, err := p.client.PushManifest(ctx, p.to, doc.MediaType, doc.Raw()); err != nil {
		return Pushed{}, err
	}
	if name != "" && p.to.String() == name {
		if err := p.s.lib.Name(ctx, library.Naming{Name: name, Target: target, Source: string(doc.Digest)}); err != nil {
			return Pushed{}, err
		}
	}
	return Pushed{Name: p.to.String(), Digest: doc.Digest, Size: int64(len(doc.Raw())), Sent: p.sent.Load()}, nil
}

// index sends what is here of an index. If platforms are missing, or one was
// asked for, it is the manifest of that platform, or of those, that is sent.
func (p *pusher) index(ctx context.Context, doc *manifest.Document) (*manifest.Document, error) {
	want := manifest.Host()
	if p.r.Platform != "" {
		var err error
		if want, err = manifest.ParsePlatform(p.r.Platform); err != nil {
			return nil, err
		}
		child, err := manifest.Select(doc.Index, want)
		if err != nil {
			return nil, err
		}
		one, err := p.s.lib.Document(ctx, child)
		if err != nil {
			return nil, err
		}
		return p.image(ctx, one)
	}
	var here []ocispec.Descriptor
	for _, m := range doc.Index.Manifests {
		if _, err := p.s.lib.Content.Info(ctx, m.Digest); err == nil {
			here = append(here, m)
		}
	}
	if len(here) < len(doc.Index.Manifests) {
		// Docker sends the one platform that it has.
		child, err := p.s.lib.Present(ctx, doc, want)
		if err != nil {
			return nil, err
		}
		one, err := p.s.lib.Document(ctx, child)
		if err != nil {
			return nil, err
		}
		return p.image(ctx, one)
	}
	if err := p.members(ctx, p.client, doc, true); err != nil {
		return nil, err
	}
	return doc, nil
}

// image sends a manifest's blobs and gives the manifest to send, which is
// another one if layers had to be compressed.
func (p *pusher) image(ctx context.Context, doc *manifest.Document) (*manifest.Document, error) {
	m := *doc.Manifest
	m.Layers = slices.Clone(m.Layers)
	for _, l := range m.Layers {
		p.tell(Progress{Digest: l.Digest, Step: StepPreparing, Total: l.Size})
	}
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(library.AtOnce)
	for i := range m.Layers {
		group.Go(func() error {
			l, err := p.compressed(inner, m.Layers[i])
			if err != nil {
				return err
			}
			if err := p.blob(inner, l, m.Layers[i]); err != nil {
				return fmt.Errorf("layer %s: %w", l.Digest, err)
			}
			m.Layers[i] = l
			return nil
		})
	}
	group.Go(func() error { return p.blob(inner, m.Config, m.Config) })
	if err := group.Wait(); err != nil {
		return nil, err
	}
	m, err := p.words(m)
	if err != nil {
		return nil, err
	}
	same := func(a, b ocispec.Descriptor) bool { return a.Digest == b.Digest }
	if m.MediaType == doc.Manifest.MediaType && slices.EqualFunc(m.Layers, doc.Manifest.Layers, same) {
		return doc, nil
	}
	made, err := manifest.NewManifest(m)
	if err != nil {
		return nil, err
	}
	return made, p.s.lib.Put(ctx, made.Descriptor(), made.Raw(), made.GCLabels(nil))
}

// words gives a manifest the media types that were asked for. Layers that were
// compressed with zstd have to have OCI's: nobody reads others.
func (p *pusher) words(m ocispec.Manifest) (ocispec.Manifest, error) {
	switch {
	case p.r.Format == ManifestDocker:
		return manifest.ToDocker(m)
	case p.r.Format == ManifestOCI, p.r.Compression != "" && manifest.HasDockerZstd(&m):
		return manifest.ToOCI(m), nil
	}
	return m, nil
}

// blob sends one blob unless it is there. shown is the layer as it is here.
func (p *pusher) blob(ctx context.Context, desc, shown ocispec.Descriptor) error {
	tell := func(step Step, now int64, detail string) {
		if _, isLayer := manifest.LayerOf(desc.MediaType); isLayer {
			p.tell(Progress{Digest: shown.Digest, Step: step, Current: now, Total: desc.Size, Detail: detail})
		}
	}
	there, err := p.client.Exists(ctx, p.to, desc)
	if err != nil {
		return err
	}
	if there {
		tell(StepPresent, desc.Size, "")
		return nil
	}
	info, err := p.s.lib.Content.Info(ctx, desc.Digest)
	if err != nil {
		return err
	}
	source := manifest.SourceLabel + p.to.Domain
	for from := range strings.SplitSeq(info.Labels[source], ",") {
		if from == "" || from == p.to.Path {
			continue
		}
		if mounted, err := p.client.MountBlob(ctx, p.to, desc, from); err == nil && mounted {
			tell(StepMounted, desc.Size, from)
			return nil
		}
	}
	r, err := p.s.lib.Content.ReaderAt(ctx, desc)
	if err != nil {
		return err
	}
	defer r.Close()
	tell(StepPushing, 0, "")
	err = p.client.PushBlob(ctx, p.to, desc, func(offset int64) (io.ReadCloser, error) {
		return io.NopCloser(io.NewSectionReader(r, offset, r.Size()-offset)), nil
	}, func(sent int64) { tell(StepPushing, sent, "") })
	if err != nil {
		return err
	}
	if _, isLayer := manifest.LayerOf(desc.MediaType); isLayer {
		p.sent.Add(desc.Size)
	}
	tell(StepPushed, desc.Size, "")
	repos := strings.FieldsFunc(info.Labels[source], func(c rune) bool { return c == ',' })
	if len(repos) < 16 && !slices.Contains(repos, p.to.Path) {
		return p.s.lib.Label(ctx, info, map[string]string{source: strings.Join(append(repos, p.to.Path), ",")})
	}
	return nil
}
