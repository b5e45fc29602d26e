package content_test

import (
	"encoding/binary"
	"testing"

	core "github.com/containerd/containerd/v2/core/content"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func benchmarkCommit(b *testing.B, deferred bool) {
	s := open(b, b.TempDir(), deferred)
	blob := make([]byte, 1000)
	n := uint64(0)
	for b.Loop() {
		n++
		binary.LittleEndian.PutUint64(blob, n)
		d := digest.FromBytes(blob)
		w, err := s.Writer(ctx, core.WithRef(string(d)), core.WithDescriptor(ocispec.Descriptor{Digest: d, Size: 1000}))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := w.Write(blob); err != nil {
			b.Fatal(err)
		}
		if err := w.Commit(ctx, 0, ""); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCommitSmallDeferred(b *testing.B) { benchmarkCommit(b, true) }
func BenchmarkCommitSmallSynced(b *testing.B)   { benchmarkCommit(b, false) }
