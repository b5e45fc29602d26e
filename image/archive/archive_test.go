package archive

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"berth/image/content"
	"berth/image/manifest"
	"berth/image/ref"
)

// newStore is the room's own store on a real folder.
func newStore(t testing.TB) *content.Store {
	t.Helper()
	dir := t.TempDir()
	s, err := content.Open(content.Options{Dir: filepath.Join(dir, "content"), Locks: filepath.Join(dir, "locks"), Deferred: true,
		Bad: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if left, err := s.ListStatuses(context.Background()); err != nil || len(left) > 0 {
			t.Errorf("writers are left: %v, %v", left, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// file is one entry of a tar in a test.
type file struct {
	name, link, data string
	kind             byte
	size             int64 // if it is not that of data
	pax              map[string]string
}

func makeTar(t testing.TB, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Linkname: f.link, Typeflag: f.kind, Size: int64(len(f.data)), Mode: 0o644, PAXRecords: f.pax}
		if f.size != 0 {
			h.Size = f.size
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, f.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil && !strings.Contains(err.Error(), "missed writing") {
		t.Fatal(err)
	}
	b.Write(make([]byte, 1024))
	return b.Bytes()
}

func readTar(t testing.TB, data []byte, each func(name string, data []byte)) {
	t.Helper()
	for r := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		each(h.Name, content)
	}
}

func dig(s string) digest.Digest { return digest.FromString(s) }

func blobFile(data string) file { return file{name: blobName(dig(data)), data: data} }

// layerOf is the tar of a layer with one file.
func layerOf(t testing.TB, text string) string {
	return string(makeTar(t, file{name: "hello-" + text, data: text}))
}

func configOf(layers ...string) string {
	c := manifest.Config{OS: "linux", Architecture: "amd64"}
	for _, l := range layers {
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, dig(l))
	}
	made, err := manifest.NewConfig(c)
	if err != nil {
		panic(err)
	}
	return string(made.Raw())
}

func toJSON(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

// dockerFiles is an archive as docker before 25 wrote it.
func dockerFiles(t testing.TB) []file {
	a, b := layerOf(t, "a"), layerOf(t, "b")
	one, two := configOf(a, b), configOf(a)
	idA, idB, idC := strings.Repeat("a", 64), strings.Repeat("b", 64), strings.Repeat("c", 64)
	return []file{
		{name: idA + "/", kind: tar.TypeDir},
		{name: idA + "/VERSION", data: "1.0"},
		{name: idA + "/json", data: "{}"},
		{name: idA + "/layer.tar", data: a},
		{name: idB + "/layer.tar", data: b},
		{name: idC + "/layer.tar", kind: tar.TypeSymlink, link: "../" + idA + "/layer.tar"},
		{name: dig(one).Encoded() + ".json", data: one},
		{name: dig(two).Encoded() + ".json", data: two},
		{name: "manifest.json", data: toJSON([]dockerImage{
			{Config: dig(one).Encoded() + ".json", RepoTags: []string{"one:1", "localhost/one:x"}, Layers: []string{idA + "/layer.tar", idB + "/layer.tar"}},
			{Config: dig(two).Encoded() + ".json", Layers: []string{idC + "/layer.tar"}},
		})},
		{name: "repositories", data: toJSON(map[string]map[string]string{"two": {"latest": idC}})},
	}
}

func names(img Image) string {
	var list []string
	for _, n := range img.Names {
		list = append(list, n.String())
	}
	return strings.Join(list, " ")
}

func gzipped(t testing.TB, data []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(data)
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zstded(t testing.TB, data []byte) []byte {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(data, nil)
}

// onePass is a pipe: it cannot be sought, and gives little at a time.
type onePass struct{ r io.Reader }

func (o onePass) Read(p []byte) (int, error) { return o.r.Read(p[:min(len(p), 777)]) }

func TestLoadDocker(t *testing.T) {
	ctx, plain := t.Context(), makeTar(t, dockerFiles(t)...)
	for what, data := range map[string][]byte{"plain": plain, "gzip": gzipped(t, plain), "zstd": zstded(t, plain)} {
		store := newStore(t)
		seen := map[digest.Digest]bool{}
		images, err := Load(ctx, store, onePass{bytes.NewReader(data)}, LoadOptions{
			Added: func(_ context.Context, d digest.Digest) error { seen[d] = true; return nil }})
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if len(images) != 2 || names(images[0]) != "docker.io/library/one:1 localhost/one:x" || names(images[1]) != "docker.io/library/two:latest" {
			t.Fatalf("%s: %v", what, images)
		}
		if len(seen) != 6 { // two layers, two configs, two manifests
			t.Errorf("%s: %d blobs were told of", what, len(seen))
		}
		checkWhole(t, store, images[0], 2)
		checkWhole(t, store, images[1], 1)
	}
}

// checkWhole reads an image back from the store and looks at its labels.
func checkWhole(t *testing.T, store Store, img Image, layers int) {
	t.Helper()
	doc, config := readImage(t, store, img.Target)
	if len(doc.Manifest.Layers) != layers || manifest.CheckLayers(doc.Manifest, config) != nil {
		t.Errorf("%v", doc.Manifest)
	}
	info, err := store.Info(t.Context(), img.Target.Digest)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range doc.GCLabels(nil) {
		if info.Labels[k] != v {
			t.Errorf("label %s is %q", k, info.Labels[k])
		}
	}
	for i, l := range doc.Manifest.Layers {
		r, _, err := Blobs(store).OpenTar(t.Context(), config.RootFS.DiffIDs[i], l)
		if err != nil {
			t.Fatal(err)
		}
		got, err := digest.FromReader(r)
		if err != nil || got != config.RootFS.DiffIDs[i] || r.Close() != nil {
			t.Errorf("layer %d: %s, %v", i, got, err)
		}
	}
}

func readImage(t testing.TB, store Store, d v1.Descriptor) (*manifest.Document, *manifest.Config) {
	t.Helper()
	s := saver{from: store}
	doc, err := s.platform(context.Background(), d, 0)
	if err != nil {
		t.Fatal(err)
	}
	b := blob{digest: doc.Manifest.Config.Digest, size: doc.Manifest.Config.Size}
	raw, err := (&loader{in: newIngest(store, LoadOptions{})}).read(context.Background(), "config", b)
	if err != nil {
		t.Fatal(err)
	}
	config, err := manifest.DecodeConfig(raw)
	if err != nil {
		t.Fatal(err)
	}
	return doc, config
}

// ociFiles is an OCI layout: an index of two platforms, the second of which is
// not in the archive, and a second name.
func ociFiles(t testing.TB) (files []file, index v1.Descriptor) {
	layer := layerOf(t, "m")
	gz := string(gzipped(t, []byte(layer)))
	config := configOf(layer)
	m := v1.Manifest{Config: v1.Descriptor{MediaType: v1.MediaTypeImageConfig, Digest: dig(config), Size: int64(len(config))},
		Layers: []v1.Descriptor{{MediaType: v1.MediaTypeImageLayerGzip, Digest: dig(gz), Size: int64(len(gz))}}}
	one, err := manifest.NewManifest(m)
	if err != nil {
		t.Fatal(err)
	}
	m.Annotations = map[string]string{"for": "arm64"}
	two, err := manifest.NewManifest(m)
	if err != nil {
		t.Fatal(err)
	}
	here, away := one.Descriptor(), two.Descriptor()
	here.Platform, away.Platform = &v1.Platform{OS: "linux", Architecture: "amd64"}, &v1.Platform{OS: "linux", Architecture: "arm64"}
	list, err := manifest.NewIndex(v1.Index{Manifests: []v1.Descriptor{here, away}})
	if err != nil {
		t.Fatal(err)
	}
	first, second := list.Descriptor(), list.Descriptor()
	first.Annotations = map[string]string{nameAnnotation: "docker.io/library/multi:1", v1.AnnotationRefName: "1"}
	second.Annotations = map[string]string{v1.AnnotationRefName: "quay.io/x/multi:2"}
	top, err := manifest.NewIndex(v1.Index{Manifests: []v1.Descriptor{first, second}})
	if err != nil {
		t.Fatal(err)
	}
	return []file{
		{name: "./oci-layout", data: `{"imageLayoutVersion":"1.0.0"}`},
		{name: "./index.json", data: string(top.Raw())},
		blobFile(string(list.Raw())), blobFile(string(one.Raw())), blobFile(config), blobFile(gz),
	}, list.Descriptor()
}

func TestLoadOCI(t *testing.T) {
	files, target := ociFiles(t)
	dir := t.TempDir()
	for _, f := range files {
		name := filepath.Join(dir, f.name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(f.data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	slices.Reverse(files)
	archive := makeTar(t, files...)
	for what, load := range map[string]func(Store) ([]Image, error){
		"stream": func(s Store) ([]Image, error) {
			return Load(t.Context(), s, onePass{bytes.NewReader(archive)}, LoadOptions{})
		},
		"folder": func(s Store) ([]Image, error) { return LoadFolder(t.Context(), s, dir, LoadOptions{}) },
	} {
		store := newStore(t)
		images, err := load(store)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if len(images) != 1 || names(images[0]) != "docker.io/library/multi:1 quay.io/x/multi:2" ||
			images[0].Target.Digest != target.Digest || images[0].Kind != manifest.IndexKind {
			t.Fatalf("%s: %v", what, images)
		}
		info, err := store.Info(t.Context(), target.Digest)
		if err != nil || info.Labels["containerd.io/gc.ref.content.m.0"] == "" || info.Labels["containerd.io/gc.ref.content.m.1"] != "" {
			t.Errorf("%s: %v, %v", what, info.Labels, err)
		}
		if again, err := load(store); err != nil || len(again) != 1 {
			t.Errorf("%s: again: %v, %v", what, again, err)
		}
	}
}

// TestSaveAndLoad: what is saved is loaded as it was, and is saved as the same
// bytes again.
func TestSaveAndLoad(t *testing.T) {
	ctx := t.Context()
	files, target := ociFiles(t)
	store := newStore(t)
	if _, err := Load(ctx, store, bytes.NewReader(makeTar(t, files...)), LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	images, err := Load(ctx, store, bytes.NewReader(makeTar(t, dockerFiles(t)...)), LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	name, _ := ref.Docker("multi:1")
	sources := []Source{{Target: target, Names: []ref.Ref{name}}}
	for _, img := range images {
		sources = append(sources, Source{Target: img.Target, Names: img.Names})
	}
	for _, opts := range []SaveOptions{{Format: Docker}, {Format: OCI}, {Format: OCI, Platform: &manifest.Platform{OS: "linux", Architecture: "amd64"}},
		{Format: Docker, Compression: manifest.Gzip}, {Format: OCI, Compression: manifest.Zstd}} {
		what := fmt.Sprintf("%v", opts)
		var one, two, three bytes.Buffer
		if err := Save(ctx, &one, store, Blobs(store), sources, opts); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if err := Save(ctx, &two, store, Blobs(store), sources, opts); err != nil || !bytes.Equal(one.Bytes(), two.Bytes()) {
			t.Errorf("%s: the second save differs, %v", what, err)
		}
		other := newStore(t)
		loaded, err := Load(ctx, other, bytes.NewReader(one.Bytes()), LoadOptions{})
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		var again []Source
		for i, img := range loaded {
			again = append(again, Source{Target: img.Target, Names: img.Names})
			_, was := readImage(t, store, sources[i].Target)
			_, is := readImage(t, other, img.Target)
			if was.Digest() != is.Digest() {
				t.Errorf("%s: image %d is %s, was %s", what, i, is.Digest(), was.Digest())
			}
			if opts.Format == OCI && opts.Platform == nil && img.Target.Digest != sources[i].Target.Digest {
				t.Errorf("%s: image %d has another manifest", what, i)
			}
		}
		if err := Save(ctx, &three, other, Blobs(other), again, opts); err != nil || !bytes.Equal(one.Bytes(), three.Bytes()) {
			t.Errorf("%s: saved again from another store it differs, %v", what, err)
		}
	}
}

func TestSaveFolder(t *testing.T) {
	files, target := ociFiles(t)
	store, other, dir := newStore(t), newStore(t), filepath.Join(t.TempDir(), "a", "b")
	if _, err := Load(t.Context(), store, bytes.NewReader(makeTar(t, files...)), LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	name, _ := ref.Docker("x:1")
	for range 2 {
		if err := SaveFolder(t.Context(), dir, store, []Source{{Target: target, Names: []ref.Ref{name}}}, SaveOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	images, err := LoadFolder(t.Context(), other, dir, LoadOptions{})
	if err != nil || len(images) != 1 || images[0].Target.Digest != target.Digest || names(images[0]) != "docker.io/library/x:1" {
		t.Fatal(images, err)
	}
	if got, err := filepath.Glob(path.Join(dir, "blobs/sha256/.new-*")); err != nil || len(got) > 0 {
		t.Error(got, err)
	}
}

// TestLoadAtOnce: many load the same archives into one store at once, each
// through a Store of its own, as processes do.
func TestLoadAtOnce(t *testing.T) {
	oci, _ := ociFiles(t)
	one, two, dir := makeTar(t, dockerFiles(t)...), makeTar(t, oci...), t.TempDir()
	var all errgroup.Group
	for i := range 12 {
		all.Go(func() error {
			s, err := content.Open(content.Options{Dir: filepath.Join(dir, "content"), Locks: filepath.Join(dir, "locks"), Deferred: true})
			if err != nil {
				return err
			}
			data, want := one, 2
			if i%2 == 1 {
				data, want = two, 1
			}
			images, err := Load(t.Context(), s, bytes.NewReader(data), LoadOptions{})
			if err == nil && len(images) != want {
				err = fmt.Errorf("%d images", len(images))
			}
			return errors.Join(err, s.Close())
		})
	}
	if err := all.Wait(); err != nil {
		t.Error(err)
	}
}
