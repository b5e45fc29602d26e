package content_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"berth/base/fault"
	imagecontent "berth/image/content"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestPut: a blob with its labels at once, nothing left below ingest/, and what
// a kill left there is seen and goes.
func TestPut(t *testing.T) {
	ctx, root := context.Background(), t.TempDir()
	s, err := imagecontent.Open(imagecontent.Options{Dir: filepath.Join(root, "content"), Locks: filepath.Join(root, "locks")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	raw := []byte("a small blob")
	d := digest.FromBytes(raw)
	if err := s.Put(ctx, d, []byte("other bytes"), nil); !fault.Is(err, fault.Invalid) {
		t.Errorf("other bytes: %v", err)
	}
	if err := s.Put(ctx, d, raw, map[string]string{"a": "b", "none": ""}); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(ctx, d, raw, nil); !errdefs.IsAlreadyExists(err) || !fault.Is(err, fault.Exists) {
		t.Errorf("a second time: %v", err)
	}
	info, err := s.Info(ctx, d)
	if err != nil || info.Size != int64(len(raw)) || len(info.Labels) != 1 || info.Labels["a"] != "b" {
		t.Errorf("%+v %v", info, err)
	}
	got, err := content.ReadBlob(ctx, s, ocispec.Descriptor{Digest: d, Size: int64(len(raw))})
	if err != nil || string(got) != string(raw) {
		t.Errorf("%q %v", got, err)
	}
	ingest := filepath.Join(root, "content/ingest")
	if left, err := os.ReadDir(ingest); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	if err := os.WriteFile(filepath.Join(ingest, ".stage-0123456789abcdef"), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := s.Ingests(ctx)
	if err != nil || len(all) != 1 || all[0].Broken != nil || all[0].Bytes == 0 || time.Since(all[0].Last) > time.Minute {
		t.Fatalf("%+v %v", all, err)
	}
	if list, err := s.ListStatuses(ctx); err != nil || len(list) != 0 {
		t.Errorf("%+v %v", list, err)
	}
	if err := s.DropIngest(all[0].ID); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(ingest); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}
