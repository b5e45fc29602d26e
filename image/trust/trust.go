// Package trust decides whether an image may be used before any of it is
// unpacked: a policy file says per registry or repository whether to accept,
// reject, or ask for a pinned digest or a signature; signatures are cosign's,
// made and verified with a local key. It fetches nothing itself, knows no
// transparency log and no certificates. Row 3 (image); it imports ref and
// manifest.
//
//	trust.toml ─ ParsePolicy ─► Policy ─ Check(name, digests) ─► nil, or why not
//	                                        │ a rule that wants signatures
//	                                        ▼
//	          Fetcher: manifest of tag sha256-HEX.sig, its payloads ─► Verify
//
// The file is berth's own and not podman's policy.json: that file's transports,
// scopes and identity rules speak of more than a registry's name, most of
// which does not exist here, and half of a security file is worse than none.
package trust

import (
	"context"
	"crypto"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/base/fault"
	"berth/image/manifest"
	"berth/image/ref"
)

// Action is what a rule asks of an image.
type Action string

// The actions. An empty default is Accept.
const (
	Accept Action = "accept"
	Reject Action = "reject"
	Signed Action = "signed" // by one of the rule's keys
	Pinned Action = "pinned" // its digest is in the rule's list
)

// Rule is one rule of a policy.
type Rule struct {
	Prefix  string // registry, registry/path, *.domain, or "" for the default
	Action  Action
	Keys    []crypto.PublicKey
	Digests []digest.Digest
	As      string // repository that the signatures may name instead
}

// Policy is what the file says. The zero Policy accepts all.
type Policy struct {
	Default Action
	Rules   []Rule
}

// Fetcher brings signatures from where the image comes from. Its errors are
// NotFound for what is not there; others end the check.
type Fetcher interface {
	// Manifest returns the manifest that a tag names.
	Manifest(ctx context.Context, name ref.Ref) (*manifest.Document, error)
	// Blob returns a small blob of a repository. Its bytes are verified here.
	Blob(ctx context.Context, repository ref.Ref, d v1.Descriptor) ([]byte, error)
}

// Rule returns the rule for a name: that with the longest prefix; of equals
// the first.
func (p *Policy) Rule(name ref.Ref) Rule {
	best := Rule{Action: p.Default}
	if best.Action == "" {
		best.Action = Accept
	}
	for _, r := range p.Rules {
		if len(r.Prefix) > len(best.Prefix) && matches(r.Prefix, name) {
			best = r
		}
	}
	return best
}

// matches compares whole parts: docker.io/lib is no prefix of docker.io/library.
// docker.io/alpine is what a user calls docker.io/library/alpine, so it is both.
func matches(prefix string, name ref.Ref) bool {
	domain, path, _ := strings.Cut(prefix, "/")
	if suffix, ok := strings.CutPrefix(domain, "*"); ok {
		if !strings.HasSuffix(name.Domain, suffix) || len(name.Domain) == len(suffix) {
			return false
		}
	} else if domain != name.Domain {
		return false
	}
	return path == "" || name.Path == path || strings.HasPrefix(name.Path, path+"/") ||
		domain == ref.DefaultDomain && name.Path == "library/"+path
}

// Check says whether an image may be used under a name: nil, or an error of
// kind Permission with the reason. digests are what the name led to, from the
// index down to the manifest: it is enough that one of them is signed or
// pinned, for it fixes those below. The first must be that of the name, if the
// name has one (Conflict). from is asked only by a rule that wants signatures.
func (p *Policy) Check(ctx context.Context, name ref.Ref, from Fetcher, digests ...digest.Digest) error {
	if name.Digest != "" && !slices.Contains(digests, name.Digest) {
		return fault.New(fault.Conflict, "%s: what came has another digest: %s", name.Familiar(), strings.Join(texts(digests), ", "))
	}
	r := p.Rule(name)
	switch r.Action {
	case Accept:
		return nil
	case Pinned:
		if slices.ContainsFunc(digests, func(d digest.Digest) bool { return slices.Contains(r.Digests, d) }) {
			return nil
		}
		return fault.New(fault.Permission, "%s: the policy pins %s to other digests than %s", name.Familiar(), r, strings.Join(texts(digests), ", "))
	case Signed:
		return r.checkSigned(ctx, name, from, digests)
	}
	return fault.New(fault.Permission, "%s: rejected by the policy for %s", name.Familiar(), r)
}

// String names a rule for errors.
func (r Rule) String() string {
	if r.Prefix == "" {
		return "all images"
	}
	return r.Prefix
}

func texts(list []digest.Digest) []string {
	out := make([]string, len(list))
	for i, d := range list {
		out[i] = string(d)
	}
	return out
}

func (r Rule) checkSigned(ctx context.Context, name ref.Ref, from Fetcher, digests []digest.Digest) error {
	why := fault.New(fault.NotFound, "there is no signature")
	for _, d := range digests {
		found, err := r.signedDigest(ctx, name, from, d)
		if found {
			return nil
		}
		switch k := fault.KindOf(err); k {
		case fault.NotFound:
		case fault.Permission, fault.Invalid:
			why = err
		default:
			return fmt.Errorf("%s: look for a signature: %w", name.Familiar(), err)
		}
	}
	return fault.New(fault.Permission, "%s: the policy for %s asks for a signature: %w", name.Familiar(), r, why)
}

// signedDigest looks at the signatures of one digest until one holds.
func (r Rule) signedDigest(ctx context.Context, name ref.Ref, from Fetcher, d digest.Digest) (bool, error) {
	at, err := SignatureRef(name, d)
	if err != nil {
		return false, err
	}
	doc, err := from.Manifest(ctx, at)
	if err != nil {
		return false, err
	}
	list, err := Layers(doc)
	if err != nil {
		return false, err
	}
	for _, s := range list {
		payload, ferr := from.Blob(ctx, name.Repository(), s.Payload)
		if ferr != nil {
			return false, ferr
		}
		if !manifest.Verify(s.Payload.Digest, payload) {
			err = fault.New(fault.Invalid, "payload %s has another digest", s.Payload.Digest)
			continue
		}
		as := name.Name()
		if r.As != "" {
			as = r.As
		}
		if err = Verify(r.Keys, payload, s.Signature, as, d); err == nil {
			return true, nil
		}
	}
	return false, err
}
