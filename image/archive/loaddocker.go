package archive

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/base/fault"
	"berth/image/manifest"
	"berth/image/ref"
)

// both is for an archive of both forms whose index.json says less: it may have
// no images, or no names.
func (l *loader) both(ctx context.Context) error {
	if len(l.images) == 0 {
		return l.docker(ctx)
	}
	if slices.ContainsFunc(l.images, func(i Image) bool { return len(i.Names) > 0 }) {
		return nil
	}
	list, err := l.dockerList()
	if err != nil {
		return err
	}
	tags := map[digest.Digest][]string{}
	for _, d := range list {
		if b, err := l.f.blob(ctx, d.Config); err == nil {
			tags[b.digest] = append(tags[b.digest], d.RepoTags...)
		}
	}
	for i := range l.images {
		img := l.images[i]
		if img.Kind != manifest.ImageKind {
			continue
		}
		raw, err := l.read(ctx, string(img.Target.Digest), blob{digest: img.Target.Digest, size: img.Target.Size})
		if err != nil {
			return err
		}
		doc, err := manifest.DecodeBlob(img.Target, raw)
		if err != nil {
			return err
		}
		if img.Names, err = repoTags(tags[doc.Manifest.Config.Digest]); err != nil {
			return err
		}
		if err := l.add(img); err != nil {
			return err
		}
	}
	return nil
}

// repoTags reads names as docker means them.
func repoTags(tags []string) ([]ref.Ref, error) {
	var names []ref.Ref
	for _, tag := range tags {
		r, err := ref.Docker(tag)
		if err != nil {
			return nil, fault.New(fault.Invalid, "invalid tag %.200q: %w", tag, err)
		}
		names = append(names, r.OrLatest())
	}
	return names, nil
}

func (l *loader) dockerList() (list []dockerImage, err error) {
	if err := json.Unmarshal(l.f.docs[dockerFile], &list); err != nil {
		return nil, fault.New(fault.Invalid, "%s: %w", dockerFile, err)
	}
	return list, nil
}

// docker makes images of manifest.json.
func (l *loader) docker(ctx context.Context) error {
	list, err := l.dockerList()
	if err != nil {
		return err
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
	if img.Names, err = repoTags(d.RepoTags); err != nil {
		return err
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
		if guardDiffID && diffID.Algorithm() == b.digest.Algorithm() && b.digest != diffID {
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
