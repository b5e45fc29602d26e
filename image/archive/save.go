package archive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/base/fault"
	"berth/image/manifest"
	"berth/image/ref"
)

// Format is a form of archive.
type Format uint8

// The forms. Docker is that of docker since 25: an OCI layout of uncompressed
// layers with a manifest.json beside it, which docker of any age and podman read.
const (
	Docker Format = iota
	OCI           // the blobs as they are, all platforms that are here
)

// SaveOptions says how to save.
type SaveOptions struct {
	Format      Format
	Platform    *manifest.Platform   // one platform only; nil: Docker the host's, OCI all
	Compression manifest.Compression // of the whole archive
	// Progress is told of each file as it is begun. May be nil.
	Progress func(name string, size int64)

	before []v1.Descriptor // what a folder has already
}

// Save writes images as one archive: for the same images the same bytes. A
// Docker archive asks layers for tars; OCI takes the blobs as they are stored.
// Errors: NotFound for a blob or platform that is not here, else those of
// provider and writer.
func Save(ctx context.Context, w io.Writer, p content.Provider, layers Layers, images []Source, opts SaveOptions) error {
	s, err := newTarSink(w, opts.Compression)
	if err != nil {
		return fmt.Errorf("save: %w", err)
	}
	if err := save(ctx, s, p, layers, images, opts); err != nil {
		return fmt.Errorf("save: %w", err)
	}
	return s.close()
}

// SaveFolder writes images as an OCI layout into a folder, which is made. Into
// one that is there they are added; an image under the same name leaves its
// index. Format and Compression have no meaning here.
func SaveFolder(ctx context.Context, dir string, p content.Provider, images []Source, opts SaveOptions) error {
	s, err := newDirSink(dir)
	if err != nil {
		return fmt.Errorf("save to %s: %w", dir, err)
	}
	opts.Format = OCI
	opts.before, err = layoutEntries(s.root)
	if err == nil {
		err = save(ctx, s, p, nil, images, opts)
	}
	if err := errors.Join(err, s.close()); err != nil {
		return fmt.Errorf("save to %s: %w", dir, err)
	}
	return nil
}

// saver is one save under way.
type saver struct {
	sink   sink
	from   content.Provider
	layers Layers
	opts   SaveOptions
	index  []v1.Descriptor
	docker []dockerImage
	isHere map[digest.Digest]bool  // documents that were written
	sizes  map[digest.Digest]int64 // tars that were written
}

func save(ctx context.Context, to sink, p content.Provider, layers Layers, images []Source, opts SaveOptions) error {
	s := &saver{sink: to, from: p, layers: layers, opts: opts, isHere: map[digest.Digest]bool{}, sizes: map[digest.Digest]int64{}}
	for _, img := range images {
		if err := s.image(ctx, img); err != nil {
			return fmt.Errorf("%s: %w", sourceName(img), err)
		}
	}
	// What a folder had under other names.
	for _, d := range opts.before {
		name := d.Annotations[v1.AnnotationRefName]
		if !slices.ContainsFunc(s.index, func(n v1.Descriptor) bool {
			return n.Annotations[v1.AnnotationRefName] == name && (name != "" || n.Digest == d.Digest)
		}) {
			s.index = append(s.index, d)
		}
	}
	return s.finish()
}

func sourceName(img Source) string {
	if len(img.Names) > 0 {
		return img.Names[0].Familiar()
	}
	return ref.Short(img.Target.Digest)
}

func (s *saver) image(ctx context.Context, img Source) error {
	target := v1.Descriptor{MediaType: img.Target.MediaType, Digest: img.Target.Digest, Size: img.Target.Size}
	if s.opts.Format == OCI && s.opts.Platform == nil {
		if err := s.tree(ctx, target, 0); err != nil {
			return err
		}
		s.entry(target, img)
		return nil
	}
	doc, err := s.platform(ctx, target, 0)
	if err != nil {
		return err
	}
	if s.opts.Format == OCI {
		if err := s.tree(ctx, doc.Descriptor(), 0); err != nil {
			return err
		}
		s.entry(doc.Descriptor(), img)
		return nil
	}
	return s.dockerImage(ctx, doc, img.Names)
}

// entry notes an image for index.json: a line for each name.
func (s *saver) entry(d v1.Descriptor, img Source) {
	if len(img.Names) == 0 {
		if img.Word != "" {
			d.Annotations = map[string]string{v1.AnnotationRefName: img.Word}
		}
		s.index = append(s.index, d)
	}
	for _, n := range img.Names {
		d.Annotations = map[string]string{nameAnnotation: n.String(), v1.AnnotationRefName: n.String()}
		s.index = append(s.index, d)
	}
}

