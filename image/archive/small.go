package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"

	"berth/base/fault"
)

// putter is a store that takes a blob at once, without a writer that could be
// resumed.
type putter interface {
	Put(ctx context.Context, d digest.Digest, raw []byte, labels map[string]string) error
}

// smallBlob is up to which size in bytes a file is put at once.
const smallBlob = 1 << 20

// small is put for a file of a known size that fits into memory.
func (in *ingest) small(ctx context.Context, p putter, name string, r io.Reader, size int64, expected digest.Digest) (blob, error) {
	var raw bytes.Buffer
	raw.Grow(int(size))
	c := copier{ctx: ctx, name: name, total: size, progress: in.opts.Progress}
	n, head, err := c.copy(&raw, r, in.buf)
	switch {
	case err != nil:
		return blob{}, fmt.Errorf("store %s: %w", name, err)
	case n != size:
		return blob{}, fault.New(fault.Invalid, "store %s: it has %d bytes, not %d", name, n, size)
	}
	b := blob{digest: expected, size: n}
	b.compression, _ = magic(head)
	var h hash.Hash
	if expected == "" {
		h = sha256.New()
		h.Write(raw.Bytes())
		b.digest = digest.NewDigest(digest.SHA256, h)
		if err := in.added(ctx, b.digest); err != nil {
			return blob{}, err
		}
	} else {
		h = hasher(expected)
		h.Write(raw.Bytes())
		if got := sum(expected, h); got != expected {
			return blob{}, fault.New(fault.Invalid, "store %s: its digest is %s", name, got)
		}
	}
	err = p.Put(ctx, b.digest, raw.Bytes(), nil)
	if err != nil && !errdefs.IsAlreadyExists(err) { // two files of the archive, or another process
		return blob{}, fmt.Errorf("store %s: %w", name, err)
	}
	return b, nil
}
