package takeover

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/test/fakereg"
)

// fake is a store made by hand, so that it can be made wrong.
type fake struct {
	t    *testing.T
	root string
}

func (f fake) write(name string, data any) {
	f.t.Helper()
	var raw []byte
	switch d := data.(type) {
	case string:
		raw = []byte(d)
	case []byte:
		raw = d
	default:
		var err error
		if raw, err = json.Marshal(d); err != nil {
			f.t.Fatal(err)
		}
	}
	path := filepath.Join(f.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		f.t.Fatal(err)
	}
	_ = os.Remove(path) // perhaps a link by now
	if err := os.WriteFile(path, raw, 0o644); err != nil {
		f.t.Fatal(err)
	}
}

func (f fake) link(to, name string) {
	f.t.Helper()
	path := filepath.Join(f.root, name)
	if err := os.RemoveAll(path); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Symlink(to, path); err != nil {
		f.t.Fatal(err)
	}
}

const content = "etc/a"

// parts are the one layer of a fake's image.
func parts(t *testing.T) (diff digest.Digest, list []byte, config []byte) {
	t.Helper()
	data := layerTar(t, entry{name: "etc/"}, entry{name: content, text: content})
	list, err := fakereg.Split(data)
	if err != nil {
		t.Fatal(err)
	}
	diff = digest.FromBytes(data)
	config, _ = json.Marshal(map[string]any{"architecture": "amd64", "os": "linux", "rootfs": map[string]any{"type": "layers", "diff_ids": []digest.Digest{diff}}})
	return diff, list, config
}

const cache = "abc123"

// the names of the fakes' files.
func dockerFiles(diff digest.Digest, config []byte) (id digest.Digest, layer string) {
	return digest.FromBytes(config), "image/overlay2/layerdb/sha256/" + identity.ChainID([]digest.Digest{diff}).Encoded()
}

func newDocker(t *testing.T) fake {
	diff, list, config := parts(t)
	f := fake{t, t.TempDir()}
	id, layer := dockerFiles(diff, config)
	f.write("image/overlay2/repositories.json", map[string]any{"Repositories": map[string]any{"one": map[string]any{"one:latest": id}}})
	f.write("image/overlay2/imagedb/content/sha256/"+id.Encoded(), config)
	f.write(layer+"/diff", string(diff))
	f.write(layer+"/cache-id", cache)
	f.write(layer+"/tar-split.json.gz", list)
	f.write("overlay2/"+cache+"/diff/"+content, content)
	return f
}

func newPodman(t *testing.T) fake {
	diff, list, config := parts(t)
	f := fake{t, t.TempDir()}
	id := digest.FromBytes(config)
	f.write("overlay-images/images.json", []any{map[string]any{"id": id.Encoded(), "names": []string{"docker.io/library/one:latest"}, "layer": diff.Encoded()}})
	f.write("overlay-images/"+id.Encoded()+"/manifest", map[string]any{"schemaVersion": 2, "config": map[string]any{"digest": id}})
	f.write("overlay-images/"+id.Encoded()+"/"+bigName(id.String()), config)
	f.write("overlay-images/images.lock", "")
	f.write("overlay-layers/layers.lock", "")
	f.write("overlay-layers/layers.json", []any{map[string]any{"id": diff.Encoded(), "diff-digest": diff}})
	f.write("overlay-layers/"+diff.Encoded()+".tar-split.gz", list)
	f.write("overlay/"+diff.Encoded()+"/diff/"+content, content)
	return f
}

func zipped(lines ...string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	fmt.Fprint(z, strings.Join(lines, "\n"))
	z.Close()
	return b.Bytes()
}

// trick is a way to make a store wrong.
type trick struct {
	name string
	do   func(f fake)
	want string // in the error
	kind fault.Kind
}

// try plays tricks on stores, each on a new one.
func try(t *testing.T, engine string, fresh func(*testing.T) fake, tricks []trick) {
	t.Helper()
	for _, c := range tricks {
		t.Run(c.name, func(t *testing.T) {
			f := fresh(t)
			c.do(f)
			names, troubles := taken(t, engine, f.root)
			judge(t, len(names), troubles, c.want, c.kind)
		})
	}
}

