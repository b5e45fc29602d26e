// Package ids makes and checks the ids of containers. It knows which strings
// are safe as an id (and so as a folder name), not which containers exist.
// Row 0 (base): standard library only.
package ids

import (
	"crypto/rand"
	"encoding/hex"

	"berth/base/fault"
)

// ID is the checked id of a container: it came out of Parse or New, so it is
// one harmless path element.
type ID string

// MaxLen is the longest id in bytes. A file name cannot be longer than 255
// bytes (NAME_MAX), so an id between the two fails later, at its folder.
const MaxLen = 1024

// Parse checks s by the rule of runc's command line: letters, digits and
// "_", "+", "-", ".", at least one and at most MaxLen of them, and neither "."
// nor "..". The error has kind Invalid and does not repeat more than 64 bytes
// of s.
func Parse(s string) (ID, error) {
	switch {
	case s == "":
		return "", fault.New(fault.Invalid, "container id cannot be empty")
	case len(s) > MaxLen:
		return "", fault.New(fault.Invalid, "invalid container ID format: %q… has %d bytes, more than %d", s[:64], len(s), MaxLen)
	case s == "." || s == "..":
		return "", fault.New(fault.Invalid, "invalid container ID format: %q is a path, not a name", s)
	}
	for i := range len(s) {
		if !allowed(s[i]) {
			return "", fault.New(fault.Invalid, "invalid container ID format: %q: byte %q is not a letter, digit or one of _ + - .", clip(s), s[i:i+1])
		}
	}
	return ID(s), nil
}

// IsName reports whether s can be a name by Docker's rule,
// [a-zA-Z0-9][a-zA-Z0-9_.-]*; how long one may be is the caller's business.
func IsName(s string) bool {
	if s == "" || s[0] == '_' || s[0] == '.' || s[0] == '-' {
		return false
	}
	for i := range len(s) {
		if s[i] == '+' || !allowed(s[i]) {
			return false
		}
	}
	return true
}

func allowed(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		c == '_' || c == '+' || c == '-' || c == '.'
}

func clip(s string) string {
	return s[:min(len(s), 64)]
}

// New returns a fresh id: 64 lower-case hexadecimal digits, 256 random bits.
func New() ID { return ID(Hex(32)) }

// Hex returns n random bytes as 2n lower-case hexadecimal digits, for names
// that only must not collide. It cannot fail: crypto/rand ends the process if
// the kernel gives no randomness.
func Hex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}
