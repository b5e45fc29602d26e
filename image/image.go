// Package image is the door of the image room: one store of images for running
// and building, shared by many processes at once with no daemon. It pulls,
// pushes, loads, saves, lists and removes images; what a container does with
// one is not its business, nor is any command line. Below it are the names
// (ref), documents (manifest), blobs (content), layers (snapshot, unpack),
// names, leases and the collector (names, lease, gc), registries (registry),
// archives (archive) and signatures (trust). Row 3.
package image

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
	// Parent is the ID of the image this one was built from, if that is known.
	Parent digest.Digest
}

// Dangling reports whether no tag names the image.
func (i Image) Dangling() bool { return len(i.Names) == 0 }
