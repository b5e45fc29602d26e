package manifest

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/base/fault"
)

// Document is an index or a manifest. Its fields are to be read only: Raw is
// what has the digest.
type Document struct {
	MediaType string        // one of Accept
	Digest    digest.Digest // sha256 of the bytes
	Index     *v1.Index     // exactly one
	Manifest  *v1.Manifest  // of the two is set

	raw []byte
}

// Raw returns the original bytes. The caller does not write to them.
func (d *Document) Raw() []byte { return d.raw }

// Descriptor returns the descriptor of the document itself.
func (d *Document) Descriptor() v1.Descriptor {
	return v1.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: int64(len(d.raw))}
}

// Children returns the descriptors below the document in its order: the
// entries of an index; config, then layers of a manifest. A subject is no
// child: an artifact does not keep what it is about.
func (d *Document) Children() []v1.Descriptor {
	if d.Index != nil {
		return slices.Clone(d.Index.Manifests)
	}
	return append([]v1.Descriptor{d.Manifest.Config}, d.Manifest.Layers...)
}

// Kind is what a document is for.
type Kind uint8

// The kinds of documents.
const (
	IndexKind       Kind = iota + 1
	ImageKind            // can be unpacked and run
	AttestationKind      // BuildKit's provenance or SBOM beside an image
	ArtifactKind         // anything else: signature, chart, module
)

// Kind says what the document is for, by its own words alone.
func (d *Document) Kind() Kind {
	if d.Index != nil {
		return IndexKind
	}
	m := d.Manifest
	if !IsConfig(m.Config.MediaType) || m.ArtifactType != "" {
		return ArtifactKind
	}
	inToto, layers := 0, 0
	for _, l := range m.Layers {
		if l.MediaType == inTotoLayer {
			inToto++
		}
		if _, ok := LayerOf(l.MediaType); ok {
			layers++
		}
	}
	switch {
	case layers == len(m.Layers):
		return ImageKind
	case inToto == len(m.Layers):
		return AttestationKind
	}
	return ArtifactKind
}

// shape is read first, to see what the document claims and contains.
type shape struct {
	SchemaVersion int             `json:"schemaVersion"`
	MediaType     string          `json:"mediaType"`
	Manifests     json.RawMessage `json:"manifests"`
	Config        json.RawMessage `json:"config"`
	Layers        json.RawMessage `json:"layers"`
	FSLayers      json.RawMessage `json:"fsLayers"`
	Signatures    json.RawMessage `json:"signatures"`
}

// Decode reads an index or a manifest. mediaType is what the descriptor or the
// registry's Content-Type declared, without parameters; "" if nothing did.
// The bytes are kept, not copied. Errors are Invalid, or Unsupported for
// Docker's schema 1 and unknown media types.
func Decode(mediaType string, raw []byte) (*Document, error) {
	d := &Document{raw: raw}
	if len(raw) > MaxSize {
		return nil, fault.New(fault.Invalid, "read manifest: %d bytes, more than %d", len(raw), MaxSize)
	}
	if isSchema1(mediaType) {
		return nil, errSchema1()
	}
	if err := d.decode(mediaType, raw); err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	d.Digest = digest.SHA256.FromBytes(raw)
	return d, nil
}

// DecodeBlob is Decode for bytes that a descriptor promised: size and digest
// must be those, and the document keeps that digest.
func DecodeBlob(desc v1.Descriptor, raw []byte) (*Document, error) {
	if int64(len(raw)) != desc.Size || !Verify(desc.Digest, raw) {
		return nil, fault.New(fault.Invalid, "read manifest %.150s: the bytes are not those of its digest", desc.Digest)
	}
	d, err := Decode(desc.MediaType, raw)
	if err != nil {
		return nil, err
	}
	d.Digest = desc.Digest
	return d, nil
}

// Verify says whether d is the digest of data. An algorithm that the store
// does not take is none.
func Verify(d digest.Digest, data []byte) bool {
	algorithm, hex, _ := strings.Cut(string(d), ":")
	switch algorithm {
	case "sha256":
		return fmt.Sprintf("%x", sha256.Sum256(data)) == hex || !guardDigest
	case "sha512":
		return fmt.Sprintf("%x", sha512.Sum512(data)) == hex || !guardDigest
	}
	return false
}

// NewManifest encodes a manifest in the media type that it names (OCI's if
// none): the document that results has its bytes and digest. Error: Invalid.
func NewManifest(m v1.Manifest) (*Document, error) {
	if m.MediaType == "" {
		m.MediaType = v1.MediaTypeImageManifest
	}
	if m.Layers == nil {
		m.Layers = []v1.Descriptor{}
	}
	m.SchemaVersion = 2
	return encode(m.MediaType, m)
}

