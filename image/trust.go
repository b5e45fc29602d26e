package image

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/base/atomicfile"
	"berth/base/fault"
	"berth/image/library"
	"berth/image/manifest"
	"berth/image/ref"
	"berth/image/registry"
	"berth/image/trust"
)

// policyName is the trust policy's file in the configuration folder.
const policyName = "trust.toml"

// policy reads the trust policy; without one, everything is accepted.
func readPolicy(s *Store) (*trust.Policy, error) {
	path := filepath.Join(s.opts.ConfigDir, policyName)
	raw, err := atomicfile.ReadCapped(path, trust.MaxPolicy)
	if errors.Is(err, fs.ErrNotExist) {
		return &trust.Policy{}, nil
	}
	if err != nil {
		return nil, err
	}
	return trust.ParsePolicy(raw, func(name string) ([]byte, error) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(s.opts.ConfigDir, name)
		}
		return atomicfile.ReadCapped(name, trust.MaxPolicy)
	})
}

// trusted asks the policy whether an image may be unpacked. digests are what
// the name led to, the manifest last.
func trusted(ctx context.Context, s *Store, f *fetcher, digests ...digest.Digest) error {
	p, err := readPolicy(s)
	if err != nil {
		return err
	}
	return p.Check(ctx, f.ref, signatures{f.client}, digests...)
}

// signatures brings signatures from the image's registry.
type signatures struct{ client *registry.Client }

// Manifest gives the manifest that a tag names.
func (s signatures) Manifest(ctx context.Context, name ref.Ref) (*manifest.Document, error) {
	desc, _, err := s.client.Resolve(ctx, name)
	if err != nil {
		return nil, err
	}
	raw, err := s.client.Manifest(ctx, name, desc)
	if err != nil {
		return nil, err
	}
	return manifest.DecodeBlob(desc, raw)
}

// Blob gives a small blob; whoever asked verifies it.
func (s signatures) Blob(ctx context.Context, repository ref.Ref, d ocispec.Descriptor) ([]byte, error) {
	if d.Size > library.MaxDocument {
		return nil, fault.New(fault.Invalid, "blob %s has %d bytes, more than %d", d.Digest, d.Size, library.MaxDocument)
	}
	body, err := s.client.Blob(ctx, repository, d, 0)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(io.LimitReader(body, library.MaxDocument+1))
}

// Sign signs what a registry has under a canonical name with a private key (PEM),
// as cosign does, and pushes the signature beside it.
func (r *Registries) Sign(ctx context.Context, name string, key []byte, a Access) (digest.Digest, error) {
	to, err := ref.Stored(name)
	if err != nil {
		return "", err
	}
	signer, err := trust.ParsePrivateKey(key)
	if err != nil {
		return "", err
	}
	client, err := r.store.client(a, nil)
	if err != nil {
		return "", err
	}
	defer client.Close()
	desc, _, err := client.Resolve(ctx, to)
	if err != nil {
		return "", err
	}
	at, err := trust.SignatureRef(to, desc.Digest)
	if err != nil {
		return "", err
	}
	old, err := signatures{client}.Manifest(ctx, at)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return "", err
	}
	sig, err := trust.Sign(signer, to, desc.Digest, old)
	if err != nil {
		return "", err
	}
	return desc.Digest, pushSignature(ctx, client, at, sig)
}

func pushSignature(ctx context.Context, client *registry.Client, at ref.Ref, sig *trust.Signature) error {
	for _, b := range sig.Blobs {
		err := client.PushBlob(ctx, at, b.Descriptor, func(offset int64) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(b.Data[offset:])), nil
		}, nil)
		if err != nil {
			return err
		}
	}
	_, err := client.PushManifest(ctx, at, sig.Document.MediaType, sig.Document.Raw())
	return err
}

// NewKey makes a key pair for Sign and for policies, both PEM.
func NewKey() (private, public []byte, err error) { return trust.NewKey() }
