package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/base/fault"
	"berth/test/fakereg"
)

// lying is a registry with one image app:1, whose layers are given as tars.
func lying(t *testing.T, tars ...[]byte) (*fakereg.Server, fakereg.Image, string) {
	t.Helper()
	reg := fakereg.New()
	server := reg.Start()
	t.Cleanup(server.Close)
	var config ocispec.Image
	var layers [][]byte
	for _, raw := range tars {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest.FromBytes(raw))
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		if _, err := z.Write(raw); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		layers = append(layers, b.Bytes())
	}
	config.RootFS.Type = "layers"
	img := reg.AddImage("app", "1", "", config, layers...)
	return reg, img, strings.TrimPrefix(server.URL, "http://") + "/app:1"
}

// fileLayer is a tar with one file.
func fileLayer(t *testing.T, name string, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(data))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func once(ctx context.Context, s *Store, name string) error {
	_, err := s.Pull(ctx, PullRequest{Name: name, Policy: PullAlways, Access: Access{Retries: -1, RetryDelay: time.Millisecond}})
	return err
}

// TestGoesOn breaks a pull off in the middle of a layer: the next one fetches
// the rest alone.
func TestGoesOn(t *testing.T) {
	raw := make([]byte, 3<<20)
	rand.NewChaCha8([32]byte{1}).Read(raw)
	reg, img, name := lying(t, fileLayer(t, "big", raw))
	s := newStore(t)
	const broken = 1 << 20
	reg.Inject(fakereg.Fault{Kind: fakereg.Truncate, Path: string(img.Layers[0].Digest), After: broken})
	if err := once(t.Context(), s, canonical(t, s, name)); err == nil {
		t.Fatal("a pull that was cut off says that all is well")
	}
	if _, err := s.Find(t.Context(), name); !fault.Is(err, fault.NotFound) {
		t.Errorf("half an image has a name: %v", err)
	}
	reg.Heal()
	before := reg.BytesSent(string(img.Layers[0].Digest))
	if err := once(t.Context(), s, canonical(t, s, name)); err != nil {
		t.Fatal(err)
	}
	again := reg.BytesSent(string(img.Layers[0].Digest)) - before
	if most := img.Layers[0].Size - broken/2; again > most {
		t.Errorf("the second pull fetched %d bytes of %d, wanted at most %d", again, img.Layers[0].Size, most)
	}
	if _, err := s.Find(t.Context(), name); err != nil {
		t.Error(err)
	}
}

// TestLies holds what a registry may do against what a pull then does: it says
// what is wrong, leaves no image, and the next pull of the truth works.
func TestLies(t *testing.T) {
	raw := fileLayer(t, "file", bytes.Repeat([]byte("honest "), 10000))
	for name, f := range map[string]struct {
		fault func(img fakereg.Image) fakereg.Fault
		says  string
	}{
		"wrong bytes of a layer": {func(i fakereg.Image) fakereg.Fault {
			return fakereg.Fault{Kind: fakereg.Corrupt, Path: string(i.Layers[0].Digest), After: i.Layers[0].Size - 6}
		}, ""},
		"a layer that breaks off": {func(i fakereg.Image) fakereg.Fault {
			return fakereg.Fault{Kind: fakereg.Truncate, Path: string(i.Layers[0].Digest), After: 100}
		}, ""},
		"wrong bytes at a layer's beginning": {func(i fakereg.Image) fakereg.Fault {
			return fakereg.Fault{Kind: fakereg.Corrupt, Path: string(i.Layers[0].Digest), After: 30}
		}, ""},
		"a layer too short": {func(i fakereg.Image) fakereg.Fault {
			return fakereg.Fault{Kind: fakereg.Short, Path: string(i.Layers[0].Digest), After: 20}
		}, ""},
		"a layer too long": {func(i fakereg.Image) fakereg.Fault {
			return fakereg.Fault{Kind: fakereg.Long, Path: string(i.Layers[0].Digest), After: 20}
		}, ""},
		"another configuration": {func(i fakereg.Image) fakereg.Fault {
			return fakereg.Fault{Kind: fakereg.Corrupt, Path: string(i.Config.Digest), After: 3}
		}, "configuration"},
		"another manifest": {func(fakereg.Image) fakereg.Fault {
			return fakereg.Fault{Kind: fakereg.Corrupt, Method: "GET", Path: "/manifests/", After: 5}
		}, ""},
		"an endless manifest": {func(i fakereg.Image) fakereg.Fault {
			return fakereg.Fault{Kind: fakereg.Endless, Method: "GET", Path: "/manifests/", Status: 200, Body: string(i.Raw)}
		}, ""},
		"no layer": {func(i fakereg.Image) fakereg.Fault {
			return fakereg.Fault{Kind: fakereg.Answer, Path: string(i.Layers[0].Digest), Status: 404}
		}, ""},
		"nothing but 401": {func(fakereg.Image) fakereg.Fault { return fakereg.Fault{Kind: fakereg.Answer, Path: "/", Status: 401} }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			reg, img, at := lying(t, raw)
			s := newStore(t)
			reg.Inject(f.fault(img))
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			err := once(ctx, s, canonical(t, s, at))
			if err == nil || !strings.Contains(err.Error(), f.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("pull says %v", err)
			}
			if _, err := s.Find(t.Context(), at); !fault.Is(err, fault.NotFound) {
				t.Errorf("there is an image: %v", err)
			}
			reg.Heal()
			if err := once(ctx, s, canonical(t, s, at)); err != nil {
				t.Errorf("the truth after it: %v", err)
			}
			if _, err := remove(t, s, RemoveOptions{}, at); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestAnotherLayer gives a layer the name of another: the digests of the
// uncompressed bytes are in the configuration.
func TestAnotherLayer(t *testing.T) {
	reg := fakereg.New()
	server := reg.Start()
	defer server.Close()
	var config ocispec.Image
	config.RootFS = ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromString("something else")}}
	reg.AddImage("app", "1", ocispec.MediaTypeImageLayer, config, layer(t, "a"))
	s := newStore(t)
	err := once(t.Context(), s, canonical(t, s, strings.TrimPrefix(server.URL, "http://")+"/app:1"))
	if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "its content has the digest") {
		t.Errorf("pull says %v", err)
	}
}
