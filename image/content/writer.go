package content

import (
	"context"
	"fmt"
	"hash"
	"time"

	"berth/base/fault"
	"berth/base/undo"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
)

// writer is a content.Writer that appends. It belongs to one goroutine.
type writer struct {
	in     *ingest
	hash   hash.Hash
	offset int64
	saved  int64 // offset of the last checkpoint
	final  digest.Digest
}

// Writer opens the writer of a ref, where the last one of that ref stopped. It
// does not wait for another one: errdefs.ErrUnavailable, as containerd's
// helpers expect. errdefs.ErrAlreadyExists if the descriptor's digest is here.
// More bytes than the descriptor's size are thrown away. A commit that fails
// for its digest keeps the bytes (another commit may know better), unless they
// are as many as the descriptor said: then the ref begins anew.
func (s *Store) Writer(ctx context.Context, opts ...content.WriterOpt) (content.Writer, error) {
	var o content.WriterOpts
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			return nil, err
		}
	}
	algorithm := "sha256"
	if d := o.Desc.Digest; d != "" {
		var err error
		if algorithm, _, err = split(d); err != nil {
			return nil, err
		}
		if err := s.absent(ctx, d); err != nil {
			return nil, err
		}
	}
	w, err := openWriter(ctx, s, o, algorithm)
	if err != nil {
		return nil, err // not w: a nil *writer is not a nil content.Writer
	}
	return w, nil
}

// absent is nil if a blob is not there, errdefs.ErrAlreadyExists if it is.
func (s *Store) absent(ctx context.Context, d digest.Digest) error {
	_, err := s.Info(ctx, d)
	switch {
	case err == nil:
		return exists(d)
	case fault.Is(err, fault.NotFound):
		return nil
	}
	return err
}

func openWriter(ctx context.Context, s *Store, o content.WriterOpts, algorithm string) (w *writer, err error) {
	in, err := s.openIngest(o.Ref)
	if err != nil {
		return nil, err
	}
	var u undo.Stack
	defer u.Unwind(&err)
	u.Push("close ingest", in.close)
	if err := in.sequential(max(o.Desc.Size, 0)); err != nil {
		return nil, err
	}
	size, err := in.size()
	if err != nil {
		return nil, err
	}
	h, err := in.rehash(ctx, algorithm, size)
	if err != nil {
		return nil, err
	}
	if o.Desc.Size > 0 {
		in.state.Total = o.Desc.Size
	}
	if o.Desc.Digest != "" {
		in.state.Expected = o.Desc.Digest
	}
	if !in.resumed && size > 0 {
		// killed before its first checkpoint
		in.state.Updated = time.Now().UTC()
	}
	return &writer{in: in, hash: h, offset: size, saved: size}, nil
}

// sequential turns the folder into one whose bytes are all there: of a ranged
// writer's bytes the beginning without a hole is kept.
func (in *ingest) sequential(total int64) error {
	size, err := in.size()
	if err != nil {
		return err
	}
	keep := size
	if in.state.Ranged {
		keep = min(size, prefix(in.state.Ranges))
	}
	if total > 0 && keep > total {
		keep = 0
	}
	if keep < size {
		if err := in.data.Truncate(keep); err != nil {
			return fmt.Errorf("open ingest %q: %w", in.ref, err)
		}
	}
	if keep < size || in.state.Ranged {
		// A hash of bytes that are gone must not meet those that come next.
		in.state.Ranged, in.state.Ranges = false, nil
		return in.save(nil, 0)
	}
	return nil
}

// Write appends p.
func (w *writer) Write(p []byte) (int, error) {
	if w.in.lock == nil {
		return 0, closed(w.in.ref)
	}
	n, err := w.in.data.WriteAt(p, w.offset)
	w.hash.Write(p[:n]) // a hash never fails
	w.offset += int64(n)
	w.in.state.Updated = time.Now().UTC()
	if err != nil {
		return n, fmt.Errorf("write ingest %q: %w", w.in.ref, err)
	}
	if w.offset-w.saved >= checkpoint {
		w.saved = w.offset
		return n, w.in.save(w.hash, w.offset)
	}
	return n, nil
}

func closed(ref string) error {
	return fault.New(fault.Conflict, "ingest %q is closed: %w", ref, errdefs.ErrFailedPrecondition)
}

// Digest is the digest of what was written so far.
func (w *writer) Digest() digest.Digest {
	if w.final != "" {
		return w.final
	}
	return sum(w.in.state.Algorithm, w.hash)
}

// Status says how far the writer is.
func (w *writer) Status() (content.Status, error) {
	st := w.in.state
	return content.Status{
		Ref: w.in.ref, Offset: w.offset, Total: st.Total, Expected: st.Expected,
		StartedAt: st.Started, UpdatedAt: st.Updated,
	}, nil
}

// Truncate throws away all bytes after the first size ones.
func (w *writer) Truncate(size int64) error {
	if w.in.lock == nil {
		return closed(w.in.ref)
	}
	if size < 0 || size > w.offset {
		return fault.New(fault.Invalid, "truncate ingest %q to %d bytes, it has %d: %w", w.in.ref, size, w.offset, errdefs.ErrInvalidArgument)
	}
	if size == w.offset {
		return nil
	}
	if err := w.in.data.Truncate(size); err != nil {
		return fmt.Errorf("truncate ingest %q: %w", w.in.ref, err)
	}
	h := newHash(w.in.state.Algorithm)
	if err := hashRange(context.Background(), h, w.in.data, 0, size); err != nil {
		return fmt.Errorf("truncate ingest %q: %w", w.in.ref, err)
	}
	w.hash, w.offset, w.saved = h, size, size
	w.in.state.Updated = time.Now().UTC()
	return w.in.save(h, size)
}

// Sync flushes the bytes to disk (content.Syncer).
func (w *writer) Sync() error { return w.in.data.Sync() }

// Close notes where the writer stopped and gives the ref back.
func (w *writer) Close() error {
	if w.in.lock == nil {
		return nil
	}
	err := w.in.save(w.hash, w.offset)
	if closing := w.in.close(); err == nil {
		err = closing
	}
	return err
}

// Commit makes the bytes a blob. A size of 0 and an empty digest mean that the
// caller does not know them; what the descriptor said counts then.
func (w *writer) Commit(ctx context.Context, size int64, expected digest.Digest, opts ...content.Opt) error {
	if w.in.lock == nil {
		return closed(w.in.ref)
	}
	st := w.in.state
	if size <= 0 {
		size = st.Total
	}
	if expected == "" {
		expected = st.Expected
	}
	if size > 0 && size != w.offset {
		defer w.Close()
		return fault.New(fault.Invalid, "commit ingest %q: it has %d bytes, not %d: %w", w.in.ref, w.offset, size, errdefs.ErrFailedPrecondition)
	}
	if expected != "" {
		algorithm, _, err := split(expected)
		if err != nil {
			defer w.Close()
			return err
		}
		if algorithm != st.Algorithm {
			h, err := w.in.rehash(ctx, algorithm, w.offset)
			if err != nil {
				defer w.Close()
				return err
			}
			w.hash = h
		}
	}
	actual := w.Digest()
	if expected != "" && expected != actual {
		if expected == st.Expected && w.offset == st.Total {
			return w.in.reject(actual, expected)
		}
		defer w.Close()
		return w.in.mismatch(actual, expected)
	}
	err := w.in.commit(ctx, actual, opts)
	if err == nil {
		w.final = actual
	}
	return err
}
