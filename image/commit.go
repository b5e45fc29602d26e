package image

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/base/fault"
	"berth/image/archive"
	"berth/image/lease"
	"berth/image/library"
	"berth/image/manifest"
)

// Defaults is what a container gets that asks for nothing else.
type Defaults = manifest.Defaults

// Healthcheck is docker's HEALTHCHECK.
type Healthcheck = manifest.Healthcheck

// CommitOptions say what image a container's changes become.
type CommitOptions struct {
	Base string // the image below, by id
	// Layer writes the tar of the new layer, or with Squash of all files.
	Layer  func(w io.Writer) error
	Squash bool
	Name   string // canonical, may be empty
	// Defaults are the image's, before Changes: instructions of a Dockerfile.
	Defaults                   Defaults
	Changes                    []string
	Author, Message, CreatedBy string
	Format                     string // "", oci, docker
}

// emptyLayer is the diff id of the tar of nothing.
const emptyLayer digest.Digest = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"

// Commit makes an image of another one and one layer more, and gives its id.
func (w *Writables) Commit(ctx context.Context, o CommitOptions) (id digest.Digest, err error) {
	s := w.s
	if o.Format != "" && o.Format != "oci" && o.Format != "docker" {
		return "", fault.New(fault.Invalid, "unrecognized image format %q", o.Format)
	}
	if err := manifest.Change(&o.Defaults, o.Changes); err != nil {
		return "", err
	}
	h, err := s.lib.Hold(ctx, "commit")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, h.Release(ctx)) }()
	base, _, err := findImage(ctx, s, o.Base)
	if err != nil {
		return "", err
	}
	docs, err := s.lib.Read(ctx, base.Target, manifest.Host())
	if err != nil {
		return "", err
	}
	layer, err := storeLayer(ctx, s, h, o.Layer)
	if err != nil {
		return "", err
	}
	doc, cfg, err := committed(&o, docs, layer, s.opts.Podman)
	if err != nil {
		return "", err
	}
	if err := h.Keep(ctx, lease.ContentType, string(doc.Digest), string(cfg.Digest())); err != nil {
		return "", err
	}
	if err := s.lib.Put(ctx, doc.Manifest.Config, cfg.Raw(), nil); err != nil {
		return "", err
	}
	labels := doc.GCLabels(nil)
	if !o.Squash {
		labels[library.ParentLabel] = string(base.ID)
	}
	if err := s.lib.Put(ctx, doc.Descriptor(), doc.Raw(), labels); err != nil {
		return "", err
	}
	if _, err := s.lib.Unpack(ctx, h, library.Documents{Manifest: doc, Config: cfg}, func(Progress) {}, s.lib.Stored); err != nil {
		return "", err
	}
	if err := s.lib.Sync(ctx, h); err != nil {
		return "", err
	}
	name := o.Name
	if name == "" {
		name = library.Dangling + string(doc.Digest)
	}
	return cfg.Digest(), s.lib.Name(ctx, library.Naming{Name: name, Target: doc.Descriptor()})
}

// storeLayer keeps the tar that write gives.
func storeLayer(ctx context.Context, s *Store, h *library.Held, write func(io.Writer) error) (ocispec.Descriptor, error) {
	pr, pw := io.Pipe()
	wrote := make(chan error, 1)
	go func() {
		err := write(pw)
		pw.CloseWithError(err)
		wrote <- err
	}()
	layer, err := archive.Layer(ctx, s.lib.Content, pr, archive.LoadOptions{Added: func(ctx context.Context, d digest.Digest) error {
		return h.Keep(ctx, lease.ContentType, string(d))
	}})
	pr.CloseWithError(errors.Join(err, io.ErrClosedPipe))
	if werr := <-wrote; werr != nil && err != nil && !errors.Is(werr, io.ErrClosedPipe) {
		return layer, werr
	}
	return layer, err
}

// committed is the manifest and configuration of the new image.
func committed(o *CommitOptions, base library.Documents, layer ocispec.Descriptor, podman bool) (*manifest.Document, *manifest.Config, error) {
	now := time.Now().UTC()
	cfg := *base.Config
	cfg.Created, cfg.Author, cfg.Comment, cfg.Defaults = &now, o.Author, o.Message, o.Defaults
	line := ocispec.History{Created: &now, CreatedBy: o.CreatedBy, Author: o.Author, Comment: o.Message, EmptyLayer: layer.Digest == emptyLayer}
	m := *base.Manifest.Manifest
	m.Annotations, m.Subject = nil, nil
	m.Layers = slices.Clone(m.Layers)
	if o.Squash {
		m.Layers, cfg.RootFS.DiffIDs, cfg.History = nil, nil, nil
	}
	cfg.RootFS.DiffIDs, cfg.History = slices.Clone(cfg.RootFS.DiffIDs), append(slices.Clone(cfg.History), line)
	if !line.EmptyLayer {
		m.Layers = append(m.Layers, layer)
		cfg.RootFS.DiffIDs = append(cfg.RootFS.DiffIDs, layer.Digest)
	}
	made, err := manifest.NewConfig(cfg)
	if err != nil {
		return nil, nil, err
	}
	m.Config = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: made.Digest(), Size: int64(len(made.Raw()))}
	oci := o.Format == "oci" || o.Format == "" && (podman || !strings.HasPrefix(base.Manifest.MediaType, "application/vnd.docker."))
	if oci {
		m = manifest.ToOCI(m)
	} else if m, err = manifest.ToDocker(m); err != nil {
		return nil, nil, err
	}
	doc, err := manifest.NewManifest(m)
	return doc, made, err
}
