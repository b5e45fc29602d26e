package ref

import (
	"strings"

	"github.com/opencontainers/go-digest"

	"berth/base/fault"
)

// Docker reads a name as docker's command line does: no registry means
// docker.io, and a single word there is library/word. Tag and digest may both
// be given; none is added (OrLatest adds one). Errors are Invalid and have
// docker's words.
func Docker(s string) (Ref, error) {
	if isHexID(s) {
		return Ref{}, fault.New(fault.Invalid,
			"invalid repository name (%s), cannot specify 64-byte hexadecimal strings", s)
	}
	domain, rest := splitDocker(s)
	return parse(domain, rest)
}

// Podman reads a name as podman's command line does: a first part that has a
// dot or a colon or is localhost is the registry; else the name is short and
// its Domain empty. The caller then asks localhost/ first (On(LocalDomain)),
// then what the aliases and search registries say. Errors as Docker.
func Podman(s string) (Ref, error) {
	first, _, ok := strings.Cut(s, "/")
	if ok && (strings.ContainsAny(first, ".:") || first == LocalDomain) {
		return Docker(s)
	}
	if isHexID(s) {
		return Docker(s)
	}
	r, err := parse("", s)
	if err == nil && len(r.On(DefaultDomain).Path) > MaxPath {
		return Ref{}, errTooLong()
	}
	return r, err
}

// Stored reads a name that String wrote: whole, with its registry. It is for
// names that come back from disk. Error: Invalid.
func Stored(s string) (Ref, error) {
	r, err := Docker(s)
	if err != nil {
		return Ref{}, err
	}
	if r.String() != s {
		return Ref{}, fault.New(fault.Invalid, "name %q is not canonical", s)
	}
	return r, nil
}

// splitDocker finds the registry by docker's rules and adds what is missing.
func splitDocker(s string) (domain, rest string) {
	first, after, ok := strings.Cut(s, "/")
	switch {
	case !ok:
		return DefaultDomain, official + s
	case first == legacyDomain:
		domain, rest = DefaultDomain, after
	case first == LocalDomain, strings.ContainsAny(first, ".:"), strings.ToLower(first) != first:
		domain, rest = first, after
	default:
		domain, rest = DefaultDomain, s
	}
	if domain == DefaultDomain && !strings.Contains(rest, "/") {
		rest = official + rest
	}
	return domain, rest
}

// parse checks domain (may be empty) and path[:tag][@digest].
func parse(domain, rest string) (Ref, error) {
	beforeColon, _, _ := strings.Cut(rest, ":")
	if strings.ToLower(beforeColon) != beforeColon {
		return Ref{}, fault.New(fault.Invalid,
			"invalid reference format: repository name (%s) must be lowercase", beforeColon)
	}
	r := Ref{Domain: domain}
	name, sum, hasSum := strings.Cut(rest, "@")
	path, tag, hasTag := strings.Cut(name, ":")
	switch {
	case domain != "" && !isDomain(domain), !isPath(path),
		hasTag && !isTag(tag), hasSum && !looksLikeDigest(sum):
		return Ref{}, fault.New(fault.Invalid, "invalid reference format")
	case len(path) > MaxPath:
		return Ref{}, errTooLong()
	}
	if hasSum {
		if err := CheckDigest(sum); err != nil {
			return Ref{}, err
		}
	}
	r.Path, r.Tag, r.Digest = path, tag, digest.Digest(sum)
	return r, nil
}

func errTooLong() error {
	return fault.New(fault.Invalid, "repository name must not be more than %d characters", MaxPath)
}

// isDomain: parts of letters, digits and inner hyphens between dots, or an
// IPv6 address in brackets; then perhaps a port.
func isDomain(s string) bool {
	if rest, ok := strings.CutPrefix(s, "["); ok {
		addr, port, ok := strings.Cut(rest, "]")
		return ok && addr != "" && all(addr, isIPv6Byte) && (port == "" || port[0] == ':' && isDigits(port[1:]))
	}
	host, port, hasPort := strings.Cut(s, ":")
	if hasPort && !isDigits(port) {
		return false
	}
	for part := range strings.SplitSeq(host, ".") {
		if part == "" || part[0] == '-' || part[len(part)-1] == '-' || !all(part, isHostByte) {
			return false
		}
	}
	return true
}

// isPath: components between slashes; a component is lower-case letters and
// digits, with one dot, one or two underscores, or hyphens between them.
func isPath(s string) bool {
	for part := range strings.SplitSeq(s, "/") {
		if !isComponent(part) {
			return false
		}
	}
	return true
}

func isComponent(s string) bool {
	if s == "" || !isLowerAlnum(s[0]) || !isLowerAlnum(s[len(s)-1]) {
		return false
	}
	for i := 0; i < len(s); {
		if isLowerAlnum(s[i]) {
			i++
			continue
		}
		n := 1
		for s[i+n] == s[i] { // ends: the last byte is a letter or digit
			n++
		}
		switch {
		case s[i] == '-', s[i] == '.' && n == 1, s[i] == '_' && n <= 2:
		default:
			return false
		}
		if i += n; !isLowerAlnum(s[i]) {
			return false
		}
	}
	return true
}

// isTag: a letter, digit or underscore, then up to 127 of these, dots, hyphens.
func isTag(s string) bool {
	return s != "" && len(s) <= 128 && s[0] != '.' && s[0] != '-' && all(s, isTagByte)
}

// looksLikeDigest is the grammar's digest, before algorithm and length are
// looked at: the first mistake is then one of format.
func looksLikeDigest(s string) bool {
	algorithm, hex, ok := strings.Cut(s, ":")
	if !ok || len(hex) < 32 || !all(hex, isHexByte) {
		return false
	}
	start := true
	for i := range len(algorithm) {
		c := algorithm[i]
		switch {
		case isLetter(c):
			start = false
		case !start && isDigit(c):
		case !start && strings.IndexByte("-_+.", c) >= 0:
			start = true
		default:
			return false
		}
	}
	return !start
}

func all(s string, ok func(byte) bool) bool {
	for i := range len(s) {
		if !ok(s[i]) {
			return false
		}
	}
	return true
}

func isDigits(s string) bool     { return s != "" && all(s, isDigit) }
func isDigit(c byte) bool        { return '0' <= c && c <= '9' }
func isLetter(c byte) bool       { return 'a' <= c|0x20 && c|0x20 <= 'z' }
func isLowerAlnum(c byte) bool   { return 'a' <= c && c <= 'z' || isDigit(c) }
func isHostByte(c byte) bool     { return isLetter(c) || isDigit(c) || c == '-' }
func isTagByte(c byte) bool      { return isHostByte(c) || c == '_' || c == '.' }
func isHexByte(c byte) bool      { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' }
func isIPv6Byte(c byte) bool     { return isHexByte(c) || c == ':' }
func isLowerHexByte(c byte) bool { return isDigit(c) || 'a' <= c && c <= 'f' }
func isLowerHex(s string) bool   { return all(s, isLowerHexByte) }
func isHexID(s string) bool      { return len(s) == 64 && isLowerHex(s) }
