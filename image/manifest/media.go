// Package manifest reads the JSON of images: index, manifest and config of
// OCI 1.1 and of Docker schema 2, from bytes that anyone may have written. It
// says what they mean (children, layers, platforms, history) and keeps the
// original bytes, because their digest is the image. It fetches nothing and
// stores nothing. Row 3 (image); it imports ref.
//
//	Decode(mediaType, bytes) → Document{Index | Manifest} → Children, Kind
//	DecodeConfig(bytes)      → Config → History, Ports, VolumePaths
//	Select(index, platform)  → the descriptor to follow
//
// One document has one media type: what the sender declared, what the document
// says of itself and what it contains must agree (CVE-2021-41190).
package manifest

import (
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Media types of documents. OCI's are image-spec's constants.
const (
	DockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	DockerIndex    = "application/vnd.docker.distribution.manifest.list.v2+json"
	DockerConfig   = "application/vnd.docker.container.image.v1+json"

	DockerLayer        = "application/vnd.docker.image.rootfs.diff.tar"
	DockerLayerGzip    = "application/vnd.docker.image.rootfs.diff.tar.gzip"
	DockerLayerZstd    = "application/vnd.docker.image.rootfs.diff.tar.zstd"
	DockerForeignLayer = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"

	dockerSchema1       = "application/vnd.docker.distribution.manifest.v1+json"
	dockerSchema1Signed = "application/vnd.docker.distribution.manifest.v1+prettyjws"

	inTotoLayer = "application/vnd.in-toto+json"
	ociForeign  = "application/vnd.oci.image.layer.nondistributable.v1.tar"
)

// Accept lists what Decode takes, best first: the Accept header of a request
// for a manifest.
func Accept() []string {
	return []string{v1.MediaTypeImageIndex, v1.MediaTypeImageManifest, DockerIndex, DockerManifest}
}

// IsIndex says that a media type names an index (manifest list).
func IsIndex(mediaType string) bool {
	return mediaType == v1.MediaTypeImageIndex || mediaType == DockerIndex
}

// IsManifest says that a media type names an image manifest.
func IsManifest(mediaType string) bool {
	return mediaType == v1.MediaTypeImageManifest || mediaType == DockerManifest
}

// IsConfig says that a media type names the config of an image that can run.
func IsConfig(mediaType string) bool {
	return mediaType == v1.MediaTypeImageConfig || mediaType == DockerConfig
}

func isSchema1(mediaType string) bool {
	return mediaType == dockerSchema1 || mediaType == dockerSchema1Signed
}

// Compression is how a layer's tar is wrapped, as its media type says.
type Compression uint8

// The compressions. zstd:chunked is Zstd and estargz is Gzip: what they add is
// skipped by every decoder.
const (
	Uncompressed Compression = iota
	Gzip
	Zstd
)

// String returns none, gzip or zstd.
func (c Compression) String() string {
	return [...]string{"none", "gzip", "zstd"}[c]
}

// Layer is what the media type of a layer says.
type Layer struct {
	Compression Compression
	Foreign     bool // may be fetched from its urls only, not pushed by default
}

// LayerOf reads the media type of a layer; ok is false if it is none that can
// be unpacked (an artifact's, or an encrypted one).
func LayerOf(mediaType string) (l Layer, ok bool) {
	switch mediaType {
	case DockerLayer:
		return Layer{}, true
	case DockerLayerGzip:
		return Layer{Compression: Gzip}, true
	case DockerLayerZstd:
		return Layer{Compression: Zstd}, true
	case DockerForeignLayer:
		return Layer{Compression: Gzip, Foreign: true}, true
	}
	rest, ok := strings.CutPrefix(mediaType, ociForeign)
	if l.Foreign = ok; !ok {
		if rest, ok = strings.CutPrefix(mediaType, v1.MediaTypeImageLayer); !ok {
			return Layer{}, false
		}
	}
	switch rest {
	case "":
	case "+gzip":
		l.Compression = Gzip
	case "+zstd":
		l.Compression = Zstd
	default:
		return Layer{}, false
	}
	return l, true
}

// LayerType returns OCI's media type of a layer, the inverse of LayerOf.
func LayerType(c Compression) string {
	return [...]string{v1.MediaTypeImageLayer, v1.MediaTypeImageLayerGzip, v1.MediaTypeImageLayerZstd}[c]
}
