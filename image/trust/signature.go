package trust

import (
	"crypto"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/base/fault"
	"berth/image/manifest"
	"berth/image/ref"
)

// How cosign lays out signatures (sigstore/cosign, specs/SIGNATURE_SPEC.md).
const (
	payloadType         = "application/vnd.dev.cosign.simplesigning.v1+json"
	signatureAnnotation = "dev.cosignproject.cosign/signature"
	claim               = "cosign container image signature"

	maxPayload    = 64 << 10 // bytes
	maxSignatures = 64       // of one image
)

// payload is what is signed: Red Hat's "simple signing" object.
type payload struct {
	Critical struct {
		Identity struct {
			Reference string `json:"docker-reference"`
		} `json:"identity"`
		Image struct {
			Digest digest.Digest `json:"docker-manifest-digest"`
		} `json:"image"`
		Type string `json:"type"`
	} `json:"critical"`
	Optional map[string]any `json:"optional"`
}

// SignatureRef returns the name of the manifest that holds the signatures of a
// digest: the tag sha256-HEX.sig beside the image. Error: Invalid.
func SignatureRef(name ref.Ref, d digest.Digest) (ref.Ref, error) {
	if err := ref.CheckDigest(string(d)); err != nil {
		return ref.Ref{}, err
	}
	return name.Repository().WithTag(strings.Replace(string(d), ":", "-", 1) + ".sig")
}

// Layer is one signature of a signature manifest.
type Layer struct {
	Payload   v1.Descriptor
	Signature []byte
}

// Layers reads a signature manifest. Layers that are no signatures are passed
// over. Error: Invalid.
func Layers(doc *manifest.Document) ([]Layer, error) {
	if doc.Manifest == nil {
		return nil, fault.New(fault.Invalid, "%s is no manifest of signatures", doc.Digest)
	}
	var list []Layer
	for _, l := range doc.Manifest.Layers {
		if l.MediaType != payloadType || l.Size > maxPayload {
			continue
		}
		sig, err := base64.StdEncoding.DecodeString(l.Annotations[signatureAnnotation])
		if err != nil || len(sig) == 0 {
			continue
		}
		if list = append(list, Layer{Payload: l, Signature: sig}); len(list) > maxSignatures {
			return nil, fault.New(fault.Invalid, "%s has more than %d signatures", doc.Digest, maxSignatures)
		}
	}
	if len(list) == 0 {
		return nil, fault.New(fault.NotFound, "%s holds no signature", doc.Digest)
	}
	return list, nil
}

// Verify says whether a payload is signed by one of the keys and speaks of the
// digest, under the repository's name: a good signature of another image, or
// of the same bytes for another purpose, is none. Errors: Permission, Invalid
// for a payload that is none though it is signed.
func Verify(keys []crypto.PublicKey, raw, signature []byte, repository string, d digest.Digest) error {
	if !slices.ContainsFunc(keys, func(k crypto.PublicKey) bool { return holds(k, raw, signature) }) {
		return fault.New(fault.Permission, "no key of the policy made the signature")
	}
	var p payload
	if err := json.Unmarshal(raw, &p); err != nil {
		return fault.New(fault.Invalid, "payload: %w", err)
	}
	c := p.Critical
	switch {
	case c.Type != claim:
		return fault.New(fault.Permission, "the payload is a %.80q, not a %q", c.Type, claim)
	case c.Image.Digest != d:
		return fault.New(fault.Permission, "the signature is of %.150q, not of %s", string(c.Image.Digest), d)
	}
	signed, err := ref.Docker(c.Identity.Reference)
	if err != nil || signed.Name() != repository {
		return fault.New(fault.Permission, "the signature is for %.200q, not for %s", c.Identity.Reference, repository)
	}
	return nil
}

// Blob is a blob to be stored beside a manifest.
type Blob struct {
	Descriptor v1.Descriptor
	Data       []byte
}

// Signature is what Sign made: a manifest for SignatureRef and its new blobs.
type Signature struct {
	Document *manifest.Document
	Blobs    []Blob // the config and the payload
}

// Sign signs a digest under the repository of name. old is the manifest of the
// signatures that are there already, or nil: they are kept. Errors: Invalid,
// Unsupported for the key.
func Sign(key crypto.Signer, name ref.Ref, d digest.Digest, old *manifest.Document) (*Signature, error) {
	if err := ref.CheckDigest(string(d)); err != nil {
		return nil, fmt.Errorf("sign %s: %w", name.Familiar(), err)
	}
	var p payload
	p.Critical.Identity.Reference, p.Critical.Image.Digest, p.Critical.Type = name.Name(), d, claim
	raw, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("sign %s: %w", name.Familiar(), err)
	}
	sig, err := sign(key, raw)
	if err != nil {
		return nil, fmt.Errorf("sign %s: %w", name.Familiar(), err)
	}
	layer := v1.Descriptor{MediaType: payloadType, Digest: digest.SHA256.FromBytes(raw), Size: int64(len(raw)),
		Annotations: map[string]string{signatureAnnotation: base64.StdEncoding.EncodeToString(sig)}}
	m := v1.Manifest{Layers: []v1.Descriptor{layer}}
	if old != nil {
		if old.Manifest == nil {
			return nil, fault.New(fault.Invalid, "sign %s: %s is no manifest of signatures", name.Familiar(), old.Digest)
		}
		m.Annotations = old.Manifest.Annotations
		m.Layers = append(slices.Clone(old.Manifest.Layers), layer)
	}
	return attach(m, Blob{layer, raw})
}

// attach makes the manifest. Its config lists the payloads as an image's lists
// layers: cosign reads it with a library for images.
func attach(m v1.Manifest, payload Blob) (*Signature, error) {
	config := v1.Image{RootFS: v1.RootFS{Type: "layers"}}
	for _, l := range m.Layers {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, l.Digest)
	}
	raw, err := json.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	m.Config = v1.Descriptor{MediaType: v1.MediaTypeImageConfig, Digest: digest.SHA256.FromBytes(raw), Size: int64(len(raw))}
	doc, err := manifest.NewManifest(m)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return &Signature{Document: doc, Blobs: []Blob{{m.Config, raw}, payload}}, nil
}
