package library

import (
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Image is what lists and look-ups say of one image: everything in it was
// counted when the image came, nothing is read from its layers.
type Image struct {
	// ID is the digest of the image's configuration, as Docker's image id.
	ID digest.Digest
	// Target is what the names point to: a manifest or an index.
	Target ocispec.Descriptor
	// Manifest is the manifest of the platform that ID belongs to.
	Manifest digest.Digest
	// Names are canonical names with a tag, sorted: docker.io/library/x:y.
	Names []string
	// Digests are canonical names with a digest: docker.io/library/x@sha256:….
	Digests []string
	Created time.Time
	// Added is when the image came into this store or was last tagged.
	Added time.Time
	// Size is the uncompressed size of all layers, in bytes.
	Size     int64
	Platform ocispec.Platform
	Labels   map[string]string
	// Layers are the diff ids, lowest first.
	Layers []digest.Digest
	// Parent is the ID of the image this one was made from here, if it was.
	Parent digest.Digest
}

// Dangling reports whether no tag names the image.
func (i Image) Dangling() bool { return len(i.Names) == 0 }

// Bare reports whether no name at all leads to the image, not by digest either.
func (i *Image) Bare() bool { return len(i.Names)+len(i.Digests) == 0 }
