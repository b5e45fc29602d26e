package image

import (
	"bytes"
	"context"
	"encoding/json"
	"io"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/image/builtin"
	"berth/image/lease"
	"berth/image/library"
	"berth/image/manifest"
)

// provideBase makes the built-in image in this store: it needs no registry.
func provideBase(ctx context.Context, s *Store) error {
	layer, err := builtin.Layer()
	if err != nil {
		return err
	}
	cfg, err := builtin.Config(manifest.Host())
	if err != nil {
		return err
	}
	raw, err := json.Marshal(cfg)
	if err != nil {
		return err
	}
	return compose(ctx, s, builtin.Name, raw, []ocispec.Descriptor{layer}, func(context.Context, ocispec.Descriptor, digest.Digest) (*library.Stream, error) {
		pr, pw := io.Pipe()
		go func() { pw.CloseWithError(builtin.Tar(pw)) }()
		return &library.Stream{Reader: pr, Close: func() { pr.Close() }, Commit: func(ctx context.Context) error {
			var b bytes.Buffer
			if err := builtin.Tar(&b); err != nil {
				return err
			}
			err := content.WriteBlob(ctx, s.lib.Content, "layer-"+string(layer.Digest), &b, layer,
				content.WithLabels(map[string]string{manifest.UncompressedLabel: string(layer.Digest)}))
			if errdefs.IsAlreadyExists(err) {
				err = nil
			}
			return err
		}}, nil
	})
}

// compose makes and names an image out of a configuration and layers.
func compose(ctx context.Context, s *Store, name string, config []byte, layers []ocispec.Descriptor,
	open func(context.Context, ocispec.Descriptor, digest.Digest) (*library.Stream, error)) error {
	h, err := s.lib.Hold(ctx, "make "+name)
	if err != nil {
		return err
	}
	cfg, err := manifest.DecodeConfig(config)
	if err != nil {
		return err
	}
	doc, err := manifest.NewManifest(ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: cfg.Digest(), Size: int64(len(config))}, Layers: layers})
	if err != nil {
		return err
	}
	keep := []string{string(doc.Digest), string(cfg.Digest())}
	for _, l := range layers {
		keep = append(keep, string(l.Digest))
	}
	if err := h.Keep(ctx, lease.ContentType, keep...); err != nil {
		return err
	}
	if err := s.lib.Put(ctx, doc.Manifest.Config, config, nil); err != nil {
		return err
	}
	if err := s.lib.Put(ctx, doc.Descriptor(), doc.Raw(), doc.GCLabels(nil)); err != nil {
		return err
	}
	if _, err := s.lib.Unpack(ctx, h, library.Documents{Manifest: doc, Config: cfg}, func(Progress) {}, open); err != nil {
		return err
	}
	if err := s.lib.Sync(ctx, h); err != nil {
		return err
	}
	if err := s.lib.Name(ctx, library.Naming{Name: name, Target: doc.Descriptor()}); err != nil {
		return err
	}
	return h.Release(ctx)
}

// pulledBase answers a pull of the built-in image: it is always up to date.
func pulledBase(ctx context.Context, s *Store) (Pulled, error) {
	_, err := s.lib.Names.Get(ctx, builtin.Name)
	fresh := errdefs.IsNotFound(err)
	img, _, err := findImage(ctx, s, builtin.Name)
	return Pulled{Image: img, Name: builtin.Name, Digest: img.Target.Digest, New: fresh}, err
}
