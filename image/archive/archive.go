// Package archive carries images in and out of the content store as one file
// or folder: docker-archive (manifest.json), OCI archive or folder
// (oci-layout, index.json) and docker-dir, and makes an image of a plain root file system's
// tar. It gives no names and unpacks no layers: what it loaded it returns, the
// caller has a lease, names it and unpacks it. Row 3 (image); it works on
// containerd's content interfaces.
//
//	Load, LoadFolder   archive → blobs, documents with labels → []Image
//	Save, SaveFolder, SaveDockerFolder   []Source → archive or folder
//	Import             root file system → Image
//
// A stream is read once, from the front: each file in it goes straight into
// the store as a blob, for only the end says what it is. A load that fails
// leaves no ingest; blobs that it had finished are referenced by nothing, and
// the collector takes them.
package archive

import (
	"context"
	"io"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/image/manifest"
	"berth/image/ref"
)

// Image is one image that an archive held and the store now has, whole: its
// documents, config and layers, with the labels that keep them together.
type Image struct {
	Target v1.Descriptor // manifest or index
	Kind   manifest.Kind // of the target
	Names  []ref.Ref     // with tag or digest, as the archive calls it, in its order
	Words  []string      // OCI reference names that are no image names: bare tags, mostly
}

// LoadOptions bounds a load. The zero value has the defaults.
type LoadOptions struct {
	MaxEntries int   // files in the archive; default 100,000
	MaxBytes   int64 // bytes that the archive holds uncompressed; default 1 TiB
	MaxRatio   int64 // of uncompressed to compressed bytes, past the first 64 MiB; default 1,000
	// Progress is told, from one goroutine, of each file as it goes into the
	// store: its digest if the archive names it, bytes so far and in all.
	Progress func(name string, done, total int64)
	// Added is told of each blob that the load made or found in the store,
	// before anything refers to it: for the caller's lease. May be nil.
	Added func(ctx context.Context, d digest.Digest) error
}

func (o LoadOptions) withDefaults() LoadOptions {
	if o.MaxEntries == 0 {
		o.MaxEntries = 100_000
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 1 << 40
	}
	if o.MaxRatio == 0 {
		o.MaxRatio = 1000
	}
	return o
}

// Layers gives the uncompressed tar of a layer, from wherever it is kept.
type Layers interface {
	// OpenTar returns the tar whose sha256 is diffID, and its size in bytes
	// (-1 if that is not known). layer is the layer's descriptor in the
	// image's manifest.
	OpenTar(ctx context.Context, diffID digest.Digest, layer v1.Descriptor) (tar io.ReadCloser, size int64, err error)
}

// Source is one image to save.
type Source struct {
	Target v1.Descriptor // manifest or index
	Names  []ref.Ref     // with tags; none for an image saved by its id
	Word   string        // without names, the OCI reference name
}

// Store is what a load writes to.
type Store = content.Store

// Names of the documents in archives.
const (
	dockerFile  = "manifest.json"
	legacyFile  = "repositories"
	layoutFile  = v1.ImageLayoutFile // oci-layout
	indexFile   = v1.ImageIndexFile  // index.json
	blobsFolder = v1.ImageBlobsDir   // blobs

	// nameAnnotation is containerd's and docker's: the whole name.
	nameAnnotation = "io.containerd.image.name"
)

// dockerImage is one entry of manifest.json.
type dockerImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// blobName is where an OCI layout keeps a blob.
func blobName(d digest.Digest) string {
	return blobsFolder + "/" + d.Algorithm().String() + "/" + d.Encoded()
}
