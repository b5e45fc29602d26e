package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"berth/base/fault"
)

// zeros is a tar's file of zeros without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// bigFile is a tar with one file of size zeros.
func bigFile(name string, size int64) io.Reader {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: name, Size: size, Mode: 0o644, Typeflag: tar.TypeReg}); err != nil {
		panic(err)
	}
	return io.MultiReader(&b, io.LimitReader(zeros{}, size), bytes.NewReader(make([]byte, 1024)))
}

// hostile is an archive that must be refused, and how.
type hostile struct {
	name string
	data []byte
	want string
}

func with(t *testing.T, base []file, more ...file) []byte {
	return makeTar(t, append(append([]file{}, base...), more...)...)
}

func without(t *testing.T, base []file, part string) []byte {
	var list []file
	for _, f := range base {
		if !strings.Contains(f.name, part) {
			list = append(list, f)
		}
	}
	return makeTar(t, list...)
}

func changed(t *testing.T, base []file, name, old, new string) []byte {
	list := append([]file{}, base...)
	for i, f := range list {
		if strings.HasSuffix(f.name, name) {
			list[i].data = strings.Replace(f.data, old, new, 1)
		}
	}
	return makeTar(t, list...)
}

func TestLoadHostileDocker(t *testing.T) {
	good := dockerFiles(t)
	plain := makeTar(t, good...)
	refuse(t, []hostile{
		{"nothing", nil, "it is empty"},
		{"no tar", bytes.Repeat([]byte("x"), 2000), "no whole tar"},
		{"cut off", plain[:5000], "no whole tar"},
		{"cut gzip", gzipped(t, plain)[:300], "unexpected EOF"},
		{"xz", []byte("\xfd7zXZ\x00..............."), "xz compression is not supported"},
		{"no archive of images", makeTar(t, file{name: "etc/passwd", data: "x"}), "a root file system is taken by import"},
		{"old docker", without(t, good, "manifest.json"), "docker before 1.10"},
		{"traversal", with(t, good, file{name: "../../etc/cron.d/x", data: "x"}), "no name inside the archive"},
		{"absolute", with(t, good, file{name: "/etc/passwd", data: "x"}), "no name inside the archive"},
		{"link out", with(t, good, file{name: "x", kind: tar.TypeSymlink, link: "../../etc/passwd"}), "no name inside the archive"},
		{"absolute link", with(t, good, file{name: "x", kind: tar.TypeSymlink, link: "/etc/passwd"}), "no name inside the archive"},
		{"device", with(t, good, file{name: "x", kind: tar.TypeChar}), "no file, folder or link"},
		{"fifo", with(t, good, file{name: "x", kind: tar.TypeFifo}), "no file, folder or link"},
		{"circle", changed(t, append([]file{{name: "x", kind: tar.TypeSymlink, link: "y"}, {name: "y", kind: tar.TypeSymlink, link: "x"}}, good...),
			"manifest.json", strings.Repeat("a", 64)+"/layer.tar", "x"), "in a circle"},
		{"config outside", changed(t, good, "manifest.json", `"Config":"`, `"Config":"../../`), "no name inside the archive"},
		{"layer is missing", without(t, good, strings.Repeat("b", 64)), "is missing in the archive"},
		{"config is missing", without(t, good, dig(configOf(layerOf(t, "a"))).Encoded()), "is missing in the archive"},
		{"other layer", changed(t, good, strings.Repeat("b", 64)+"/layer.tar", "hello", "jello"), "the config says"},
		{"layer counts", changed(t, good, "manifest.json", `,"`+strings.Repeat("b", 64)+`/layer.tar"`, ""), "layers length mismatch: expected 2, got 1"},
		{"manifest twice", with(t, good, file{name: "manifest.json", data: "[]"}), "stands twice"},
		{"config twice", with(t, good, file{name: dig(configOf(layerOf(t, "a"))).Encoded() + ".json", data: "{}"}), "stands twice"},
		{"name of two", changed(t, good, "repositories", "two", "one"), ""},
		{"tag of two", changed(t, good, "manifest.json", `"RepoTags":null`, `"RepoTags":["one:1"]`), "one:1 is the name of two images"},
		{"bad tag", changed(t, good, "manifest.json", `"one:1"`, `"One:1"`), "invalid tag"},
		{"manifest is no list", changed(t, good, "manifest.json", `[`, `{"a":[`), "manifest.json"},
		{"empty list", with(t, nil, file{name: "manifest.json", data: "[]"}), "it holds no image"},
		{"deep", with(t, nil, file{name: "manifest.json", data: strings.Repeat("[", 100000)}), "manifest.json"},
	})
}

func TestLoadHostileOCI(t *testing.T) {
	oci, _ := ociFiles(t)
	layer := oci[5].name
	refuse(t, []hostile{
		{"oci blob is missing", without(t, oci, layer), "is missing in the archive"},
		{"oci wrong blob", changed(t, oci, layer, "\x1f", "\x1e"), "its digest is"},
		{"oci no layout", without(t, oci, "oci-layout"), "but no oci-layout"},
		{"oci other layout", changed(t, oci, "oci-layout", "1.0.0", "2.0.0"), "not of version"},
		{"oci digest", changed(t, oci, "index.json", "sha256:", "sha256:../../"), "digest"},
		{"oci blob name", with(t, oci, file{name: "blobs/sha256/x", data: "x"}), "checksum digest"},
		{"oci size", changed(t, oci, "index.json", `"size":`, `"size":1`), "bytes, not"},
		{"oci name", changed(t, oci, "index.json", "library/multi", "library/Multi"), "must be lowercase"},
		{"oci wrong type", changed(t, oci, "index.json", "image.index.v1", "image.manifest.v1"), "read manifest"},
	})
}