// NewIndex encodes an index, as NewManifest a manifest.
func NewIndex(x v1.Index) (*Document, error) {
	if x.MediaType == "" {
		x.MediaType = v1.MediaTypeImageIndex
	}
	if x.Manifests == nil {
		x.Manifests = []v1.Descriptor{}
	}
	x.SchemaVersion = 2
	return encode(x.MediaType, x)
}

func encode(mediaType string, v any) (*Document, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("write manifest: %w", err)
	}
	return Decode(mediaType, raw)
}

func errSchema1() error {
	return fault.New(fault.Unsupported,
		"read manifest: Docker schema 1 is not supported: push the image again with a newer tool")
}

func (d *Document) decode(declared string, raw []byte) error {
	if err := scan(raw); err != nil {
		return err
	}
	var s shape
	if err := json.Unmarshal(raw, &s); err != nil {
		return fault.New(fault.Invalid, "%w", err)
	}
	mediaType, err := s.mediaType(declared)
	if err != nil {
		return err
	}
	d.MediaType = mediaType
	if IsIndex(mediaType) {
		d.Index = &v1.Index{}
		if err := json.Unmarshal(raw, d.Index); err != nil {
			return fault.New(fault.Invalid, "%w", err)
		}
		return checkIndex(d.Index)
	}
	d.Manifest = &v1.Manifest{}
	if err := json.Unmarshal(raw, d.Manifest); err != nil {
		return fault.New(fault.Invalid, "%w", err)
	}
	return checkManifest(d.Manifest)
}

// mediaType settles the one media type of a document.
func (s *shape) mediaType(declared string) (string, error) {
	isList, isImage := present(s.Manifests), present(s.Config) || present(s.Layers)
	switch {
	case s.SchemaVersion == 1 || present(s.FSLayers) || isSchema1(s.MediaType):
		return "", errSchema1()
	case s.SchemaVersion != 2:
		return "", fault.New(fault.Invalid, "schemaVersion is %d, not 2", s.SchemaVersion)
	case declared != "" && s.MediaType != "" && declared != s.MediaType:
		return "", fault.New(fault.Invalid, "it was sent as %.100q but says that it is %.100q", declared, s.MediaType)
	case isList && isImage:
		return "", fault.New(fault.Invalid, "it has both manifests and layers: which it is cannot be said")
	case !isList && !isImage:
		return "", fault.New(fault.Invalid, "it has neither manifests nor config and layers")
	}
	mediaType := s.MediaType
	if mediaType == "" {
		mediaType = declared
	}
	switch {
	case mediaType == "" && isList:
		return v1.MediaTypeImageIndex, nil
	case mediaType == "":
		return v1.MediaTypeImageManifest, nil
	case !IsIndex(mediaType) && !IsManifest(mediaType):
		return "", fault.New(fault.Unsupported, "media type %.100q is not supported", mediaType)
	case IsIndex(mediaType) != isList:
		return "", fault.New(fault.Invalid, "its content is not that of %q", mediaType)
	}
	return mediaType, nil
}

func present(m json.RawMessage) bool { return len(m) > 0 && !bytes.Equal(m, []byte("null")) }

func checkIndex(x *v1.Index) error {
	if len(x.Manifests) > MaxManifests {
		return fault.New(fault.Invalid, "%d manifests, more than %d", len(x.Manifests), MaxManifests)
	}
	for i, m := range x.Manifests {
		if err := CheckDescriptor(m); err != nil {
			return fmt.Errorf("manifest %d: %w", i, err)
		}
		if (IsIndex(m.MediaType) || IsManifest(m.MediaType)) && m.Size > MaxSize {
			return fault.New(fault.Invalid, "manifest %d: %d bytes, more than %d", i, m.Size, MaxSize)
		}
	}
	return checkSubject(x.Subject)
}

func checkManifest(m *v1.Manifest) error {
	if len(m.Layers) > MaxLayers {
		return fault.New(fault.Invalid, "%d layers, more than %d", len(m.Layers), MaxLayers)
	}
	if err := CheckDescriptor(m.Config); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	if IsConfig(m.Config.MediaType) && m.Config.Size > MaxSize {
		return fault.New(fault.Invalid, "config: %d bytes, more than %d", m.Config.Size, MaxSize)
	}
	for i, l := range m.Layers {
		if err := CheckDescriptor(l); err != nil {
			return fmt.Errorf("layer %d: %w", i, err)
		}
	}
	return checkSubject(m.Subject)
}

func checkSubject(s *v1.Descriptor) error {
	if s == nil {
		return nil
	}
	if err := CheckDescriptor(*s); err != nil {
		return fmt.Errorf("subject: %w", err)
	}
	return nil
}
