package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/base/fault"
	"berth/image/manifest"
	"berth/image/ref"
)

// Load reads an archive of either form, compressed or not, from a stream to its
// end. Errors are Invalid or NotFound for a broken archive, Unsupported for one
// of a form that is not read, else those of reader and store.
func Load(ctx context.Context, store Store, r io.Reader, opts LoadOptions) ([]Image, error) {
	in := newIngest(store, opts)
	f, err := readStream(ctx, in, r)
	if err != nil {
		return nil, fmt.Errorf("load archive: %w", err)
	}
	return load(ctx, in, f)
}

// LoadFolder reads an OCI image layout, a docker-dir, or an unpacked
// docker-archive. Files
// that no document names are not looked at. Errors as Load.
func LoadFolder(ctx context.Context, store Store, dir string, opts LoadOptions) (images []Image, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("load folder %s: %w", dir, err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	in := newIngest(store, opts)
	f, err := openFolder(in, root)
	if err != nil {
		return nil, fmt.Errorf("load folder %s: %w", dir, err)
	}
	return load(ctx, in, f)
}

// load makes images of the files. If both forms are there (docker since 25
// writes both), OCI's is taken: it has the manifests.
func load(ctx context.Context, in *ingest, f *files) ([]Image, error) {
	l := &loader{in: in, f: f, seen: map[digest.Digest]bool{}, names: map[ref.Ref]digest.Digest{}, at: map[digest.Digest]int{}}
	_, isOCI := f.docs[indexFile]
	_, isDocker := f.docs[dockerFile]
	var err error
	switch {
	case isOCI:
		if err = l.oci(ctx); err == nil && isDocker {
			err = l.both(ctx)
		}
	case isDocker && l.f.isFlat():
		err = l.flat(ctx)
	case isDocker:
		err = l.docker(ctx)
	case f.docs[legacyFile] != nil:
		err = fault.New(fault.Unsupported, "it has no manifest.json: docker before 1.10 wrote it")
	default:
		err = fault.New(fault.Invalid, "it has neither manifest.json nor index.json: no archive of images "+
			"(a root file system is taken by import)")
	}
	if err == nil && len(l.images) == 0 {
		err = fault.New(fault.Invalid, "it holds no image")
	}
	if err != nil {
		return nil, fmt.Errorf("load archive: %w", err)
	}
	return l.images, nil
}

// loader turns files into images.
type loader struct {
	in     *ingest
	f      *files
	images []Image
	at     map[digest.Digest]int     // where in images
	seen   map[digest.Digest]bool    // documents that were walked
	names  map[ref.Ref]digest.Digest // whose name it is
}

// add notes an image, or more names of one.
func (l *loader) add(img Image) error {
	for _, n := range img.Names {
		if d, ok := l.names[n]; ok && d != img.Target.Digest {
			return fault.New(fault.Invalid, "%s is the name of two images in it", n.Familiar())
		}
	}
	i, ok := l.at[img.Target.Digest]
	if !ok {
		i = len(l.images)
		l.at[img.Target.Digest] = i
		l.images = append(l.images, Image{Target: img.Target, Kind: img.Kind})
	}
	for _, n := range img.Names {
		if _, ok := l.names[n]; !ok {
			l.names[n] = img.Target.Digest
			l.images[i].Names = append(l.images[i].Names, n)
		}
	}
	for _, w := range img.Words {
		if !slices.Contains(l.images[i].Words, w) {
			l.images[i].Words = append(l.images[i].Words, w)
		}
	}
	return nil
}

// read returns the bytes of a document that is a blob.
func (l *loader) read(ctx context.Context, name string, b blob) ([]byte, error) {
	if b.size > manifest.MaxSize {
		return nil, fault.New(fault.Invalid, "%.200q: %d bytes, more than %d", name, b.size, manifest.MaxSize)
	}
	raw, err := content.ReadBlob(ctx, l.in.store, v1.Descriptor{Digest: b.digest, Size: b.size})
	if err != nil {
		return nil, fmt.Errorf("read %.200q: %w", name, err)
	}
	return raw, nil
}
