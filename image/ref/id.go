package ref

import (
	"iter"
	"strings"

	"github.com/opencontainers/go-digest"

	"berth/base/fault"
)

// ShortLen is how many digits of an id lists show.
const ShortLen = 12

const sha256Prefix = "sha256:"

// CheckDigest says whether s is a digest that the store takes: sha256 or
// sha512 in lower-case hexadecimal digits. Only after it may a digest become
// a path. Errors are Invalid and have go-digest's words.
func CheckDigest(s string) error {
	algorithm, hex, ok := strings.Cut(s, ":")
	if !ok || algorithm == "" || hex == "" {
		return fault.New(fault.Invalid, "invalid checksum digest format")
	}
	size := 0
	switch algorithm {
	case "sha256":
		size = 64
	case "sha512":
		size = 128
	default:
		if !isAlgorithm(algorithm) {
			return fault.New(fault.Invalid, "invalid checksum digest format")
		}
		return fault.New(fault.Invalid, "unsupported digest algorithm")
	}
	if len(hex) != size {
		return fault.New(fault.Invalid, "invalid checksum digest length")
	}
	if !isLowerHex(hex) {
		return fault.New(fault.Invalid, "invalid checksum digest format")
	}
	return nil
}

// isAlgorithm tells what can be the name of an algorithm: the image
// specification's descriptor.md, digests.
func isAlgorithm(s string) bool {
	word := false // the last character was of one
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
			word = true
		case word && (c == '.' || c == '+' || c == '_' || c == '-'):
			word = false
		default:
			return false
		}
	}
	return word
}

// IDPrefix reads s as an image id or the beginning of one: 1 to 64 lower-case
// hexadecimal digits, perhaps after sha256:. Many names are such beginnings
// too ("cafe"); a name that exists goes before an id.
func IDPrefix(s string) (hex string, ok bool) {
	s = strings.TrimPrefix(s, sha256Prefix)
	if s == "" || len(s) > 64 || !isLowerHex(s) {
		return "", false
	}
	return s, true
}

// ID reads s as a whole id: 64 hexadecimal digits, perhaps after sha256:.
func ID(s string) (digest.Digest, bool) {
	hex := strings.TrimPrefix(s, sha256Prefix)
	if !isHexID(hex) {
		return "", false
	}
	return digest.Digest(sha256Prefix + hex), true
}

// Match returns the one id that begins with hex (from IDPrefix). Errors:
// NotFound; Conflict, naming two, if several do.
func Match(hex string, ids iter.Seq[digest.Digest]) (digest.Digest, error) {
	found := digest.Digest("")
	for id := range ids {
		if id == found || !strings.HasPrefix(string(id), sha256Prefix+hex) {
			continue
		}
		if found != "" {
			return "", fault.New(fault.Conflict, "image id %s is ambiguous: %s and %s begin with it",
				hex, Short(min(found, id)), Short(max(found, id)))
		}
		found = id
	}
	if found == "" {
		return "", fault.New(fault.NotFound, "no image id begins with %s", hex)
	}
	return found, nil
}

// Short returns the first twelve digits of a digest, as lists show it.
func Short(d digest.Digest) string {
	_, hex, _ := strings.Cut(string(d), ":")
	return hex[:min(len(hex), ShortLen)]
}