// refuse loads each and wants one clear line and nothing left.
func refuse(t *testing.T, list []hostile) {
	for _, c := range list {
		store := newStore(t) // its end says that no writer is left
		images, err := Load(t.Context(), store, bytes.NewReader(c.data), LoadOptions{})
		switch {
		case c.want == "":
			if err == nil && len(images) == 0 {
				t.Errorf("%s: nothing", c.name)
			}
		case err == nil || !strings.Contains(err.Error(), c.want):
			t.Errorf("%s: %v, %v; want %q", c.name, images, err, c.want)
		case strings.Contains(err.Error(), "\n") || len(err.Error()) > 700:
			t.Errorf("%s: %q", c.name, err)
		default:
			if k := fault.KindOf(err); k != fault.Invalid && k != fault.NotFound && k != fault.Unsupported {
				t.Errorf("%s: kind %v of %v", c.name, k, err)
			}
		}
	}
}

// TestLoadHuge: what is too large is refused with little memory, at its header
// where that tells.
func TestLoadHuge(t *testing.T) {
	const gib = 1 << 30
	layer := strings.Repeat("a", 64) + "/layer.tar"
	for _, c := range []struct {
		name string
		r    func(t *testing.T) io.Reader
		opts LoadOptions
		want string
	}{
		{"manifest.json", func(*testing.T) io.Reader { return bigFile("manifest.json", 2*gib) }, LoadOptions{}, "more than 4194304"},
		{"index.json", func(*testing.T) io.Reader { return bigFile("./index.json", 2*gib) }, LoadOptions{}, "more than 4194304"},
		{"config", func(*testing.T) io.Reader { return bigFile(strings.Repeat("a", 64)+".json", 2*gib) }, LoadOptions{}, "more than 4194304"},
		{"layer", func(*testing.T) io.Reader { return bigFile(layer, 2*gib) }, LoadOptions{MaxBytes: gib}, "more than 1073741824"},
		{"all", func(*testing.T) io.Reader { return bigFile(layer, 40<<20) }, LoadOptions{MaxBytes: 40 << 20}, "holds more than"},
		{"bomb", func(t *testing.T) io.Reader {
			b, err := io.ReadAll(bigFile(layer, 160<<20))
			if err != nil {
				t.Fatal(err)
			}
			return bytes.NewReader(zstded(t, b))
		}, LoadOptions{}, "more than 1000 times"},
		{"files", func(t *testing.T) io.Reader {
			var list []file
			for i := range 20 {
				list = append(list, file{name: fmt.Sprint(i), data: "x"})
			}
			return bytes.NewReader(makeTar(t, list...))
		}, LoadOptions{MaxEntries: 19}, "more than 19 files"},
	} {
		store, r := newStore(t), c.r(t)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		images, err := Load(t.Context(), store, r, c.opts)
		runtime.ReadMemStats(&after)
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %v; want %q", c.name, images, err, c.want)
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > 32<<20 {
			t.Errorf("%s: %d bytes were taken", c.name, got)
		}
	}
}

// TestLoadSparse: files of holes, as GNU tar writes them in either format, may
// be of any size in a small archive.
func TestLoadSparse(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "layer")
	if err := errors.Join(os.WriteFile(name, []byte("x"), 0o600), os.Truncate(name, 1<<40)); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"gnu", "pax"} {
		data, err := exec.Command("tar", "-C", dir, "--format="+format, "-S", "-cf", "-", "layer").Output()
		if err != nil || len(data) > 1<<20 {
			t.Fatal(len(data), err)
		}
		if _, err := Load(t.Context(), newStore(t), bytes.NewReader(data), LoadOptions{}); err == nil || !strings.Contains(err.Error(), "sparse") {
			t.Errorf("%s: %v", format, err)
		}
	}
}

func TestLoadCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Load(ctx, newStore(t), bigFile("x", 1<<40-4096), LoadOptions{MaxBytes: 1 << 41,
		Progress: func(_ string, done, _ int64) {
			if done > 8<<20 {
				cancel()
			}
		}})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestLoadFolderHostile(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		place func(path string) error
		want  string
	}{
		{"link out", func(p string) error { return os.Symlink(secret, p) }, "escapes"},
		{"relative link out", func(p string) error { return os.Symlink("../../../../../../../etc/passwd", p) }, "escapes"},
		{"fifo", func(p string) error { return unix.Mkfifo(p, 0o644) }, "is no file"},
		{"folder", func(p string) error { return os.Mkdir(p, 0o755) }, "is no file"},
		{"huge", func(p string) error {
			return errors.Join(os.WriteFile(p, nil, 0o644), os.Truncate(p, 1<<31))
		}, "more than"},
	} {
		dir := t.TempDir()
		if err := c.place(filepath.Join(dir, "manifest.json")); err != nil {
			t.Fatal(err)
		}
		if images, err := LoadFolder(t.Context(), newStore(t), dir, LoadOptions{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %v; want %q", c.name, images, err, c.want)
		}
	}
}

func FuzzLoad(f *testing.F) {
	oci, _ := ociFiles(f)
	f.Add(makeTar(f, dockerFiles(f)...))
	f.Add(makeTar(f, oci...))
	f.Add(gzipped(f, makeTar(f, oci...)))
	store := newStore(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		images, err := Load(t.Context(), store, bytes.NewReader(data), LoadOptions{MaxBytes: 1 << 22})
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Fatalf("%q", err)
		}
		for _, img := range images {
			if img.Target.Digest == "" || img.Kind == 0 {
				t.Fatal(img)
			}
		}
	})
}
