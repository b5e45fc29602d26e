package names_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"berth/image/names"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func open(t testing.TB, root string) *names.Store {
	t.Helper()
	s, err := names.Open(names.Options{
		Dir: filepath.Join(root, "names"), Locks: filepath.Join(root, "locks"),
		Bad: func(err error) { t.Log(err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func image(name string) names.Image {
	return names.Image{
		Name: name,
		Target: ocispec.Descriptor{
			MediaType: ocispec.MediaTypeImageManifest, Size: 1234, Digest: digest.FromString(name),
		},
	}
}

func thousand(t testing.TB) *names.Store {
	t.Helper()
	s := open(t, t.TempDir())
	var all []names.Image
	for i := range 1000 {
		all = append(all, image(fmt.Sprintf("docker.io/library/image%d:latest", i)))
	}
	if err := s.Put(context.Background(), all...); err != nil {
		t.Fatal(err)
	}
	return s
}

func BenchmarkListThousand(b *testing.B) {
	s := thousand(b)
	for b.Loop() {
		l, err := s.List(context.Background())
		if err != nil || len(l) != 1000 {
			b.Fatal(len(l), err)
		}
	}
}

func BenchmarkCreate(b *testing.B) {
	s := open(b, b.TempDir())
	n := 0
	for b.Loop() {
		n++
		if _, err := s.Create(context.Background(), image(fmt.Sprintf("bench:%d", n))); err != nil {
			b.Fatal(err)
		}
	}
}
