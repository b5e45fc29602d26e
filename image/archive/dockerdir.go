package archive

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/base/fault"
	"berth/image/manifest"
)

// A docker-dir is one image in a flat folder, podman's and skopeo's "dir:"
// (containers-transports(5)): manifest.json is the manifest itself, blobs are
// named by their digest, and version says what it is.
const (
	versionFile = "version"
	versionText = "Directory Transport Version: "
)

// flatName is where a docker-dir keeps a blob.
func flatName(d digest.Digest) string {
	if d.Algorithm() == digest.SHA256 {
		return d.Encoded()
	}
	return strings.Replace(string(d), ":", "-", 1)
}

// isFlat: a manifest.json that is an object, not a list.
func (f *files) isFlat() bool {
	return strings.HasPrefix(strings.TrimSpace(string(f.docs[dockerFile])), "{")
}

// flat makes the image of a docker-dir. It has no names.
func (l *loader) flat(ctx context.Context) error {
	doc, err := manifest.Decode("", l.f.docs[dockerFile])
	if err != nil {
		return fmt.Errorf("%s: %w", dockerFile, err)
	}
	if doc.Manifest == nil {
		return fault.New(fault.Unsupported, "%s is an index: a folder of several platforms is not supported", dockerFile)
	}
	for _, c := range doc.Children() {
		b, err := l.f.blob(ctx, flatName(c.Digest))
		if err != nil {
			return err
		}
		if b.digest != c.Digest || b.size != c.Size {
			return fault.New(fault.Invalid, "%s: it has %d bytes with digest %s", flatName(c.Digest), b.size, b.digest)
		}
	}
	if err := l.checkConfig(ctx, doc); err != nil {
		return err
	}
	if err := l.in.document(ctx, doc); err != nil {
		return err
	}
	return l.add(Image{Target: doc.Descriptor(), Kind: doc.Kind()})
}

// SaveDockerFolder writes one image as a docker-dir, with a manifest of
// Docker's schema 2 and the blobs as they are stored. Errors: Invalid for
// several images, else as Save.
func SaveDockerFolder(ctx context.Context, dir string, from content.Provider, images []Source, opts SaveOptions) error {
	if len(images) != 1 {
		return fault.New(fault.Invalid, "save to %s: a docker-dir holds one image, not %d", dir, len(images))
	}
	d, err := newDirSink(dir)
	if err != nil {
		return fmt.Errorf("save to %s: %w", dir, err)
	}
	s := &saver{sink: d, from: from, opts: opts}
	if err := errors.Join(s.dockerDir(ctx, images[0].Target), d.close()); err != nil {
		return fmt.Errorf("save to %s: %s: %w", dir, sourceName(images[0]), err)
	}
	return nil
}

func (s *saver) dockerDir(ctx context.Context, target v1.Descriptor) error {
	doc, err := s.platform(ctx, target, 0)
	if err != nil {
		return err
	}
	if doc.Kind() != manifest.ImageKind {
		return fault.New(fault.Unsupported, "it is no image that runs: only an OCI archive can hold it")
	}
	for _, c := range doc.Children() {
		if err := s.blob(ctx, c, flatName(c.Digest)); err != nil {
			return err
		}
	}
	if doc.MediaType != manifest.DockerManifest {
		// What Docker's words cannot say stays in OCI's, which readers take too.
		m, err := manifest.ToDocker(*doc.Manifest)
		if err == nil {
			doc, err = manifest.NewManifest(m)
		}
		if err != nil && !fault.Is(err, fault.Unsupported) {
			return err
		}
	}
	if err := s.bytes(versionFile, []byte(versionText+"1.1\n")); err != nil {
		return err
	}
	return s.bytes(dockerFile, doc.Raw())
}