func TestHostileDocker(t *testing.T) {
	diff, list, config := parts(t)
	id, layer := dockerFiles(diff, config)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	files := "overlay2/" + cache + "/diff/"
	file := func(name string) []byte {
		return zipped(fmt.Sprintf(`{"type":1,"name":%q,"size":5,"payload":"AAAAAAAAAAA=","position":0}`, name))
	}
	try(t, Docker, newDocker, []trick{
		{"nothing", func(fake) {}, "", 0},
		{"file changed", func(f fake) { f.write(files+content, "other") }, "file integrity checksum failed", fault.Invalid},
		{"file longer", func(f fake) { f.write(files+content, "longer than it was") }, "has 18 bytes, not 5", fault.Invalid},
		{"file gone", func(f fake) { os.Remove(f.root + "/" + files + content) }, "no such file", fault.NotFound},
		{"file is a link out", func(f fake) { f.link(secret, files+content) }, "is no file", fault.Invalid},
		{"folder is a link out", func(f fake) { f.link(filepath.Dir(secret), files+"etc") }, "layer " + string(diff), fault.NotFound},
		{"diff is a link", func(f fake) { f.link(filepath.Dir(secret), "overlay2/"+cache+"/diff") }, "not a directory", fault.Invalid},
		{"list is a link", func(f fake) { f.link(secret, layer+"/tar-split.json.gz") }, "symbolic links", fault.Invalid},
		{"names are a link", func(f fake) { f.link(secret, "image/overlay2/repositories.json") }, "symbolic links", fault.Invalid},
		{"config is a link", func(f fake) { f.link(secret, "image/overlay2/imagedb/content/sha256/"+id.Encoded()) }, "symbolic links", fault.Invalid},
		{"config changed", func(f fake) { f.write("image/overlay2/imagedb/content/sha256/"+id.Encoded(), "{}") }, "another digest", fault.Invalid},
		{"config gone", func(f fake) { os.Remove(f.root + "/image/overlay2/imagedb/content/sha256/" + id.Encoded()) }, "(one:latest)", fault.NotFound},
		{"another diff", func(f fake) { f.write(layer+"/diff", string(id)) }, "/diff says", fault.Invalid},
		{"layer gone", func(f fake) { os.RemoveAll(f.root + "/" + layer) }, "layer " + string(diff), fault.NotFound},
		{"cache id leads out", func(f fake) { f.write(layer+"/cache-id", "../../../..") }, `cache-id: "../../../.."`, fault.Invalid},
		{"long cache id", func(f fake) { f.write(layer+"/cache-id", strings.Repeat("a", 4096)) }, "more than 1024 bytes", fault.Invalid},
		{"name leads out", func(f fake) { f.write(layer+"/tar-split.json.gz", file("../../../../../../../../.."+secret)) }, "no such file", fault.NotFound},
		{"absolute name", func(f fake) { f.write(layer+"/tar-split.json.gz", file(secret)) }, "no such file", fault.NotFound},
		{"another list", func(f fake) {
			f.write(layer+"/tar-split.json.gz", zipped(`{"type":2,"payload":"aGVsbG8=","position":0}`))
		}, "make another tar", fault.Invalid},
		{"half a list", func(f fake) { f.write(layer+"/tar-split.json.gz", list[:len(list)/2]) }, "layer " + string(diff), fault.Invalid},
		{"no gzip", func(f fake) { f.write(layer+"/tar-split.json.gz", "hello") }, "tar-split's list", fault.Invalid},
		{"unknown entry", func(f fake) { f.write(layer+"/tar-split.json.gz", zipped(`{"type":3}`)) }, "entry of type 3", fault.Invalid},
		{"negative size", func(f fake) { f.write(layer+"/tar-split.json.gz", zipped(`{"type":1,"name":"x","size":-1}`)) }, "negative size", fault.Invalid},
		{"names twice", func(f fake) {
			f.write(layer+"/tar-split.json.gz", zipped(`{"type":1,"name":"x"}`, `{"type":1,"name":"./x"}`))
		}, "duplicates of file paths", fault.Invalid},
	})
}