// document reads an index or manifest from the store.
func (s *saver) document(ctx context.Context, d v1.Descriptor) (*manifest.Document, error) {
	if d.Size > manifest.MaxSize {
		return nil, fault.New(fault.Invalid, "%s: %d bytes, more than %d", d.Digest, d.Size, manifest.MaxSize)
	}
	raw, err := content.ReadBlob(ctx, s.from, d)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", d.Digest, err)
	}
	return manifest.DecodeBlob(d, raw)
}

// platform finds the manifest of the one platform that is asked for.
func (s *saver) platform(ctx context.Context, d v1.Descriptor, depth int) (*manifest.Document, error) {
	doc, err := s.document(ctx, d)
	if err != nil || doc.Manifest != nil {
		return doc, err
	}
	if depth == manifest.MaxNesting {
		return nil, fault.New(fault.Invalid, "%s is nested too deep", d.Digest)
	}
	want := manifest.Host()
	if s.opts.Platform != nil {
		want = *s.opts.Platform
	}
	next, err := manifest.Select(doc.Index, want)
	if err != nil {
		return nil, err
	}
	return s.platform(ctx, next, depth+1)
}

// tree writes a document and all below it that the store has. Platforms of an
// index that were never pulled are left out; a layer may not be.
func (s *saver) tree(ctx context.Context, d v1.Descriptor, depth int) error {
	if s.isHere[d.Digest] {
		return nil
	}
	doc, err := s.document(ctx, d)
	if err != nil {
		return err
	}
	if depth > manifest.MaxNesting {
		return fault.New(fault.Invalid, "%s is nested too deep", d.Digest)
	}
	s.isHere[d.Digest] = true
	images := 0
	for _, c := range doc.Children() {
		if doc.Index != nil && (manifest.IsIndex(c.MediaType) || manifest.IsManifest(c.MediaType)) {
			if !s.has(ctx, c) {
				continue
			}
			images++
			err = s.tree(ctx, c, depth+1)
		} else {
			err = s.blob(ctx, c, blobName(c.Digest))
		}
		if err != nil {
			return err
		}
	}
	if doc.Index != nil && images == 0 && len(doc.Index.Manifests) > 0 {
		return fault.New(fault.NotFound, "%s: none of its platforms is here", d.Digest)
	}
	return s.bytes(blobName(d.Digest), doc.Raw())
}

func (s *saver) has(ctx context.Context, d v1.Descriptor) bool {
	r, err := s.from.ReaderAt(ctx, d)
	if err != nil {
		return false
	}
	_ = r.Close() // nothing was written
	return true
}

// blob writes one blob as it is stored.
func (s *saver) blob(ctx context.Context, d v1.Descriptor, name string) (err error) {
	if s.sink.has(name) {
		return nil
	}
	r, err := s.from.ReaderAt(ctx, d)
	if err != nil {
		if l, ok := manifest.LayerOf(d.MediaType); ok && l.Foreign && len(d.URLs) > 0 && isNotFound(err) {
			return nil
		}
		return fmt.Errorf("read %s: %w", d.Digest, err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	s.progress(name, r.Size())
	v := hasher(d.Digest)
	tee := io.TeeReader(cancelled{ctx, io.NewSectionReader(r, 0, r.Size())}, v)
	if err := s.sink.file(name, r.Size(), tee); err != nil {
		return err
	}
	if got := sum(d.Digest, v); got != d.Digest {
		return fault.New(fault.Invalid, "%s is damaged in the store: its digest is %s", d.Digest, got)
	}
	return nil
}

func (s *saver) bytes(name string, raw []byte) error {
	if s.sink.has(name) && strings.HasPrefix(name, blobsFolder+"/") {
		return nil
	}
	s.progress(name, int64(len(raw)))
	return put(s.sink, name, raw)
}

func (s *saver) progress(name string, size int64) {
	if s.opts.Progress != nil {
		s.opts.Progress(name, size)
	}
}

// finish writes the documents, those last that make the rest an archive.
func (s *saver) finish() error {
	layout, err := json.Marshal(v1.ImageLayout{Version: v1.ImageLayoutVersion})
	if err != nil {
		return err
	}
	index, err := manifest.NewIndex(v1.Index{Manifests: s.index})
	if err != nil {
		return err
	}
	if s.opts.Format == Docker {
		list, err := json.Marshal(s.docker)
		if err != nil {
			return err
		}
		if err := s.bytes(dockerFile, list); err != nil {
			return err
		}
	}
	if err := s.bytes(layoutFile, layout); err != nil {
		return err
	}
	return s.bytes(indexFile, index.Raw())
}

// cancelled ends reading when ctx does.
type cancelled struct {
	ctx context.Context
	r   io.Reader
}

func (c cancelled) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
