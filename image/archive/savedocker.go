package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/base/fault"
	"berth/image/manifest"
	"berth/image/ref"
)

func isNotFound(err error) bool { return errdefs.IsNotFound(err) || fault.Is(err, fault.NotFound) }

// dockerImage writes one image with uncompressed layers: the config as it is,
// the layers by their diff ids, a manifest that says so.
func (s *saver) dockerImage(ctx context.Context, doc *manifest.Document, names []ref.Ref) error {
	if doc.Kind() != manifest.ImageKind {
		return fault.New(fault.Unsupported, "it is no image that runs: only an OCI archive can hold it")
	}
	m := doc.Manifest
	raw, err := content.ReadBlob(ctx, s.from, m.Config)
	if err != nil {
		return fmt.Errorf("read config %s: %w", m.Config.Digest, err)
	}
	if !manifest.Verify(m.Config.Digest, raw) {
		return fault.New(fault.Invalid, "config %s is damaged in the store", m.Config.Digest)
	}
	config, err := manifest.DecodeConfig(raw)
	if err != nil {
		return err
	}
	if err := manifest.CheckLayers(m, config); err != nil {
		return err
	}
	out := dockerImage{Config: blobName(m.Config.Digest), Layers: []string{}, RepoTags: []string{}}
	plain := v1.Manifest{Config: v1.Descriptor{MediaType: v1.MediaTypeImageConfig, Digest: m.Config.Digest, Size: m.Config.Size}}
	same := doc.MediaType == v1.MediaTypeImageManifest
	for i, l := range m.Layers {
		diffID := config.RootFS.DiffIDs[i]
		size, err := s.layer(ctx, diffID, l)
		if err != nil {
			return fmt.Errorf("layer %d: %w", i, err)
		}
		out.Layers = append(out.Layers, blobName(diffID))
		plain.Layers = append(plain.Layers, v1.Descriptor{MediaType: v1.MediaTypeImageLayer, Digest: diffID, Size: size})
		same = same && l.Digest == diffID
	}
	if !same {
		if doc, err = manifest.NewManifest(plain); err != nil {
			return err
		}
	}
	if err := s.bytes(blobName(m.Config.Digest), raw); err != nil {
		return err
	}
	if err := s.bytes(blobName(doc.Digest), doc.Raw()); err != nil {
		return err
	}
	s.name(doc.Descriptor(), out, names)
	return nil
}

// name notes an image for both lists of the archive; one that is saved under
// two arguments stands in manifest.json once.
func (s *saver) name(d v1.Descriptor, out dockerImage, names []ref.Ref) {
	s.entry(d, Source{Names: names})
	i := slices.IndexFunc(s.docker, func(o dockerImage) bool {
		return o.Config == out.Config && slices.Equal(o.Layers, out.Layers)
	})
	if i < 0 {
		i = len(s.docker)
		s.docker = append(s.docker, out)
	}
	for _, n := range names {
		if tag := n.String(); n.Tag != "" && !slices.Contains(s.docker[i].RepoTags, tag) {
			s.docker[i].RepoTags = append(s.docker[i].RepoTags, tag)
		}
	}
}

// layer writes the tar of a layer and returns its size.
func (s *saver) layer(ctx context.Context, diffID digest.Digest, l v1.Descriptor) (size int64, err error) {
	name := blobName(diffID)
	if size, ok := s.sizes[diffID]; ok {
		return size, nil
	}
	r, size, err := s.layers.OpenTar(ctx, diffID, l)
	if err != nil {
		return 0, fmt.Errorf("open %s: %w", diffID, err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if size < 0 {
		if size, err = s.measure(ctx, diffID, l); err != nil {
			return 0, err
		}
	}
	s.progress(name, size)
	v := hasher(diffID)
	if err := s.sink.file(name, size, io.TeeReader(cancelled{ctx, r}, v)); err != nil {
		return 0, err
	}
	if got := sum(diffID, v); got != diffID {
		return 0, fault.New(fault.Invalid, "%s is damaged in the store: its tar has digest %s", diffID, got)
	}
	s.sizes[diffID] = size
	return size, nil
}

// measure reads a tar only to learn its size, which goes before it.
func (s *saver) measure(ctx context.Context, diffID digest.Digest, l v1.Descriptor) (n int64, err error) {
	r, _, err := s.layers.OpenTar(ctx, diffID, l)
	if err != nil {
		return 0, fmt.Errorf("open %s: %w", diffID, err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return io.Copy(io.Discard, cancelled{ctx, r})
}

// Blobs gives tars from the blobs of a content store, decompressing them.
func Blobs(p content.Provider) Layers { return blobLayers{p} }

type blobLayers struct{ from content.Provider }

func (b blobLayers) OpenTar(ctx context.Context, diffID digest.Digest, l v1.Descriptor) (io.ReadCloser, int64, error) {
	kind, ok := manifest.LayerOf(l.MediaType)
	if !ok {
		return nil, 0, fault.New(fault.Unsupported, "media type %.100q is no layer", l.MediaType)
	}
	r, err := b.from.ReaderAt(ctx, l)
	if err != nil {
		return nil, 0, err
	}
	in := section{io.NewSectionReader(r, 0, r.Size()), r}
	if kind.Compression == manifest.Uncompressed {
		return in, r.Size(), nil
	}
	tar, err := wholeTar(kind.Compression, in)
	return tar, -1, err
}

// section reads a blob from its beginning.
type section struct {
	*io.SectionReader
	io.Closer
}
