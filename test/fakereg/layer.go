package fakereg

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// Layer is a gzip layer with these files, all executable, and its diff id. A name
// that ends with / is a folder, a text "-> TARGET" a symbolic link.
func Layer(files map[string]string) ([]byte, digest.Digest) {
	var raw bytes.Buffer
	w := tar.NewWriter(&raw)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		h := &tar.Header{Name: name, Mode: 0o755, Size: int64(len(files[name])), ModTime: time.Unix(1700000000, 0)}
		if target, link := strings.CutPrefix(files[name], "-> "); link {
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, target, 0
		}
		_ = w.WriteHeader(h)
		if h.Size > 0 {
			_, _ = w.Write([]byte(files[name]))
		}
	}
	_ = w.Close()
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write(raw.Bytes())
	_ = z.Close()
	return packed.Bytes(), digest.FromBytes(raw.Bytes())
}
