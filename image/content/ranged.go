package content

import (
	"context"
	"fmt"
	"hash"
	"io"
	"slices"
	"sync"
	"time"

	"berth/base/fault"
	"berth/base/undo"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
)

// Range is a piece of a blob: the bytes from Start up to, not including, End.
type Range struct {
	Start int64 `json:"start"`
	End   int64 `json:"end"`
}

// noteEvery is how many bytes a ranged writer takes between two notes of its
// finished ranges: what a killed one has to fetch again at most.
const noteEvery = 16 << 20

// maxRanges bounds state.json. A download in ever so many pieces still has few
// holes, unless its caller writes at random.
const maxRanges = 1 << 15

// Ranged is a writer that takes its bytes in any order, from several goroutines
// at once, and knows after a crash which of them it has.
type Ranged struct {
	size     int64
	expected digest.Digest

	mu      sync.Mutex // guards what follows
	in      *ingest
	ranges  []Range // finished: sorted, apart, not empty
	claims  []Range // being written, in no order
	unnoted int64

	hashing sync.Mutex // guards what follows; taken before mu
	hash    hash.Hash
	hashed  int64 // bytes of the beginning that hash has seen
}

// OpenRanged opens the ranged writer of a ref for a blob of known size (bytes)
// and digest. It goes on where a Ranged or a Writer of that ref stopped; errors
// as for Writer.
func (s *Store) OpenRanged(ctx context.Context, ref string, size int64, expected digest.Digest) (r *Ranged, err error) {
	algorithm, _, err := split(expected)
	if err != nil {
		return nil, err
	}
	if size <= 0 {
		return nil, fault.New(fault.Invalid, "ranged ingest %q of %d bytes: %w", ref, size, errdefs.ErrInvalidArgument)
	}
	if err := s.absent(ctx, expected); err != nil {
		return nil, err
	}
	in, err := s.openIngest(ref)
	if err != nil {
		return nil, err
	}
	var u undo.Stack
	defer u.Unwind(&err)
	u.Push("close ingest", in.close)
	ranges, err := in.finished(size, expected)
	if err != nil {
		return nil, err
	}
	r = &Ranged{in: in, size: size, expected: expected, ranges: ranges}
	// What is noted of the hash counts if it is of the beginning that we have.
	r.hashed = min(in.state.Hashed, prefix(ranges))
	if r.hash, err = in.rehash(ctx, algorithm, r.hashed); err != nil {
		return nil, err
	}
	in.state.Total, in.state.Expected = size, expected
	in.state.Ranged = true
	// Noted before the first byte is written out of order.
	if err := r.note(); err != nil {
		return nil, err
	}
	return r, nil
}

// finished says which ranges of the data can be kept for this blob.
func (in *ingest) finished(size int64, expected digest.Digest) ([]Range, error) {
	have, err := in.size()
	if err != nil {
		return nil, err
	}
	st := in.state
	other := st.Expected != "" && st.Expected != expected || st.Total > 0 && st.Total != size
	if other || have > size {
		in.state.Hashed, in.state.Hash = 0, nil
		if err := in.data.Truncate(0); err != nil {
			return nil, fmt.Errorf("open ingest %q: %w", in.ref, err)
		}
		return nil, nil
	}
	if !st.Ranged {
		if have == 0 {
			return nil, nil
		}
		return []Range{{0, have}}, nil
	}
	var out []Range
	for _, r := range st.Ranges {
		r.End = min(r.End, have) // never beyond what is there
		if r.Start < r.End {
			out = append(out, r)
		}
	}
	return out, nil
}

// note writes the finished ranges down; the caller holds mu or is alone.
func (r *Ranged) note() error {
	r.unnoted = 0
	r.in.state.Ranges = r.ranges
	return r.in.save(r.hash, r.hashed)
}

// WriteAt writes p at off (io.WriterAt). Bytes that are there already, or that
// another call is just writing, are not written again: they may have been
// hashed. Safe for several goroutines.
func (r *Ranged) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off > r.size || int64(len(p)) > r.size-off {
		return 0, fault.New(fault.Invalid, "write ingest %q: %d bytes at %d, it has %d: %w", r.in.ref, len(p), off, r.size, errdefs.ErrInvalidArgument)
	}
	claims, err := r.claim(Range{off, off + int64(len(p))})
	if err != nil {
		return 0, err
	}
	for i, c := range claims {
		n, err := r.in.data.WriteAt(p[c.Start-off:c.End-off], c.Start)
		if done := r.done(c, n); err == nil {
			err = done
		}
		if err != nil {
			for _, rest := range claims[i+1:] {
				_ = r.done(rest, 0)
			}
			return int(c.Start - off + int64(n)), fmt.Errorf("write ingest %q: %w", r.in.ref, err)
		}
	}
	r.hashOn()
	return len(p), nil
}

// claim reserves those parts of w that nobody has written or is writing.
func (r *Ranged) claim(w Range) ([]Range, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.in.lock == nil {
		return nil, closed(r.in.ref)
	}
	taken := slices.Clone(r.ranges)
	for _, c := range r.claims {
		taken = with(taken, c)
	}
	var out []Range
	for _, h := range holes(taken, r.size) {
		if h = (Range{max(h.Start, w.Start), min(h.End, w.End)}); h.Start < h.End {
			out = append(out, h)
		}
	}
	r.claims = append(r.claims, out...)
	return out, nil
}