func TestHostileDockersNames(t *testing.T) {
	diff, _, config := parts(t)
	id, _ := dockerFiles(diff, config)
	files := "overlay2/" + cache + "/diff/"
	try(t, Docker, newDocker, []trick{
		{"id of a name", func(f fake) {
			f.write("image/overlay2/repositories.json", `{"Repositories":{"x":{"x:latest":"sha256:../../etc"}}}`)
		}, `x:latest: "sha256:../../etc" is no image id`, fault.Invalid},
		{"bad name", func(f fake) {
			f.write("image/overlay2/repositories.json", fmt.Sprintf(`{"Repositories":{"x":{"../x\u001b[2J:latest":%q}}}`, id))
		}, "is no image's name", fault.Invalid},
		{"names are no JSON", func(f fake) { f.write("image/overlay2/repositories.json", "{") }, "repositories.json", fault.Invalid},
		{"names are huge", func(f fake) { f.write("image/overlay2/repositories.json", strings.Repeat(" ", maxNames+1)) }, "more than 8388608 bytes", fault.Invalid},
		{"a FIFO", func(f fake) {
			os.Remove(f.root + "/image/overlay2/repositories.json")
			if err := unix.Mkfifo(f.root+"/image/overlay2/repositories.json", 0o600); err != nil {
				t.Fatal(err)
			}
		}, "is no file", fault.Invalid},
		{"a FIFO in the layer", func(f fake) {
			os.Remove(f.root + "/" + files + content)
			if err := unix.Mkfifo(f.root+"/"+files+content, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "is no file", fault.Invalid},
		{"containerd", func(f fake) {
			os.RemoveAll(f.root + "/image")
			f.write("containerd/daemon/io.containerd.content.v1.content/blobs/x", "")
		}, "keeps its images in containerd", fault.Unsupported},
		{"aufs", func(f fake) {
			if err := os.Rename(f.root+"/image/overlay2", f.root+"/image/aufs"); err != nil {
				t.Fatal(err)
			}
		}, `["aufs"] alone`, fault.Unsupported},
		{"no store", func(f fake) { os.RemoveAll(f.root + "/image") }, "no data-root", fault.NotFound},
	})
}

// judge wants one image or one trouble.
func judge(t *testing.T, images int, troubles []error, want string, kind fault.Kind) {
	t.Helper()
	if want == "" {
		if images != 1 || len(troubles) > 0 {
			t.Errorf("%d images, %v", images, troubles)
		}
		return
	}
	if len(troubles) != 1 {
		t.Fatalf("%d images, %v", images, troubles)
	}
	err := troubles[0]
	if !strings.Contains(err.Error(), want) || strings.ContainsAny(err.Error(), "\n\x1b") || fault.KindOf(err) != kind || images > 0 {
		t.Errorf("%d images, kind %v: %q", images, fault.KindOf(err), err)
	}
}

func TestHostilePodman(t *testing.T) {
	diff, list, config := parts(t)
	id, hex := digest.FromBytes(config), diff.Encoded()
	layers := func(more ...map[string]any) []any {
		out := []any{}
		for _, m := range more {
			out = append(out, m)
		}
		return out
	}
	try(t, Podman, newPodman, []trick{
		{"nothing", func(fake) {}, "", 0},
		{"no locks", func(f fake) {
			os.Remove(f.root + "/overlay-layers/layers.lock")
			os.Remove(f.root + "/overlay-images/images.lock")
		}, "", 0},
		{"id leads out", func(f fake) {
			f.write("overlay-images/images.json", []any{map[string]any{"id": "../../etc", "layer": hex}})
		}, "its id is none", fault.Invalid},
		{"layer's id leads out", func(f fake) {
			f.write("overlay-images/images.json", []any{map[string]any{"id": id.Encoded(), "layer": "../x"}})
			f.write("overlay-layers/layers.json", layers(map[string]any{"id": "../x", "diff-digest": diff}))
		}, `its id "../x" is none`, fault.Invalid},
		{"layers in a circle", func(f fake) {
			f.write("overlay-layers/layers.json", layers(map[string]any{"id": hex, "parent": hex, "diff-digest": diff}))
		}, "more layers", fault.Invalid},
		{"no digest", func(f fake) { f.write("overlay-layers/layers.json", layers(map[string]any{"id": hex})) }, `has the digest ""`, fault.Invalid},
		{"layer not listed", func(f fake) { f.write("overlay-layers/layers.json", layers()) }, "is not in overlay-layers/layers.json", fault.NotFound},
		{"configuration leads out", func(f fake) {
			f.write("overlay-images/"+id.Encoded()+"/manifest", `{"config":{"digest":"sha256:../../../etc"}}`)
		}, "its manifest: configuration", fault.Invalid},
		{"schema 1", func(f fake) { f.write("overlay-images/"+id.Encoded()+"/manifest", `{"schemaVersion":1}`) }, "schema 1", fault.Unsupported},
		{"configuration changed", func(f fake) { f.write("overlay-images/"+id.Encoded()+"/"+bigName(id.String()), "{}") }, "another digest", fault.Invalid},
		{"huge manifest", func(f fake) { f.write("overlay-images/"+id.Encoded()+"/manifest", strings.Repeat(" ", 4<<20+1)) }, "more than 4194304", fault.Invalid},
		{"list is no list", func(f fake) { f.write("overlay-images/images.json", `{"id":1}`) }, "it is no list", fault.Invalid},
		{"list of other things", func(f fake) { f.write("overlay-images/images.json", `[[]]`) }, "entry 0", fault.Invalid},
		{"list without end", func(f fake) { f.write("overlay-images/images.json", `[{}`) }, "images.json: EOF", fault.Invalid},
		{"a long list of nothing", func(f fake) {
			f.write("overlay-layers/layers.json", "["+strings.Repeat("{},", maxFolder)+"{}]")
		}, "more than 100000 entries", fault.Invalid},
		{"bad name", func(f fake) {
			f.write("overlay-images/images.json", []any{map[string]any{"id": id.Encoded(), "layer": hex, "names": []string{"x\x1b[2J"}}})
		}, "is no image's name", fault.Invalid},
		{"file changed", func(f fake) { f.write("overlay/"+hex+"/diff/"+content, "other") }, "layer " + string(diff), fault.Invalid},
		{"half a list of files", func(f fake) { f.write("overlay-layers/"+hex+".tar-split.gz", list[:100]) }, "layer " + string(diff), fault.Invalid},
		{"no list of files", func(f fake) { os.Remove(f.root + "/overlay-layers/" + hex + ".tar-split.gz") }, "tar-split.gz", fault.NotFound},
		{"btrfs", func(f fake) { os.Rename(f.root+"/overlay-images", f.root+"/btrfs-images") }, "no store of podman's", fault.NotFound},
	})
}

// One image's trouble leaves the others.
func TestOneBadImage(t *testing.T) {
	f := newDocker(t)
	f.write("image/overlay2/imagedb/content/sha256/"+strings.Repeat("0", 64), "{}")
	f.write("image/overlay2/imagedb/content/sha256/README", "not an image")
	names, troubles := taken(t, Docker, f.root)
	if len(names) != 1 || len(troubles) != 1 || !strings.Contains(troubles[0].Error(), "image 000000000000: its configuration has another digest") {
		t.Errorf("%v, %v", names, troubles)
	}
}

// A line that goes on for ever ends before it fills the memory.
func TestEndlessLine(t *testing.T) {
	f := newDocker(t)
	_, _, config := parts(t)
	diff, _, _ := parts(t)
	_, layer := dockerFiles(diff, config)
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	fmt.Fprint(z, `{"type":2,"payload":"`)
	chunk := []byte(base64.StdEncoding.EncodeToString(make([]byte, 3<<18)))
	for range 400 {
		z.Write(chunk)
	}
	z.Close()
	f.write(layer+"/tar-split.json.gz", b.Bytes())
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, troubles := taken(t, Docker, f.root)
	runtime.ReadMemStats(&after)
	judge(t, 0, troubles, "a line of more than", fault.Invalid)
	if got := after.TotalAlloc - before.TotalAlloc; got > 200<<20 {
		t.Errorf("%d MiB were allocated", got>>20)
	}
}

// A reader that goes away, or is told to, ends what makes the tar.
func TestClose(t *testing.T) {
	f := newDocker(t)
	s, err := Open(Docker, f.root)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for img, err := range s.Images(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		before, _ := os.ReadDir("/proc/self/fd")
		for range 50 {
			r, err := img.Layers[0].Open(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.Read(make([]byte, 10)); err != nil {
				t.Fatal(err)
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if after, _ := os.ReadDir("/proc/self/fd"); len(after) > len(before) {
			t.Errorf("%d descriptors, then %d", len(before), len(after))
		}
		ctx, cancel := context.WithCancel(t.Context())
		r, err := img.Layers[0].Open(ctx)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		if _, err := io.ReadAll(r); err != context.Canceled {
			t.Errorf("cancelled: %v", err)
		}
		r.Close()
	}
}

// While podman changes its store, we wait; while we read, podman does.
func TestPodmansLock(t *testing.T) {
	f := newPodman(t)
	lock, err := os.OpenFile(f.root+"/overlay-layers/layers.lock", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	set := func(kind int16) error {
		how := unix.Flock_t{Type: kind}
		return unix.FcntlFlock(lock.Fd(), unix.F_OFD_SETLK, &how)
	}
	if err := set(unix.F_WRLCK); err != nil {
		t.Fatal(err)
	}
	s, err := Open(Podman, f.root)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	for _, err := range s.Images(ctx) {
		if err != context.DeadlineExceeded {
			t.Errorf("while it is locked: %v", err)
		}
	}
	if err := set(unix.F_UNLCK); err != nil {
		t.Fatal(err)
	}
	for img, err := range s.Images(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if err := set(unix.F_WRLCK); err != nil {
			t.Errorf("between two images: %v", err)
		}
		set(unix.F_UNLCK)
		r, err := img.Layers[0].Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := set(unix.F_WRLCK); err != unix.EAGAIN {
			t.Errorf("while a layer is read: %v", err)
		}
		r.Close()
		if err := set(unix.F_WRLCK); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	}
}

func FuzzRepositories(f *testing.F) {
	f.Add([]byte(`{"Repositories":{"one":{"one:latest":"sha256:85678d69b527d0e1a394ca06f51ef482e039f478d2ac45e0ff30513e14c8f2fb"}}}`))
	f.Add([]byte(`{"Repositories":{"one":{"one@sha256:85678d69b527d0e1a394ca06f51ef482e039f478d2ac45e0ff30513e14c8f2fb":"x"}}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		names, err := parseRepositories(raw)
		for id, list := range names {
			if err != nil || id.Validate() != nil {
				t.Errorf("%v, %v", id, err)
			}
			for _, r := range list {
				if r.Tag == "" || r.Domain == "" || r.Digest != "" {
					t.Errorf("%+v", r)
				}
			}
		}
	})
}

func FuzzLists(f *testing.F) {
	f.Add([]byte(`[{"id":"a","names":["docker.io/library/x:1"],"layer":"b","parent":"c","diff-digest":"sha256:d","diff-size":7}]`))
	f.Add([]byte(`{"schemaVersion":2,"config":{"digest":"sha256:85678d69b527d0e1a394ca06f51ef482e039f478d2ac45e0ff30513e14c8f2fb"}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		images, err := parseList[podmanImage](bytes.NewReader(raw))
		if err != nil && images != nil {
			t.Errorf("%v and %v", images, err)
		}
		for _, img := range images {
			if names, err := podmanNames(img.Names); err == nil && len(names) > len(img.Names) {
				t.Errorf("%v", names)
			}
		}
		_, _ = parseList[podmanLayer](bytes.NewReader(raw))
		if id, err := configOf(raw); err == nil && id.Validate() != nil {
			t.Errorf("%q", id)
		}
	})
}

func FuzzAssemble(f *testing.F) {
	f.Add([]byte(`{"type":2,"payload":"aGVsbG8=","position":0}` + "\n" + `{"type":1,"name":"a","size":1,"payload":"AAAAAAAAAAA=","position":1}`))
	f.Add([]byte(`{"type":1,"name_raw":"Li4vLi4=","size":1}`))
	dir := f.TempDir()
	if err := os.WriteFile(dir+"/a", []byte("a"), 0o600); err != nil {
		f.Fatal(err)
	}
	files, err := os.Open(dir)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var b bytes.Buffer
		err := assemble(bytes.NewReader(zipped(string(raw))), files, &b)
		if err == nil && b.Len() > len(raw)+len(raw) {
			t.Errorf("%d bytes of %d", b.Len(), len(raw))
		}
	})
}
