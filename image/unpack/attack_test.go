package unpack

import (
	"archive/tar"
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/base/fault"
)

// Each trick of security classes V8 and V9 that a tar can hold. All of them run
// beside a folder with a file that must stay as it is.
var attacks = []struct {
	name    string
	entries []entry
	fails   string            // a part of the error, "" if it is harmless
	there   map[string]string // files of the layer and what is in them
	absent  []string
}{
	{name: "dot dot", entries: []entry{file("../canary/f", "x")}, fails: `".."`},
	{name: "dot dot in the middle", entries: []entry{dir("a", 0o755), file("a/../../canary/f", "x")}, fails: `".."`},
	{name: "absolute name", entries: []entry{file("/etc/f", "x")}, there: map[string]string{"etc/f": "x"}},
	{name: "slashes and dots", entries: []entry{file(".//a/././/f", "x")}, there: map[string]string{"a/f": "x"}},
	{name: "link out, then through it", entries: []entry{symlink("l", "../canary"), file("l/f", "x")}, there: map[string]string{"canary/f": "x"}},
	{name: "absolute link out, then through it", entries: []entry{symlink("l", "CANARY"), file("l/g", "x")}},
	{name: "two links out", entries: []entry{symlink("a", "."), symlink("a/l", "../../../.."), file("l/tmp-canary/f", "x")}, there: map[string]string{"tmp-canary/f": "x"}},
	{name: "the root is a link", entries: []entry{symlink(".", "CANARY"), file("f", "x")}, fails: "root is not a folder"},
	{name: "file over a link", entries: []entry{symlink("l", "CANARY/f"), file("l", "mine")}, there: map[string]string{"l": "mine"}},
	{name: "folder over a link", entries: []entry{symlink("l", "CANARY"), dir("l", 0o700), file("l/f", "mine")}, there: map[string]string{"l/f": "mine"}},
	{name: "links in a ring", entries: []entry{symlink("a", "b"), symlink("b", "a"), file("a/f", "x")}, fails: "too many levels"},
	{name: "hard link to the host", entries: []entry{hardlink("h", "CANARY/f")}, fails: "no such file"},
	{name: "hard link with dot dot", entries: []entry{hardlink("h", "../canary/f")}, fails: `".."`},
	{name: "hard link through a link", entries: []entry{symlink("l", "CANARY"), hardlink("h", "l/f")}, fails: "no such file"},
	{name: "hard link to a link, then written", entries: []entry{symlink("l", "CANARY/f"), hardlink("h", "l"), file("h", "mine")}, there: map[string]string{"h": "mine"}},
	{name: "hard link to a folder", entries: []entry{dir("d", 0o755), hardlink("h", "d")}, fails: "is a directory"},
	{name: "hard link to a missing file", entries: []entry{hardlink("h", "nothing")}, fails: "this layer has no such file"},
	{name: "hard link to itself", entries: []entry{file("f", "x"), hardlink("f", "f")}, there: map[string]string{"f": "x"}},
	{name: "hard link to a whiteout", entries: []entry{file(".wh.f", ""), hardlink("h", "f")}, fails: "no such file"},
	{name: "hard link that replaces its target's folder", entries: []entry{file("d/f", "x"), hardlink("d", "d/f")}, fails: "no such file"},
	{name: "file as a folder", entries: []entry{file("f", "x"), file("f/g", "y")}, fails: "not a directory"},
	{name: "whiteout of the parent", entries: []entry{file(".wh...", "")}, fails: "names no file"},
	{name: "whiteout of nothing", entries: []entry{file("a/.wh.", "")}, fails: "names no file"},
	{name: "whiteout through a link", entries: []entry{symlink("l", "CANARY"), file("l/.wh.f", "")}},
	{name: "below a whiteout", entries: []entry{file(".wh.a/b", "")}, fails: "below a whiteout"},
	{name: "aufs leftovers", entries: []entry{dir(".wh..wh.plnk", 0o755), file(".wh..wh.plnk/1.2", "x"), file(".wh..wh.aufs", "")}, absent: []string{".wh..wh.plnk", ".wh..wh.aufs"}},
	{name: "long component", entries: []entry{file(strings.Repeat("n", 256), "x")}, fails: "longer than 255"},
	{name: "long path", entries: []entry{file(strings.Repeat("nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn/", 129)+"f", "x")}, fails: "longer than 4095"},
	{name: "deep path", entries: []entry{file(strings.Repeat("d/", 300)+"f", "x")}, fails: "deeper than 256"},
	{name: "control characters in the name", entries: []entry{file("a\x1b[2J\nb/..", "x")}, fails: `\x1b[2J\n`},
	{name: "huge owner", entries: []entry{{Header: tar.Header{Name: "f", Typeflag: tar.TypeReg, Uid: 1 << 33}}}, fails: "out of range"},
	{name: "owner minus one", entries: []entry{{Header: tar.Header{Name: "f", Typeflag: tar.TypeReg, Uid: 1<<32 - 1}}}, fails: "out of range"},
	{name: "huge device", entries: []entry{mkdev("d", tar.TypeChar, 1<<20, 1)}, fails: "out of range"},
}

