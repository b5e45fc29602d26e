package image

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/base/atomicfile"
	"berth/base/fault"
	"berth/base/flock"
	"berth/image/library"
	"berth/image/manifest"
	"berth/image/ref"
	"berth/image/registry"
	"berth/image/trust"
)

// policyName is the trust policy's file in the configuration folder, and
// policyLock what those who change it hold.
const (
	policyName = "trust.toml"
	policyLock = ".trust.lock"
)

// readPolicy reads the trust policy; without one, everything is accepted.
func readPolicy(s *Store) (*trust.Policy, error) {
	raw, err := policyText(s)
	if err != nil {
		return nil, err
	}
	return parsePolicy(s, raw)
}

func policyText(s *Store) ([]byte, error) {
	raw, err := atomicfile.ReadCapped(filepath.Join(s.opts.ConfigDir, policyName), trust.MaxPolicy)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return raw, err
}

func parsePolicy(s *Store, raw []byte) (*trust.Policy, error) {
	return trust.ParsePolicy(raw, func(name string) ([]byte, error) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(s.opts.ConfigDir, name)
		}
		return atomicfile.ReadCapped(name, trust.MaxPolicy)
	})
}

// Trust says and changes who is trusted, and makes and verifies signatures.
type Trust struct{ store *Store }

// TrustRule is one rule of the policy: accept, reject, signed by keys (files),
// or pinned to digests.
type TrustRule struct {
	Scope   string // registry, registry/path or *.domain; TrustDefault for all others
	Action  string
	Keys    []string
	Digests []string
}

// TrustDefault is the scope of images without a rule.
const TrustDefault = trust.DefaultScope

// Rules gives the policy's rules, the default first, and the file's text.
func (t *Trust) Rules() ([]TrustRule, []byte, error) {
	raw, err := policyText(t.store)
	if err != nil {
		return nil, nil, err
	}
	entries, err := trust.Entries(raw)
	if err != nil {
		return nil, nil, err
	}
	var out []TrustRule
	for _, e := range entries {
		out = append(out, TrustRule{Scope: e.Prefix, Action: string(e.Action), Keys: e.Keys, Digests: e.Digests})
	}
	return out, raw, nil
}

// Set puts one rule into the policy, in the place of that of the same scope.
// Error: kind Invalid if it would be no policy, and then nothing is changed.
func (t *Trust) Set(r TrustRule) (err error) {
	dir := t.store.opts.ConfigDir
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	lock, err := flock.Lock(filepath.Join(dir, policyLock))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Remove()) }()
	raw, err := policyText(t.store)
	if err != nil {
		return err
	}
	entry := trust.Entry{Prefix: r.Scope, Action: trust.Action(r.Action), Keys: r.Keys, Digests: r.Digests}
	if raw, err = trust.Edit(raw, entry); err != nil {
		return err
	}
	if _, err := parsePolicy(t.store, raw); err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, policyName), raw, 0o644, atomicfile.Sync)
}

// Verify says whether the policy accepts what a registry has under a canonical
// name, or with keys (PEM) whether one of them signed it. It gives the digest.
func (t *Trust) Verify(ctx context.Context, name string, keys [][]byte, a Access) (digest.Digest, error) {
	of, err := ref.Stored(name)
	if err != nil {
		return "", err
	}
	policy, err := readPolicy(t.store)
	if len(keys) > 0 {
		rule := trust.Rule{Prefix: of.Name(), Action: trust.Signed}
		for _, pem := range keys {
			key, kerr := trust.ParsePublicKey(pem)
			err = errors.Join(err, kerr)
			rule.Keys = append(rule.Keys, key)
		}
		policy = &trust.Policy{Rules: []trust.Rule{rule}}
	}
	if err != nil {
		return "", err
	}
	client, err := t.store.client(a, nil)
	if err != nil {
		return "", err
	}
	defer client.Close()
	desc, _, err := client.Resolve(ctx, of.OrLatest().Pinned())
	if err != nil {
		return "", err
	}
	return desc.Digest, policy.Check(ctx, of, signatures{client}, desc.Digest)
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
func (t *Trust) Sign(ctx context.Context, name string, key []byte, a Access) (digest.Digest, error) {
	to, err := ref.Stored(name)
	if err != nil {
		return "", err
	}
	signer, err := trust.ParsePrivateKey(key)
	if err != nil {
		return "", err
	}
	client, err := t.store.client(a, nil)
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
func (t *Trust) NewKey() (private, public []byte, err error) { return trust.NewKey() }
