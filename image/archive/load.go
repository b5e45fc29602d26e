package archive

import (
	"context"
	"encoding/json"
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

// LoadFolder reads an OCI image layout, or an unpacked docker-archive. Files
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
		if err = l.oci(ctx); err == nil && len(l.images) == 0 && isDocker {
			err = l.docker(ctx)
		}
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
		l.images = append(l.images, Image{Target: img.Target, Kind: img.Kind, Word: img.Word})
	}
	for _, n := range img.Names {
		if _, ok := l.names[n]; !ok {
			l.names[n] = img.Target.Digest
			l.images[i].Names = append(l.images[i].Names, n)
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

// docker makes images of manifest.json.
func (l *loader) docker(ctx context.Context) error {
	var list []dockerImage
	if err := json.Unmarshal(l.f.docs[dockerFile], &list); err != nil {
		return fault.New(fault.Invalid, "%s: %w", dockerFile, err)
	}
	tags := l.legacyTags()
	for i, d := range list {
		if err := l.dockerImage(ctx, d, tags); err != nil {
			return fmt.Errorf("image %d: %w", i, err)
		}
	}
	return nil
}

func (l *loader) dockerImage(ctx context.Context, d dockerImage, tags map[string][]string) error {
	b, err := l.f.blob(ctx, d.Config)
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	raw, err := l.read(ctx, d.Config, b)
	if err != nil {
		return err
	}
	config, err := manifest.DecodeConfig(raw)
	if err != nil {
		return err
	}
	diffs := config.RootFS.DiffIDs
	if len(diffs) != len(d.Layers) {
		return fault.New(fault.Invalid, "invalid manifest, layers length mismatch: expected %d, got %d", len(diffs), len(d.Layers))
	}
	m := v1.Manifest{MediaType: manifest.DockerManifest,
		Config: v1.Descriptor{MediaType: manifest.DockerConfig, Digest: b.digest, Size: b.size}}
	for i, name := range d.Layers {
		layer, err := l.dockerLayer(ctx, name, diffs[i])
		if err != nil {
			return fmt.Errorf("layer %d: %w", i, err)
		}
		m.Layers = append(m.Layers, layer)
	}
	doc, err := manifest.NewManifest(m)
	if err != nil {
		return err
	}
	if err := l.in.document(ctx, doc); err != nil {
		return err
	}
	img := Image{Target: doc.Descriptor(), Kind: doc.Kind()}
	if d.RepoTags == nil && len(d.Layers) > 0 {
		d.RepoTags = tags[d.Layers[len(d.Layers)-1]]
	}
	for _, tag := range d.RepoTags {
		r, err := ref.Docker(tag)
		if err != nil {
			return fault.New(fault.Invalid, "invalid tag %.200q: %w", tag, err)
		}
		img.Names = append(img.Names, r.OrLatest())
	}
	return l.add(img)
}

// dockerLayer finds a layer. An uncompressed one must be what the config says;
// a compressed one is known when it is unpacked.
func (l *loader) dockerLayer(ctx context.Context, name string, diffID digest.Digest) (v1.Descriptor, error) {
	b, err := l.f.blob(ctx, name)
	if err != nil {
		return v1.Descriptor{}, err
	}
	desc := v1.Descriptor{MediaType: manifest.DockerLayer, Digest: b.digest, Size: b.size}
	switch b.compression {
	case manifest.Gzip:
		desc.MediaType = manifest.DockerLayerGzip
	case manifest.Zstd:
		desc.MediaType = manifest.DockerLayerZstd
	default:
		if diffID.Algorithm() == b.digest.Algorithm() && b.digest != diffID {
			return v1.Descriptor{}, fault.New(fault.Invalid, "%.200q has digest %s, the config says %s", name, b.digest, diffID)
		}
		err = l.in.label(ctx, b.digest, map[string]string{manifest.UncompressedLabel: string(diffID)})
	}
	return desc, err
}

// legacyTags reads the file repositories: names by the layer on top. It is
// asked only for an image that manifest.json does not speak of names for.
func (l *loader) legacyTags() map[string][]string {
	tags := map[string][]string{}
	var repos map[string]map[string]string
	if json.Unmarshal(l.f.docs[legacyFile], &repos) != nil {
		return tags
	}
	for repo, byTag := range repos {
		for tag, id := range byTag {
			top := id + "/layer.tar"
			tags[top] = append(tags[top], repo+":"+tag)
		}
	}
	for _, list := range tags {
		slices.Sort(list)
	}
	return tags
}