func TestAttacks(t *testing.T) {
	w := startWorker(t, usual())
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			top := t.TempDir()
			canary := filepath.Join(top, "canary")
			must(t, os.Mkdir(canary, 0o755))
			must(t, os.WriteFile(filepath.Join(canary, "f"), []byte("canary"), 0o644))
			before := readTree(t, canary)
			for i := range a.entries {
				a.entries[i].Linkname = strings.ReplaceAll(a.entries[i].Linkname, "CANARY", canary)
			}
			fs := filepath.Join(top, "fs")
			must(t, os.Mkdir(fs, 0o755))
			d, err := os.Open(fs)
			must(t, err)
			defer d.Close()
			_, err = w.Layer(context.Background(), Job{Dir: d, Source: bytes.NewReader(makeTar(t, a.entries...))})
			if a.fails == "" && err != nil {
				t.Errorf("failed: %v", err)
			}
			if a.fails != "" && (err == nil || !strings.Contains(err.Error(), a.fails)) {
				t.Errorf("error %v, want one with %q", err, a.fails)
			}
			if err != nil && (strings.ContainsAny(err.Error(), "\n\x1b") || !strings.Contains(err.Error(), "entry ")) {
				t.Errorf("the error does not name an entry on one line: %q", err)
			}
			for name, want := range a.there {
				if b, err := os.ReadFile(filepath.Join(fs, name)); err != nil || string(b) != want {
					t.Errorf("%s: %q, %v; want %q", name, b, err, want)
				}
			}
			for _, name := range a.absent {
				if _, err := os.Lstat(filepath.Join(fs, name)); err == nil {
					t.Errorf("%s is there", name)
				}
			}
			if diff := before.diff(readTree(t, canary)); diff != "" {
				t.Errorf("the host's files changed:\n%s", diff)
			}
			names, err := os.ReadDir(top)
			if must(t, err); len(names) != 2 {
				t.Errorf("something new beside the layer: %v", names)
			}
		})
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A failed layer leaves the worker whole for the next one.
func TestErrorsHaveKinds(t *testing.T) {
	w := startWorker(t, usual())
	good := makeTar(t, file("f", "x"))
	for name, c := range map[string]struct {
		stream []byte
		kind   fault.Kind
		text   string
	}{
		"not a tar":     {bytes.Repeat([]byte("junk"), 1000), fault.Invalid, "header of the tar"},
		"cut in a file": {makeTar(t, file("f", strings.Repeat("x", 5000)))[:2048], fault.Invalid, "unexpected EOF"},
		"xz":            {[]byte("\xfd7zXZ\x00......"), fault.Unsupported, "xz is not supported"},
		"bad gzip":      {append([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"), bytes.Repeat([]byte{0xff}, 100)...), fault.Invalid, "decompress (gzip)"},
		"bad zstd":      {append([]byte("\x28\xb5\x2f\xfd"), bytes.Repeat([]byte{0xff}, 100)...), fault.Invalid, "decompress (zstd)"},
		"empty":         {nil, fault.Unknown, ""},
	} {
		_, res, err := unpackTar(t, w, c.stream)
		if c.kind == fault.Unknown {
			if err != nil || res.Inodes != 1 {
				t.Errorf("%s: %v %+v", name, err, res)
			}
			continue
		}
		if !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, kind %v; want %v with %q", name, err, fault.KindOf(err), c.kind, c.text)
		}
	}
	mustUnpack(t, w, good)
	d := layerDir(t)
	must(t, os.WriteFile(filepath.Join(d.Name(), "there"), nil, 0o600))
	_, err := w.Layer(context.Background(), Job{Dir: d, Source: bytes.NewReader(good)})
	if !fault.Is(err, fault.Exists) {
		t.Errorf("a folder that is not empty: %v", err)
	}
}
