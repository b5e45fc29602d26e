package archive

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/base/fault"
	"berth/base/ids"
	"berth/image/manifest"
)

// blob is a file of the archive that the store has now.
type blob struct {
	digest      digest.Digest
	size        int64
	compression manifest.Compression
}

// ingest puts files into the store, one at a time.
type ingest struct {
	store  Store
	opts   LoadOptions
	prefix string // of the names of its writers
	n      int
	buf    []byte
}

func newIngest(store Store, opts LoadOptions) *ingest {
	return &ingest{store: store, opts: opts.withDefaults(), prefix: "archive-" + ids.Hex(8) + "-", buf: make([]byte, bufferSize)}
}

// put reads one file to its end. size is -1 if it is not known, expected "" if
// the archive does not say; if it says, other bytes are an error.
func (in *ingest) put(ctx context.Context, name string, r io.Reader, size int64, expected digest.Digest) (b blob, err error) {
	if expected != "" { // before it is looked for: then it stays
		if err := in.added(ctx, expected); err != nil {
			return blob{}, err
		}
	}
	if p, ok := in.store.(putter); ok && size >= 0 && size <= smallBlob {
		return in.small(ctx, p, name, r, size, expected)
	}
	in.n++
	key := in.prefix + strconv.Itoa(in.n)
	w, err := content.OpenWriter(ctx, in.store, content.WithRef(key),
		content.WithDescriptor(v1.Descriptor{Size: max(size, 0), Digest: expected}))
	if errdefs.IsAlreadyExists(err) && expected != "" {
		return in.known(ctx, name, r, size, expected)
	}
	if err != nil {
		return blob{}, fmt.Errorf("store %s: %w", name, err)
	}
	defer func() {
		err = errors.Join(err, w.Close())
		if err != nil {
			_ = in.store.Abort(context.WithoutCancel(ctx), key) // it may be gone already
		}
	}()
	c := copier{ctx: ctx, name: name, total: size, progress: in.opts.Progress}
	n, head, err := c.copy(w, r, in.buf)
	switch {
	case err != nil:
		return blob{}, fmt.Errorf("store %s: %w", name, err)
	case size >= 0 && n != size:
		return blob{}, fault.New(fault.Invalid, "store %s: it has %d bytes, not %d", name, n, size)
	}
	b = blob{digest: w.Digest(), size: n}
	if expected != "" && expected.Algorithm() == b.digest.Algorithm() && b.digest != expected {
		return blob{}, fault.New(fault.Invalid, "store %s: its digest is %s", name, b.digest)
	}
	b.compression, _ = magic(head)
	if expected != "" {
		b.digest = expected
	} else if err := in.added(ctx, b.digest); err != nil {
		return blob{}, err
	}
	err = w.Commit(ctx, n, expected)
	if errdefs.IsAlreadyExists(err) {
		err = nil // two files of the archive, or another process
	}
	if err != nil {
		return blob{}, fmt.Errorf("store %s: %w", name, err)
	}
	return b, nil
}

// known is for a file whose digest the store has: its bytes are looked at all
// the same, for a wrong file under a right name is a damaged archive.
func (in *ingest) known(ctx context.Context, name string, r io.Reader, size int64, expected digest.Digest) (blob, error) {
	v := hasher(expected)
	c := copier{ctx: ctx, name: name, total: size, progress: in.opts.Progress}
	n, head, err := c.copy(v, r, in.buf)
	if err != nil {
		return blob{}, fmt.Errorf("read %s: %w", name, err)
	}
	if got := sum(expected, v); got != expected {
		return blob{}, fault.New(fault.Invalid, "read %s: its digest is %s", name, got)
	}
	b := blob{digest: expected, size: n}
	b.compression, _ = magic(head)
	return b, nil
}

func (in *ingest) added(ctx context.Context, d digest.Digest) error {
	if in.opts.Added == nil {
		return nil
	}
	if err := in.opts.Added(ctx, d); err != nil {
		return fmt.Errorf("keep %s: %w", d, err)
	}
	return nil
}

// document puts a document that we wrote or read, with the labels that keep its
// children.
func (in *ingest) document(ctx context.Context, d *manifest.Document) error {
	return in.bytes(ctx, d.Descriptor(), d.Raw(), d.GCLabels(nil))
}

// bytes puts a small blob with labels.
func (in *ingest) bytes(ctx context.Context, desc v1.Descriptor, raw []byte, labels map[string]string) error {
	if err := in.added(ctx, desc.Digest); err != nil {
		return err
	}
	if p, ok := in.store.(putter); ok {
		err := p.Put(ctx, desc.Digest, raw, labels)
		if errdefs.IsAlreadyExists(err) {
			err = in.label(ctx, desc.Digest, labels)
		}
		return err
	}
	in.n++
	key := in.prefix + strconv.Itoa(in.n)
	w, err := content.OpenWriter(ctx, in.store, content.WithRef(key), content.WithDescriptor(desc))
	if errdefs.IsAlreadyExists(err) {
		return in.label(ctx, desc.Digest, labels)
	}
	if err != nil {
		return fmt.Errorf("store %s: %w", desc.Digest, err)
	}
	_, err = w.Write(raw)
	if err == nil {
		err = w.Commit(ctx, desc.Size, desc.Digest, content.WithLabels(labels))
	}
	if errdefs.IsAlreadyExists(err) {
		err = in.label(ctx, desc.Digest, labels)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		_ = in.store.Abort(context.WithoutCancel(ctx), key)
		return fmt.Errorf("store %s: %w", desc.Digest, err)
	}
	return nil
}

// label adds labels to a blob that is there.
func (in *ingest) label(ctx context.Context, d digest.Digest, labels map[string]string) error {
	if len(labels) == 0 {
		return nil
	}
	paths := make([]string, 0, len(labels))
	for k := range labels {
		paths = append(paths, "labels."+k)
	}
	if _, err := in.store.Update(ctx, content.Info{Digest: d, Labels: labels}, paths...); err != nil {
		return fmt.Errorf("label %s: %w", d, err)
	}
	return nil
}

// copier copies one file and tells how far it is.
type copier struct {
	ctx      context.Context
	name     string
	total    int64
	progress func(name string, done, total int64)
}

// copy returns the number of bytes and the first few of them.
func (c copier) copy(w io.Writer, r io.Reader, buf []byte) (n int64, head []byte, err error) {
	for {
		if err := c.ctx.Err(); err != nil {
			return n, head, err
		}
		k, err := r.Read(buf)
		if len(head) < 6 {
			head = append(head, buf[:min(k, 6-len(head))]...)
		}
		if _, werr := w.Write(buf[:k]); werr != nil {
			return n, head, werr
		}
		n += int64(k)
		if c.progress != nil && k > 0 {
			c.progress(c.name, n, c.total)
		}
		switch {
		case err == io.EOF:
			return n, head, nil
		case err != nil:
			return n, head, err
		}
	}
}

// hasher returns the hash of a digest's algorithm, sha256 or sha512.
func hasher(d digest.Digest) hash.Hash {
	if d.Algorithm() == digest.SHA512 {
		return sha512.New()
	}
	return sha256.New()
}

// sum is what a hasher for d came to.
func sum(d digest.Digest, h hash.Hash) digest.Digest { return digest.NewDigest(d.Algorithm(), h) }