// done gives a claim back of which the first n bytes are finished.
func (r *Ranged) done(claim Range, n int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.Index(r.claims, claim); i >= 0 {
		r.claims = slices.Delete(r.claims, i, i+1)
	}
	w := Range{claim.Start, claim.Start + int64(n)}
	if n == 0 {
		return nil
	}
	r.ranges = with(r.ranges, w)
	r.in.state.Updated = time.Now().UTC()
	r.unnoted += w.End - w.Start
	if len(r.ranges) > maxRanges {
		return fault.New(fault.Invalid, "more than %d pieces with holes between them", maxRanges)
	}
	if r.unnoted < noteEvery || r.in.lock == nil {
		return nil
	}
	if r.hashing.TryLock() {
		defer r.hashing.Unlock()
		return r.note()
	}
	if r.unnoted < 4*noteEvery {
		return nil // later, with the hash
	}
	r.unnoted = 0
	r.in.state.Ranges = r.ranges
	return r.in.save(nil, 0)
}

// hashOn hashes what became whole at the beginning, unless another goroutine
// is at it: the commit then finds little left to do.
func (r *Ranged) hashOn() {
	if !r.hashing.TryLock() {
		return
	}
	defer r.hashing.Unlock()
	end := r.Prefix()
	if end-r.hashed >= 1<<20 {
		r.advance(context.Background(), end)
	}
}

// advance hashes up to end; the caller holds hashing. An error leaves hashed
// where it was sure and comes back at the commit.
func (r *Ranged) advance(ctx context.Context, end int64) error {
	for r.hashed < end {
		next := min(r.hashed+1<<20, end)
		if err := hashRange(ctx, r.hash, r.in.data, r.hashed, next); err != nil {
			r.hash, r.hashed = newHash(r.in.state.Algorithm), 0
			return err
		}
		r.hashed = next
	}
	return nil
}

// Missing lists what was not written yet, in order.
func (r *Ranged) Missing() []Range {
	r.mu.Lock()
	defer r.mu.Unlock()
	return holes(r.ranges, r.size)
}

// Prefix is how many bytes are there from the beginning without a hole: a
// reader that streams the blob while it comes may read up to there.
func (r *Ranged) Prefix() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return prefix(r.ranges)
}

// ReadAt reads what was written (io.ReaderAt); bytes that are missing read as
// zeros or io.EOF, so ask Prefix or Missing first. After Close or Commit it
// fails.
func (r *Ranged) ReadAt(p []byte, off int64) (int, error) { return r.in.data.ReadAt(p, off) }

// Close notes what is finished and gives the ref back.
func (r *Ranged) Close() error {
	r.hashing.Lock()
	defer r.hashing.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.in.lock == nil {
		return nil
	}
	err := r.note()
	if closing := r.in.close(); err == nil {
		err = closing
	}
	return err
}

// Commit makes the bytes a blob once none is missing. Nobody may write any
// more. It closes the writer in every case; errors as for a Writer's Commit.
// If all are there and their digest is wrong, they are thrown away.
func (r *Ranged) Commit(ctx context.Context, opts ...content.Opt) error {
	defer r.Close()
	r.hashing.Lock()
	defer r.hashing.Unlock()
	if missing := r.Missing(); len(missing) > 0 {
		return fault.New(fault.Invalid, "commit ingest %q: %d bytes are missing, the first at %d: %w",
			r.in.ref, length(missing), missing[0].Start, errdefs.ErrFailedPrecondition)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.in.lock == nil {
		return closed(r.in.ref)
	}
	if err := r.advance(ctx, r.size); err != nil {
		return fmt.Errorf("commit ingest %q: %w", r.in.ref, err)
	}
	actual := sum(r.in.state.Algorithm, r.hash)
	if actual != r.expected {
		return r.in.reject(actual, r.expected)
	}
	return r.in.commit(ctx, actual, opts)
}

var (
	_ io.WriterAt = (*Ranged)(nil)
	_ io.ReaderAt = (*Ranged)(nil)
)

// with adds w to sorted ranges and joins what touches.
func with(ranges []Range, w Range) []Range {
	i, _ := slices.BinarySearchFunc(ranges, w.Start, func(r Range, start int64) int {
		if r.End < start {
			return -1
		}
		return 1
	})
	j := i
	for j < len(ranges) && ranges[j].Start <= w.End {
		w.Start, w.End = min(w.Start, ranges[j].Start), max(w.End, ranges[j].End)
		j++
	}
	return slices.Replace(ranges, i, j, w)
}

// holes are what ranges leave out of size bytes.
func holes(ranges []Range, size int64) []Range {
	var out []Range
	at := int64(0)
	for _, r := range ranges {
		if r.Start > at {
			out = append(out, Range{at, min(r.Start, size)})
		}
		at = max(at, r.End)
	}
	if at < size {
		out = append(out, Range{at, size})
	}
	return out
}

func prefix(ranges []Range) int64 {
	if len(ranges) == 0 || ranges[0].Start != 0 {
		return 0
	}
	return ranges[0].End
}

func length(ranges []Range) int64 {
	n := int64(0)
	for _, r := range ranges {
		n += r.End - r.Start
	}
	return n
}
