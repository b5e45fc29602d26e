// Package ref reads and writes the names of images: what a user types in
// docker's or podman's words, what the store keeps, what is shown again, ids
// and beginnings of ids. It knows no registry, no alias file and no store;
// which registries a short name may mean is decided by who pulls. Row 3
// (image), below all other packages of the room.
//
//	docker   alpine            docker.io/library/alpine     Docker(s)
//	         corp/app:1        docker.io/corp/app:1
//	podman   alpine            short: no domain             Podman(s)
//	         localhost/app:1   localhost/app:1
//	stored   docker.io/library/alpine:latest                Stored(s)
//
// The grammar is that of distribution's reference package
// (docs: distribution/reference, "Grammar"), which is the oracle of the tests;
// it is not linked because it compiles its expressions at every start.
package ref

import (
	"strings"

	"github.com/opencontainers/go-digest"

	"berth/base/fault"
)

// The words that a name without them gets.
const (
	DefaultDomain = "docker.io" // docker's registry, in names
	DefaultTag    = "latest"
	LocalDomain   = "localhost" // podman's registry of what was built here

	legacyDomain = "index.docker.io"
	official     = "library/"
)

// MaxPath is the longest path of a name, in bytes (distribution/reference).
const MaxPath = 255

// Ref is one parsed name. The zero Ref names nothing. Refs compare with ==.
type Ref struct {
	Domain string        // registry host[:port]; "" in a short name of podman's
	Path   string        // repository, lower case
	Tag    string        // "" when none was given
	Digest digest.Digest // "" when none was given; valid otherwise
}

// Name returns domain and path, without tag and digest.
func (r Ref) Name() string {
	if r.Domain == "" {
		return r.Path
	}
	return r.Domain + "/" + r.Path
}

// String returns the whole name. For a Ref with a domain, Stored reads it back.
func (r Ref) String() string { return r.Name() + r.suffix() }

func (r Ref) suffix() string {
	s := ""
	if r.Tag != "" {
		s = ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + string(r.Digest)
	}
	return s
}

// FamiliarName returns the name as docker shows it: without docker.io/ and
// docker.io/library/, and without tag and digest.
func (r Ref) FamiliarName() string {
	if r.Domain != DefaultDomain {
		return r.Name()
	}
	if rest, ok := strings.CutPrefix(r.Path, official); ok && !strings.Contains(rest, "/") {
		return rest
	}
	return r.Path
}

// Familiar returns the whole name as docker shows it.
func (r Ref) Familiar() string { return r.FamiliarName() + r.suffix() }

// IsShort says that the registry is still to be found.
func (r Ref) IsShort() bool { return r.Domain == "" && r.Path != "" }

// IsNameOnly says that there is neither tag nor digest.
func (r Ref) IsNameOnly() bool { return r.Tag == "" && r.Digest == "" }

// OrLatest returns r with the tag latest if it has neither tag nor digest.
func (r Ref) OrLatest() Ref {
	if r.IsNameOnly() {
		r.Tag = DefaultTag
	}
	return r
}

// Pinned returns r without its tag if it has a digest: what is then fetched is
// the digest alone.
func (r Ref) Pinned() Ref {
	if r.Digest != "" {
		r.Tag = ""
	}
	return r
}

// Repository returns r without tag and digest.
func (r Ref) Repository() Ref { return Ref{Domain: r.Domain, Path: r.Path} }

// WithTag returns r with the tag and no digest. Error: Invalid, docker's
// "invalid tag format".
func (r Ref) WithTag(tag string) (Ref, error) {
	if !isTag(tag) {
		return Ref{}, fault.New(fault.Invalid, "invalid tag format")
	}
	r.Tag, r.Digest = tag, ""
	return r, nil
}

// WithDigest returns r with the digest and no tag. Error: Invalid.
func (r Ref) WithDigest(d digest.Digest) (Ref, error) {
	if err := CheckDigest(string(d)); err != nil {
		return Ref{}, err
	}
	r.Tag, r.Digest = "", d
	return r, nil
}

// On returns a short name as it is called on one registry; on docker.io a
// single word belongs to library/. A name that has a domain stays.
func (r Ref) On(domain string) Ref {
	if r.Domain != "" {
		return r
	}
	if domain == legacyDomain {
		domain = DefaultDomain
	}
	if domain == DefaultDomain && !strings.Contains(r.Path, "/") {
		r.Path = official + r.Path
	}
	r.Domain = domain
	return r
}

// Under returns a short name below a prefix such as quay.io/team, as podman's
// unqualified-search-registries may name one. Error: Invalid, if the prefix
// is no registry.
func (r Ref) Under(prefix string) (Ref, error) {
	if r.Domain != "" {
		return r, nil
	}
	domain, path, ok := strings.Cut(prefix, "/")
	if !isDomain(domain) || ok && !isPath(path) {
		return Ref{}, fault.New(fault.Invalid, "%q is not a registry", prefix)
	}
	if ok {
		r.Domain, r.Path = domain, path+"/"+r.Path
	} else {
		r = r.On(domain)
	}
	if len(r.Path) > MaxPath {
		return Ref{}, errTooLong()
	}
	return r, nil
}
