package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/containerd/errdefs"
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
	// origins are where to find what is not here: of a list made here.
	origins []origin
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
	switch {
	case p.r.Platform != "":
		if doc, err = p.onePlatform(ctx, doc); err == nil {
			doc, err = p.image(ctx, doc)
		}
	case doc.Index != nil:
		doc, err = p.index(ctx, doc)
	default:
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

// onePlatform is the manifest of the platform that was asked for.
func (p *pusher) onePlatform(ctx context.Context, doc *manifest.Document) (*manifest.Document, error) {
	want, err := manifest.ParsePlatform(p.r.Platform)
	if err != nil {
		return nil, err
	}
	docs, err := p.s.lib.Read(ctx, doc.Descriptor(), want)
	if err != nil {
		return nil, err
	}
	return docs.Manifest, rightPlatform(p.r.Source, want, docs.Config)
}

// rightPlatform refuses an image that was asked for as another platform's. Errors
// are docker's words.
func rightPlatform(name string, want manifest.Platform, have *manifest.Config) error {
	if manifest.Rank(want, have.Platform()) == 0 {
		return nil
	}
	return WrongPlatform(name, manifest.PlatformString(want), manifest.PlatformString(have.Platform()))
}

// WrongPlatform is the error of an image that is not of the platform that was asked
// for.
func WrongPlatform(name, want, have string) error {
	return fault.New(fault.NotFound, "image with reference %s was found but does not match the specified platform: wanted %s, actual: %s", name, want, have)
}

// SamePlatform says whether an image is of the platform that was asked for, as
// os/arch[/variant] or one word of them; a variant that was not asked for fits.
func SamePlatform(asked, have string) bool {
	a, err := manifest.ParsePlatform(asked)
	b, other := manifest.ParsePlatform(have)
	if err != nil || other != nil {
		return false
	}
	if strings.Count(asked, "/") < 2 {
		a.Variant, b.Variant = "", ""
	}
	return manifest.Rank(a, b) == 0
}

// index sends what is here of an index. If platforms are missing, it is the
// manifest of the one that is here that is sent.
func (p *pusher) index(ctx context.Context, doc *manifest.Document) (*manifest.Document, error) {
	var here []ocispec.Descriptor
	for _, m := range doc.Index.Manifests {
		if _, err := p.s.lib.Content.Info(ctx, m.Digest); err == nil {
			here = append(here, m)
		}
	}
	if len(here) < len(doc.Index.Manifests) {
		// Docker sends the one platform that it has.
		child, err := p.s.lib.Present(ctx, doc, manifest.Host())
		if err != nil {
			return nil, err
		}
		one, err := p.s.lib.Document(ctx, child)
		if err != nil {
			return nil, err
		}
		return p.image(ctx, one)
	}
	return p.members(ctx, doc, true)
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
	if err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	here, repos := err == nil, repositories(info.Labels, p.to.Domain)
	if from := p.mount(ctx, desc, repos); from != "" {
		tell(StepMounted, desc.Size, from)
		return nil
	}
	tell(StepPushing, 0, "")
	send := p.passOn
	if here {
		send = p.send
	}
	if err := send(ctx, desc, func(sent int64) { tell(StepPushing, sent, "") }); err != nil {
		return err
	}
	if _, isLayer := manifest.LayerOf(desc.MediaType); isLayer {
		p.sent.Add(desc.Size)
	}
	tell(StepPushed, desc.Size, "")
	if here && len(repos) < 16 && !slices.Contains(repos, p.to.Path) {
		return p.s.lib.Label(ctx, info, map[string]string{manifest.SourceLabel + p.to.Domain: strings.Join(append(repos, p.to.Path), ",")})
	}
	return nil
}

// mount has the registry take a blob over from another of its repositories, and
// gives that one's path; "" if none has it.
func (p *pusher) mount(ctx context.Context, desc ocispec.Descriptor, paths []string) string {
	for _, o := range p.origins {
		if o.ref.Domain == p.to.Domain {
			paths = append(paths[:len(paths):len(paths)], o.ref.Path)
		}
	}
	for _, from := range paths {
		if from == p.to.Path {
			continue
		}
		if mounted, err := p.client.MountBlob(ctx, p.to, desc, from); err == nil && mounted {
			return from
		}
	}
	return ""
}

// send sends a blob that is here.
func (p *pusher) send(ctx context.Context, desc ocispec.Descriptor, report func(int64)) error {
	r, err := p.s.lib.Content.ReaderAt(ctx, desc)
	if err != nil {
		return err
	}
	defer r.Close()
	return p.client.PushBlob(ctx, p.to, desc, func(offset int64) (io.ReadCloser, error) {
		return io.NopCloser(io.NewSectionReader(r, offset, r.Size()-offset)), nil
	}, report)
}
