package content_test

import (
	"bytes"
	"math/rand/v2"
	"sync"
	"testing"

	"berth/image/content"

	core "github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestRangesOutOfOrder(t *testing.T) {
	root := t.TempDir()
	s := open(t, root, false)
	b := noise(5<<20 + 123)
	d := digest.FromBytes(b)
	r, err := s.OpenRanged(ctx, "r", int64(len(b)), d)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.OpenRanged(ctx, "r", int64(len(b)), d); !errdefs.IsUnavailable(err) {
		t.Fatalf("a second writer: %v", err)
	}
	half := int64(len(b) / 2)
	if _, err := r.WriteAt(b[half:], half); err != nil {
		t.Fatal(err)
	}
	if m := r.Missing(); len(m) != 1 || m[0] != (content.Range{Start: 0, End: half}) || r.Prefix() != 0 {
		t.Fatalf("missing %v, prefix %d", m, r.Prefix())
	}
	if _, err := r.WriteAt(b[:1], int64(len(b))); !errdefs.IsInvalidArgument(err) {
		t.Errorf("beyond the end: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if st, err := s.Status(ctx, "r"); err != nil || st.Offset != int64(len(b))-half {
		t.Errorf("status %+v %v", st, err)
	}
	r, err = s.OpenRanged(ctx, "r", int64(len(b)), d)
	if err != nil {
		t.Fatal(err)
	}
	if m := r.Missing(); len(m) != 1 || m[0].End != half {
		t.Fatalf("after reopen: missing %v", m)
	}
	var wg sync.WaitGroup
	const piece = 100_000
	for w := range 4 {
		wg.Go(func() {
			for at := int64(w) * piece; at < half; at += 4 * piece {
				if _, err := r.WriteAt(b[at:min(at+piece, half)], at); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := r.Commit(ctx, core.WithLabels(map[string]string{"a": "b"})); err != nil {
		t.Fatal(err)
	}
	if got := read(t, s, d); !bytes.Equal(got, b) {
		t.Error("other bytes")
	}
	if info, _ := s.Info(ctx, d); info.Labels["a"] != "b" {
		t.Error("no labels")
	}
	if _, err := s.OpenRanged(ctx, "r", int64(len(b)), d); !errdefs.IsAlreadyExists(err) {
		t.Errorf("again: %v", err)
	}
}

func TestRangedRefusesHolesAndWrongBytes(t *testing.T) {
	s := open(t, t.TempDir(), false)
	b := noise(1000)
	r, _ := s.OpenRanged(ctx, "r", 1000, digest.FromBytes(b))
	r.WriteAt(b[:500], 0)
	if err := r.Commit(ctx); !errdefs.IsFailedPrecondition(err) {
		t.Fatalf("with a hole: %v", err)
	}
	r, err := s.OpenRanged(ctx, "r", 1000, digest.FromBytes(b))
	if err != nil {
		t.Fatal(err)
	}
	r.WriteAt(make([]byte, 500), 500)
	if err := r.Commit(ctx); !errdefs.IsFailedPrecondition(err) {
		t.Fatalf("wrong bytes: %v", err)
	}
	if _, err := s.Status(ctx, "r"); !errdefs.IsNotFound(err) {
		t.Errorf("wrong bytes were kept: %v", err)
	}
	w := writer(t, s, "w", ocispec.Descriptor{Size: 4, Digest: digest.FromString("good")})
	w.Write([]byte("evil"))
	if err := w.Commit(ctx, 4, digest.FromString("good")); !errdefs.IsFailedPrecondition(err) {
		t.Fatalf("wrong bytes in order: %v", err)
	}
	if _, err := s.Status(ctx, "w"); !errdefs.IsNotFound(err) {
		t.Errorf("wrong bytes in order were kept: %v", err)
	}
	r, _ = s.OpenRanged(ctx, "r", 1000, digest.FromBytes(b))
	r.WriteAt(b[:500], 0)
	r.Close()
	// Another blob under the same ref begins anew.
	r, err = s.OpenRanged(ctx, "r", 10, digest.FromBytes(b[:10]))
	if err != nil || len(r.Missing()) != 1 || r.Missing()[0].End != 10 {
		t.Fatalf("%v %v", r, err)
	}
	r.Close()
}

// What was hashed cannot be changed any more: else a second answer for the
// same range could put other bytes under a good digest.
func TestWrittenBytesStay(t *testing.T) {
	s := open(t, t.TempDir(), false)
	b := noise(4 << 20)
	r, err := s.OpenRanged(ctx, "r", int64(len(b)), digest.FromBytes(b))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.WriteAt(b[1<<20:3<<20], 1<<20); err != nil {
		t.Fatal(err)
	}
	if _, err := r.WriteAt(b[:1<<20], 0); err != nil {
		t.Fatal(err)
	}
	evil := make([]byte, len(b))
	copy(evil[3<<20:], b[3<<20:])
	if n, err := r.WriteAt(evil, 0); err != nil || n != len(evil) {
		t.Fatalf("%d %v", n, err)
	}
	if err := r.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.Verify(ctx, digest.FromBytes(b)); err != nil {
		t.Fatal(err)
	}
}

// Many connections that all send everything, good and bad bytes alike: what is
// committed has its digest, whoever was first.
func TestNoRaceLetsWrongBytesThrough(t *testing.T) {
	s := open(t, t.TempDir(), false)
	b := noise(3 << 20)
	d := digest.FromBytes(b)
	for range 10 {
		r, err := s.OpenRanged(ctx, "r", int64(len(b)), d)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for w := range 4 {
			from := b
			if w == 3 {
				from = make([]byte, len(b))
			}
			wg.Go(func() {
				const piece = 64 << 10
				for _, k := range rand.Perm(len(b) / piece) {
					if _, err := r.WriteAt(from[k*piece:(k+1)*piece], int64(k*piece)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if r.Commit(ctx) == nil {
			if err := s.Verify(ctx, d); err != nil {
				t.Fatal(err)
			}
			s.Delete(ctx, d)
		}
	}
}

func TestTheTwoWritersResumeEachOther(t *testing.T) {
	s := open(t, t.TempDir(), false)
	b := noise(3 << 20)
	desc := ocispec.Descriptor{Digest: digest.FromBytes(b), Size: int64(len(b))}
	w := writer(t, s, "r", desc)
	w.Write(b[:1<<20])
	w.Close()
	r, err := s.OpenRanged(ctx, "r", desc.Size, desc.Digest)
	if err != nil {
		t.Fatal(err)
	}
	if m := r.Missing(); len(m) != 1 || m[0].Start != 1<<20 {
		t.Fatalf("%v", m)
	}
	r.WriteAt(b[1<<20:2<<20], 1<<20)
	r.WriteAt(b[3<<20-5:], 3<<20-5)
	r.Close()
	w = writer(t, s, "r", desc)
	if st, _ := w.Status(); st.Offset != 2<<20 {
		t.Fatalf("offset %d", st.Offset)
	}
	w.Write(b[2<<20:])
	if err := w.Commit(ctx, 0, ""); err != nil {
		t.Fatal(err)
	}
}
