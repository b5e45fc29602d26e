package unpack

import (
	"archive/tar"
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// genEntry makes entries with few names, so that they meet.
func genEntry(rt *rapid.T) entry {
	part := rapid.SampledFrom([]string{"a", "b", "c", "a", "b", "c", "\xff\n", "."})
	name := strings.Join(rapid.SliceOfN(part, 1, 3).Draw(rt, "name"), "/")
	kind := rapid.SampledFrom([]byte("00005555121234whhhooO")).Draw(rt, "kind")
	e := entry{Header: tar.Header{Name: name, Typeflag: kind, ModTime: time.Unix(rapid.Int64Range(0, 1<<33).Draw(rt, "time"), 7)}}
	e.Mode = rapid.SampledFrom([]int64{0o644, 0o755, 0o4755, 0o2755, 0o1777, 0, 0o7777}).Draw(rt, "mode")
	if !isRoot() {
		e.Mode |= 0o700 // or the test itself cannot read and remove it
	}
	e.Uid = rapid.SampledFrom([]int{0, 0, 1, 1000, 65534}).Draw(rt, "uid")
	e.Gid = rapid.SampledFrom([]int{0, 0, 5, 65534}).Draw(rt, "gid")
	if rapid.IntRange(0, 3).Draw(rt, "xattr") == 0 {
		e.PAXRecords = map[string]string{"SCHILY.xattr.user.x": rapid.SampledFrom([]string{"1", "\x00\xff"}).Draw(rt, "value")}
		if rapid.Bool().Draw(rt, "foreign") {
			e.PAXRecords["SCHILY.xattr.trusted.overlay.opaque"] = "y"
			e.PAXRecords["SCHILY.xattr.user.overlay.opaque"] = "y"
			e.PAXRecords["SCHILY.xattr.user.containers.override_stat"] = "0:0:0777"
		}
	}
	switch kind {
	case '0':
		e.body = rapid.SampledFrom([]string{"", "x", strings.Repeat("long", 3000)}).Draw(rt, "body")
	case '1':
		e.Linkname = strings.Join(rapid.SliceOfN(part, 1, 3).Draw(rt, "target"), "/")
	case '2':
		e.Mode = 0o777
		e.Linkname = rapid.SampledFrom([]string{"a", "/b", "c/a", "../a", "..", ".", "/", "/../../etc"}).Draw(rt, "text")
	case '3', '4':
		e.Devmajor, e.Devminor = rapid.Int64Range(0, 1).Draw(rt, "major"), rapid.Int64Range(0, 3).Draw(rt, "minor")
	case 'w':
		e.Typeflag = '6'
	case 'h':
		e.Typeflag, e.Name = '0', filepath.Join(filepath.Dir(name), ".wh."+filepath.Base(name))
	case 'o':
		e.Typeflag, e.Name = '0', name+"/.wh..wh..opq"
	case 'O':
		e.Typeflag, e.Name = '0', ".wh..wh..opq"
	}
	return e
}

// inUserns reports whether root is only a user namespace's.
func inUserns() bool {
	b, _ := os.ReadFile("/proc/self/uid_map")
	return !strings.Contains(string(b), "4294967295")
}

func newModel(below *model) *model {
	m := &model{root: newFolder(), below: below, devices: isRoot() && !inUserns(), oneID: !isRoot(), opaque: "trusted.overlay.opaque"}
	if !m.devices {
		m.opaque = "user.overlay.opaque"
	}
	return m
}

// bench is where layers are compared.
type bench struct {
	t   *testing.T
	w   *Worker
	top string
}

// compare unpacks entries and holds the outcome against the model.
func (b *bench) compare(rt *rapid.T, entries []entry, below *model, lower []*os.File) (*model, *os.File) {
	t, w, top := b.t, b.w, b.top
	m := newModel(below)
	var wantErr error
	for _, e := range entries {
		if wantErr = m.apply(e); wantErr != nil {
			break
		}
	}
	path, err := os.MkdirTemp(top, "layer")
	must(t, err)
	d, err := os.Open(path)
	must(t, err)
	stream := makeTar(t, entries...)
	_, err = w.Layer(context.Background(), Job{Dir: d, Source: bytes.NewReader(stream), Size: int64(len(stream)), Parents: func(context.Context) ([]*os.File, error) { return lower, nil }})
	if (err != nil) != (wantErr != nil) {
		rt.Fatalf("unpacked: %v, the model: %v", err, wantErr)
	}
	if err != nil {
		d.Close()
		return nil, nil
	}
	m.finish()
	want, got := m.tree(), readTree(t, path)
	for name, line := range want { // times that nobody says
		if f := strings.SplitN(line, " ", 4); len(f) > 2 && f[2] == "?" {
			if g := strings.SplitN(got[name], " ", 4); len(g) > 2 {
				g[2] = "?"
				got[name] = strings.Join(g, " ")
			}
		}
	}
	if diff := want.diff(got); diff != "" {
		rt.Fatalf("- model, + layer:\n%s", diff)
	}
	return m, d
}

func layersAgree(t *testing.T, w *Worker, top string) func(*rapid.T) {
	b := &bench{t, w, top}
	return func(rt *rapid.T) {
		gen := rapid.SliceOfN(rapid.Custom(genEntry), 0, 12)
		lowerEntries := gen.Draw(rt, "lower")
		lower, ld := b.compare(rt, lowerEntries, nil, nil)
		var fds []*os.File
		if lower != nil {
			defer ld.Close()
			fds = []*os.File{ld}
		}
		_, d := b.compare(rt, gen.Draw(rt, "upper"), lower, fds)
		if d != nil {
			d.Close()
		}
	}
}

// TestModel: two layers of a few entries that meet in all ways.
func TestModel(t *testing.T) {
	unix.Umask(0o022)
	w := startWorker(t, usual())
	rapid.Check(t, layersAgree(t, w, t.TempDir()))
}

func FuzzModel(f *testing.F) {
	var w *Worker
	f.Fuzz(func(t *testing.T, data []byte) {
		if w == nil {
			var err error
			if w, err = Start(context.Background(), usual()); err != nil {
				t.Fatal(err)
			}
		}
		rapid.MakeFuzz(func(rt *rapid.T) { layersAgree(t, w, t.TempDir())(rt) })(t, data)
	})
}
