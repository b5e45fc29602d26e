package containerd_test

import (
	"path/filepath"
	"testing"

	"berth/image/containerd"
	"berth/image/names"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestImages(t *testing.T) {
	ctx, root := t.Context(), t.TempDir()
	s, err := names.Open(names.Options{Dir: filepath.Join(root, "names"), Locks: filepath.Join(root, "locks")})
	if err != nil {
		t.Fatal(err)
	}
	m := containerd.Images{Store: s}
	one := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("one"), Size: 3}
	other := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("other"), Size: 5}
	made, err := m.Create(ctx, images.Image{Name: "a", Target: one, Labels: map[string]string{"k": "v"}})
	if err != nil || made.CreatedAt.IsZero() {
		t.Fatalf("%+v %v", made, err)
	}
	if _, err := m.Create(ctx, images.Image{Name: "a", Target: other}); !errdefs.IsAlreadyExists(err) {
		t.Errorf("made twice: %v", err)
	}
	if up, err := m.Update(ctx, images.Image{Name: "a", Target: other}, "target"); err != nil || up.Target.Digest != other.Digest || up.Labels["k"] != "v" {
		t.Errorf("%+v %v", up, err)
	}
	if got, err := m.Get(ctx, "a"); err != nil || got.Target.Digest != other.Digest {
		t.Errorf("%+v %v", got, err)
	}
	if all, err := m.List(ctx, "name==a"); err != nil || len(all) != 1 || all[0].Name != "a" {
		t.Errorf("%+v %v", all, err)
	}
	if err := m.Delete(ctx, "a", images.DeleteTarget(&one)); !errdefs.IsNotFound(err) {
		t.Errorf("delete of another target: %v", err)
	}
	if err := m.Delete(ctx, "a", images.DeleteTarget(&other), images.SynchronousDelete()); err != nil {
		t.Error(err)
	}
	if _, err := m.Get(ctx, "a"); !errdefs.IsNotFound(err) {
		t.Errorf("%v", err)
	}
}
