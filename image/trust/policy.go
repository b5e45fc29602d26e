package trust

import (
	"bytes"
	"crypto"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/pelletier/go-toml/v2"

	"berth/base/fault"
	"berth/image/ref"
)

// Caps on a policy file.
const (
	MaxPolicy = 1 << 20 // bytes
	maxKeys   = 64      // of one rule
)

// policyFile is the file as it is written:
//
//	default = "accept"                    # or "reject"
//
//	[[rule]]
//	prefix = "registry.example.com/team"  # registry, registry/path or *.domain
//	action = "signed"                     # accept, reject, signed, pinned
//	keys = ["team.pub"]                   # files, or the PEM text itself
//	as = "registry.example.com/upstream"  # signatures made under this name
//
//	[[rule]]
//	prefix = "docker.io/library/alpine"
//	action = "pinned"
//	digests = ["sha256:…"]
type policyFile struct {
	Default Action     `toml:"default"`
	Rule    []fileRule `toml:"rule"`
}

type fileRule struct {
	Prefix  string   `toml:"prefix"`
	Action  Action   `toml:"action"`
	Keys    []string `toml:"keys"`
	Digests []string `toml:"digests"`
	As      string   `toml:"as"`
}

// ParsePolicy reads a policy file. readKey reads the key files that it names
// (a relative name is one beside the policy file). A word that is not known
// is an error: a policy must not be half understood. Errors: Invalid, or
// readKey's.
func ParsePolicy(raw []byte, readKey func(name string) ([]byte, error)) (*Policy, error) {
	if len(raw) > MaxPolicy {
		return nil, fault.New(fault.Invalid, "read policy: %d bytes, more than %d", len(raw), MaxPolicy)
	}
	var f policyFile
	dec := toml.NewDecoder(bytes.NewReader(raw))
	if err := dec.DisallowUnknownFields().Decode(&f); err != nil {
		return nil, fault.New(fault.Invalid, "read policy: %s", oneLine(err))
	}
	p := &Policy{Default: f.Default}
	switch f.Default {
	case "", Accept, Reject:
	default:
		return nil, fault.New(fault.Invalid, "read policy: default is %.80q, not accept or reject", f.Default)
	}
	for i, r := range f.Rule {
		rule, err := r.parse(readKey)
		if err != nil {
			return nil, fmt.Errorf("read policy: rule %d (%.80q): %w", i+1, r.Prefix, err)
		}
		for _, other := range p.Rules {
			if other.Prefix == rule.Prefix {
				return nil, fault.New(fault.Invalid, "read policy: two rules for %q", r.Prefix)
			}
		}
		p.Rules = append(p.Rules, rule)
	}
	return p, nil
}

// oneLine names the place of a mistake that go-toml found.
func oneLine(err error) string {
	if d, ok := err.(*toml.DecodeError); ok {
		row, column := d.Position()
		return fmt.Sprintf("line %d, column %d: %s", row, column, d.Error())
	}
	if m, ok := err.(*toml.StrictMissingError); ok && len(m.Errors) > 0 {
		row, _ := m.Errors[0].Position()
		return fmt.Sprintf("line %d: unknown word %q", row, strings.Join(m.Errors[0].Key(), "."))
	}
	return strings.ReplaceAll(err.Error(), "\n", " ")
}

func (r fileRule) parse(readKey func(string) ([]byte, error)) (Rule, error) {
	out := Rule{Prefix: r.Prefix, Action: r.Action, As: r.As}
	if err := checkPrefix(r.Prefix); err != nil {
		return Rule{}, err
	}
	if r.As != "" {
		if as, err := ref.Docker(r.As); err != nil || as.Name() != r.As {
			return Rule{}, fault.New(fault.Invalid, "as: %.80q is no repository with its registry", r.As)
		}
	}
	switch {
	case r.Action == Signed && len(r.Keys) == 0:
		return Rule{}, fault.New(fault.Invalid, "signed needs keys")
	case r.Action == Pinned && len(r.Digests) == 0:
		return Rule{}, fault.New(fault.Invalid, "pinned needs digests")
	case r.Action != Signed && (len(r.Keys) > 0 || r.As != ""):
		return Rule{}, fault.New(fault.Invalid, "keys and as are for signed, not for %.20q", r.Action)
	case r.Action != Pinned && len(r.Digests) > 0:
		return Rule{}, fault.New(fault.Invalid, "digests are for pinned, not for %.20q", r.Action)
	case len(r.Keys) > maxKeys:
		return Rule{}, fault.New(fault.Invalid, "%d keys, more than %d", len(r.Keys), maxKeys)
	}
	switch r.Action {
	case Accept, Reject, Signed, Pinned:
	default:
		return Rule{}, fault.New(fault.Invalid, "action is %.20q, not accept, reject, signed or pinned", r.Action)
	}
	for _, d := range r.Digests {
		if err := ref.CheckDigest(d); err != nil {
			return Rule{}, fmt.Errorf("digest %.150q: %w", d, err)
		}
		out.Digests = append(out.Digests, digest.Digest(d))
	}
	for _, k := range r.Keys {
		key, err := readPublic(k, readKey)
		if err != nil {
			return Rule{}, err
		}
		out.Keys = append(out.Keys, key)
	}
	return out, nil
}

// checkPrefix: a registry, perhaps with the beginning of a path; or *.domain.
func checkPrefix(prefix string) error {
	try := strings.TrimSuffix(prefix, "/")
	if rest, ok := strings.CutPrefix(prefix, "*."); ok {
		try = "x." + rest
	}
	domain, path, _ := strings.Cut(try, "/")
	if path == "" {
		path = "x"
	}
	r, err := ref.Docker(domain + "/" + path)
	if err != nil || prefix != strings.TrimSuffix(prefix, "/") || r.Domain != domain || r.Tag != "" || r.Digest != "" {
		return fault.New(fault.Invalid, "prefix is %.80q, not registry, registry/path or *.domain", prefix)
	}
	return nil
}

func readPublic(k string, readKey func(string) ([]byte, error)) (crypto.PublicKey, error) {
	if strings.Contains(k, "-----BEGIN ") {
		return ParsePublicKey([]byte(k))
	}
	raw, err := readKey(k)
	if err != nil {
		return nil, fmt.Errorf("key %.200q: %w", k, err)
	}
	key, err := ParsePublicKey(raw)
	if err != nil {
		return nil, fmt.Errorf("key %.200q: %w", k, err)
	}
	return key, nil
}
