package archive

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/base/fault"
	"berth/image/manifest"
	"berth/image/ref"
)

// maxDocuments is how many indexes and manifests one archive may lead through.
const maxDocuments = 100_000

// oci makes images of index.json: one for each entry.
func (l *loader) oci(ctx context.Context) error {
	var layout v1.ImageLayout
	raw, ok := l.f.docs[layoutFile]
	switch {
	case !ok:
		return fault.New(fault.Invalid, "it has %s but no %s", indexFile, layoutFile)
	case json.Unmarshal(raw, &layout) != nil || layout.Version != v1.ImageLayoutVersion:
		return fault.New(fault.Unsupported, "its %s is not of version %s", layoutFile, v1.ImageLayoutVersion)
	}
	doc, err := manifest.Decode("", l.f.docs[indexFile])
	if err != nil {
		return fmt.Errorf("%s: %w", indexFile, err)
	}
	if doc.Index == nil {
		return fault.New(fault.Invalid, "%s is no index", indexFile)
	}
	for i, d := range doc.Index.Manifests {
		if manifest.IsAttestation(d) {
			continue
		}
		img := Image{Target: v1.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}}
		if img.Names, img.Words, err = ociNames(d.Annotations); err != nil {
			return fmt.Errorf("%s: entry %d: %w", indexFile, i, err)
		}
		if img.Kind, err = l.walk(ctx, d, 0); err != nil {
			return fmt.Errorf("%s: entry %d: %w", indexFile, i, err)
		}
		if err := l.add(img); err != nil {
			return err
		}
	}
	return nil
}

// ociNames reads an entry's names: containerd's annotation is a whole name;
// OCI's may be one (podman, skopeo) or anything else.
func ociNames(annotations map[string]string) (names []ref.Ref, words []string, err error) {
	if s := annotations[nameAnnotation]; s != "" {
		r, err := ref.Docker(s)
		if err != nil {
			return nil, nil, fault.New(fault.Invalid, "invalid name %.200q: %w", s, err)
		}
		return []ref.Ref{r.OrLatest()}, nil, nil
	}
	s := annotations[v1.AnnotationRefName]
	if s == "" {
		return nil, nil, nil
	}
	if strings.ContainsAny(s, "/:") {
		if r, err := ref.Docker(s); err == nil {
			return []ref.Ref{r.OrLatest()}, nil, nil
		}
	}
	return nil, []string{s}, nil
}

// walk makes sure that all below one descriptor is there, and labels it,
// children first.
func (l *loader) walk(ctx context.Context, d v1.Descriptor, depth int) (manifest.Kind, error) {
	b, err := l.present(ctx, d)
	if err != nil {
		return 0, err
	}
	if !manifest.IsIndex(d.MediaType) && !manifest.IsManifest(d.MediaType) {
		return manifest.ArtifactKind, nil
	}
	raw, err := l.read(ctx, string(d.Digest), b)
	if err != nil {
		return 0, err
	}
	doc, err := manifest.DecodeBlob(d, raw)
	if err != nil || l.seen[d.Digest] {
		return kindOf(doc), err
	}
	if len(l.seen) == maxDocuments || depth > manifest.MaxNesting {
		return 0, fault.New(fault.Invalid, "its indexes are too many or nested too deep")
	}
	l.seen[d.Digest] = true
	keep, err := l.children(ctx, doc, depth)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", ref.Short(d.Digest), err)
	}
	return doc.Kind(), l.in.label(ctx, d.Digest, doc.GCLabels(func(i int) bool { return keep[i] }))
}

func kindOf(doc *manifest.Document) manifest.Kind {
	if doc == nil {
		return 0
	}
	return doc.Kind()
}

// children walks what a document needs. An archive may hold some platforms of
// an index only; of a manifest it must hold all but foreign layers.
func (l *loader) children(ctx context.Context, doc *manifest.Document, depth int) (keep map[int]bool, err error) {
	keep = map[int]bool{}
	for i, c := range doc.Children() {
		if doc.Index != nil {
			if _, err := l.present(ctx, c); fault.Is(err, fault.NotFound) {
				continue
			}
			if _, err := l.walk(ctx, c, depth+1); err != nil {
				if manifest.IsAttestation(c) && fault.Is(err, fault.NotFound) {
					continue
				}
				return nil, err
			}
			keep[i] = true
			continue
		}
		if _, err := l.present(ctx, c); err != nil {
			if layer, _ := manifest.LayerOf(c.MediaType); layer.Foreign && len(c.URLs) > 0 && fault.Is(err, fault.NotFound) {
				continue
			}
			return nil, err
		}
		keep[i] = true
	}
	if doc.Index != nil {
		if len(keep) == 0 && len(doc.Index.Manifests) > 0 {
			return nil, fault.New(fault.NotFound, "no image of this index is in the archive")
		}
		return keep, nil
	}
	return keep, l.checkConfig(ctx, doc)
}

// checkConfig reads the config of an image, so that what is broken is found now.
func (l *loader) checkConfig(ctx context.Context, doc *manifest.Document) error {
	if doc.Kind() != manifest.ImageKind {
		return nil
	}
	d := doc.Manifest.Config
	raw, err := l.read(ctx, string(d.Digest), blob{digest: d.Digest, size: d.Size})
	if err != nil {
		return err
	}
	config, err := manifest.DecodeConfig(raw)
	if err != nil {
		return err
	}
	return manifest.CheckLayers(doc.Manifest, config)
}

// present says where a descriptor's blob is; it must be in the archive, and of
// the size that the descriptor says.
func (l *loader) present(ctx context.Context, d v1.Descriptor) (blob, error) {
	b, err := l.f.blob(ctx, blobName(d.Digest))
	if err != nil {
		return blob{}, err
	}
	if b.size != d.Size {
		return blob{}, fault.New(fault.Invalid, "%s has %d bytes, not %d", d.Digest, b.size, d.Size)
	}
	return b, nil
}
