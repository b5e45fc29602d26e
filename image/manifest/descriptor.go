package manifest

import (
	"fmt"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/base/fault"
	"berth/image/ref"
)

// Caps on one descriptor.
const (
	maxBlob = 1 << 40 // bytes of one blob
	maxURLs = 64
	maxText = 4096 // bytes of a media type, URL or part of a platform
)

// CheckDescriptor says whether a descriptor may be used: its digest may become
// a path, its size is no trap, its text is one line, its data is what the
// digest says. Errors are Invalid.
func CheckDescriptor(d v1.Descriptor) error {
	if err := ref.CheckDigest(string(d.Digest)); err != nil {
		return fmt.Errorf("digest %.150q: %w", string(d.Digest), err)
	}
	switch {
	case d.Size < 0 || d.Size > maxBlob:
		return fault.New(fault.Invalid, "size %d of %s", d.Size, d.Digest)
	case d.MediaType == "":
		return fault.New(fault.Invalid, "%s has no media type", d.Digest)
	case len(d.URLs) > maxURLs:
		return fault.New(fault.Invalid, "%s has %d urls, more than %d", d.Digest, len(d.URLs), maxURLs)
	}
	lines := append([]string{d.MediaType, d.ArtifactType}, d.URLs...)
	if p := d.Platform; p != nil {
		lines = append(append(lines, p.OS, p.Architecture, p.Variant, p.OSVersion), p.OSFeatures...)
	}
	for _, s := range lines {
		if len(s) > maxText || !isPlain(s) {
			return fault.New(fault.Invalid, "%s has text that is no plain line: %.80q", d.Digest, s)
		}
	}
	if d.Data != nil && (int64(len(d.Data)) != d.Size || !Verify(d.Digest, d.Data)) {
		return fault.New(fault.Invalid, "%s has data of another digest or size", d.Digest)
	}
	return nil
}

// isPlain: no control characters.
func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}
