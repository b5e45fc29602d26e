package docker

import (
	"archive/tar"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/test/fakereg"
)

// platforms writes an OCI archive with the registry's multi:1 in it, for all its
// platforms, and gives its path.
func platforms(t *testing.T, s *fakereg.Server) string {
	t.Helper()
	blobs := map[digest.Digest][]byte{}
	keep := func(data []byte) v1.Descriptor {
		d := v1.Descriptor{Digest: digest.FromBytes(data), Size: int64(len(data))}
		blobs[d.Digest] = data
		return d
	}
	list := keep(s.Manifest("multi", "1"))
	list.MediaType, list.Annotations = v1.MediaTypeImageIndex, map[string]string{v1.AnnotationRefName: "several:1"}
	var members v1.Index
	read(t, blobs[list.Digest], &members)
	for _, d := range members.Manifests {
		var m v1.Manifest
		read(t, blobs[keep(s.Manifest("multi", d.Digest.String())).Digest], &m)
		for _, part := range append(m.Layers, m.Config) {
			keep(s.Blob("multi", part.Digest))
		}
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "several.tar"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	w := tar.NewWriter(file)
	add := func(name string, data []byte) {
		err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data))})
		if err == nil {
			_, err = w.Write(data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	add(v1.ImageLayoutFile, []byte(`{"imageLayoutVersion":"`+v1.ImageLayoutVersion+`"}`))
	top, err := json.Marshal(v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{list}})
	if err != nil {
		t.Fatal(err)
	}
	add(v1.ImageIndexFile, top)
	for d, data := range blobs {
		add("blobs/sha256/"+d.Encoded(), data)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Name()
}

func read(t *testing.T, data []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatal(err)
	}
}
