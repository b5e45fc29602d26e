package archive

import (
	"bytes"
	"encoding/binary"
	"io"
	"slices"
	"testing"

	"berth/image/manifest"
)

// TestWholeTar: what estargz and zstd:chunked add to a layer is skipped: many
// gzip members, and skippable frames before, between and after.
func TestWholeTar(t *testing.T) {
	a, b := []byte("one part, "), []byte("another")
	skip := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, 0x184d2a50), 3)
	skip = append(skip, "toc"...)
	for what, c := range map[string]struct {
		kind manifest.Compression
		data []byte
	}{
		"estargz":      {manifest.Gzip, slices.Concat(gzipped(t, a), gzipped(t, b), gzipped(t, nil))},
		"zstd:chunked": {manifest.Zstd, slices.Concat(skip, zstded(t, a), skip, zstded(t, b), skip)},
		"plain":        {manifest.Uncompressed, slices.Concat(a, b)},
	} {
		if kind, other := magic(c.data); kind != c.kind || other != "" {
			t.Errorf("%s: taken for %s %s", what, kind, other)
		}
		r, err := wholeTar(c.kind, io.NopCloser(bytes.NewReader(c.data)))
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		got, err := io.ReadAll(r)
		if err != nil || string(got) != "one part, another" || r.Close() != nil {
			t.Errorf("%s: %q, %v", what, got, err)
		}
	}
}
