package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/test/fakereg"
)

// pack writes a tar; a header's bytes are zeros unless it is a file with text.
func pack(headers ...tar.Header) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if err := w.WriteHeader(&h); err != nil {
			panic(fmt.Sprintf("%q: %v", h.Name, err))
		}
		if _, err := io.CopyN(w, zeros{}, h.Size); err != nil && h.Size > 0 {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func reg(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name} }
func dir(name string) tar.Header { return tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755} }
func link(name, to string) tar.Header {
	return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to}
}
func hard(name, to string) tar.Header {
	return tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: to}
}

func gz(raw []byte) []byte { return gzFrom(bytes.NewReader(raw)) }

func gzFrom(r io.Reader) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.Copy(z, r)
	_ = z.Close()
	return b.Bytes()
}

func zst(raw []byte) []byte {
	w, _ := zstd.NewWriter(nil)
	return w.EncodeAll(raw, nil)
}

// fixSum makes a changed header's checksum right.
func fixSum(header []byte) {
	copy(header[148:156], "        ")
	sum := 0
	for _, c := range header[:512] {
		sum += int(c)
	}
	copy(header[148:], fmt.Sprintf("%06o\x00 ", sum))
}

// hostile are layers, lowest first. says is a part of the error, "" for what is
// harmless; canary stands for the absolute path of the canary's folder.
type hostile struct {
	name   string
	says   string
	layers func(canary string) [][]byte
}

func one(headers ...tar.Header) func(string) [][]byte {
	return func(string) [][]byte { return [][]byte{pack(headers...)} }
}

// repeated is one folder's header n times, which takes no time to unpack.
type repeated struct {
	header []byte
	n, at  int
}

func (r *repeated) Read(p []byte) (int, error) {
	if r.n == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.header[r.at:])
	if r.at += n; r.at == len(r.header) {
		r.at = 0
		r.n--
	}
	return n, nil
}

func hostiles() []hostile {
	huge := strings.Repeat("v", 900<<10)
	pax := reg("f")
	pax.PAXRecords = map[string]string{"SCHILY.xattr.user.a": huge}
	// A header of its own type, as long as it says: archive/tar does not write one.
	bomb := pack(tar.Header{Typeflag: 'Y', Name: "PaxHeaders/f", Size: 1800 << 10})
	bomb[156] = tar.TypeXHeader
	fixSum(bomb)
	sparse := pack(reg("f"))
	copy(sparse[156:], "S")
	copy(sparse[257:], "ustar  \x00")
	copy(sparse[386:], "00000000000\x0000000000000\x00")
	copy(sparse[483:], "\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff")
	fixSum(sparse)
	return []hostile{
		{"dot dot", `".."`, one(reg("../../canary/f"))},
		{"dot dot in the middle", `".."`, one(dir("a"), reg("a/../../../canary/f"))},
		{"an absolute name", "", func(canary string) [][]byte { return [][]byte{pack(reg(canary + "/new"))} }},
		{"a long name", "longer than 255", one(reg(strings.Repeat("n", 300)))},
		{"a long path", "longer than 4095", one(reg(strings.Repeat(strings.Repeat("n", 99)+"/", 50) + "f"))},
		{"a deep path", "deeper than 256", one(reg(strings.Repeat("d/", 1000) + "f"))},
		{"control characters", `\x1b]0;`, one(reg("a\x1b]0;\nb/../c"))},
		{"a hard link to the host", "no such file", func(canary string) [][]byte { return [][]byte{pack(hard("h", canary+"/f"))} }},
		{"a hard link with dot dot", `".."`, one(hard("h", "../../../../etc/passwd"))},
		{"a hard link to the layer below", "no such file", func(string) [][]byte { return [][]byte{pack(reg("f")), pack(hard("h", "f"))} }},
		{"through a link of the layer below", "", func(canary string) [][]byte {
			return [][]byte{pack(link("l", canary)), pack(reg("l/new"), reg("l/.wh.f"))}
		}},
		{"a link in place of a folder, and back", "", func(canary string) [][]byte {
			return [][]byte{pack(dir("d"), reg("d/f")), pack(link("d", canary)), pack(reg("d/f"), reg("d/.wh..wh..opq"))}
		}},
		{"a whiteout of dot dot", "names no file", one(reg("a/.wh..."))},
		{"a whiteout of the root", "names no file", one(reg(".wh.."))},
		{"an opaque marker with dot dot", `".."`, one(reg("../.wh..wh..opq"))},
		{"an opaque root, whiteouts of all", "", func(string) [][]byte {
			return [][]byte{pack(reg("f"), dir("d")), pack(reg(".wh..wh..opq"), reg(".wh.f"), reg(".wh.d"), reg("d/x"))}
		}},
		{"a device beyond all numbers", "out of range", one(tar.Header{Typeflag: tar.TypeChar, Name: "d", Devmajor: 1 << 20})},
		{"an owner beyond all numbers", "out of range", one(tar.Header{Typeflag: tar.TypeReg, Name: "f", Uid: 1 << 40})},
		{"a huge xattr", "xattr", func(string) [][]byte { return [][]byte{pack(pax)} }},
		{"a PAX header of 1.8 MB", "header of the tar", func(string) [][]byte { return [][]byte{bomb} }},
		{"8 EiB of holes", "entry \"f\"", func(string) [][]byte { return [][]byte{sparse} }},
		{"a type that there is not", "not supported", one(tar.Header{Typeflag: 'Y', Name: "f"})},
		{"one name in every type", "", one(reg("x"), dir("x"), reg("x/f"), link("x", "/"), reg("x"), hard("y", "x"), link("y", "x"), tar.Header{Typeflag: tar.TypeFifo, Name: "x"}, dir("x"))},
		{"the root as a file", "root is not a folder", one(reg("./" + "."))},
		{"junk", "tar", func(string) [][]byte { return [][]byte{bytes.Repeat([]byte("junk"), 5000)} }},
		{"a tar that breaks off", "unexpected EOF", func(string) [][]byte {
			return [][]byte{pack(tar.Header{Typeflag: tar.TypeReg, Name: "f", Size: 5000})[:2000]}
		}},
	}
}

// imageOf is a configuration for layers.
func imageOf(layers [][]byte) v1.Image {
	var c v1.Image
	c.Architecture, c.OS, c.RootFS.Type = "amd64", "linux", "layers"
	for _, l := range layers {
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, digest.FromBytes(l))
	}
	return c
}

// dockerArchive is what load gets.
func dockerArchive(layers [][]byte) []byte { return archiveOf(imageOf(layers), layers) }

func archiveOf(image v1.Image, layers [][]byte) []byte {
	config, err := json.Marshal(image)
	if err != nil {
		panic(err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	put := func(name string, data []byte) {
		_ = w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(data)), Mode: 0o644})
		_, _ = w.Write(data)
	}
	var names []string
	for i, l := range layers {
		names = append(names, fmt.Sprintf("%d/layer.tar", i))
		put(names[i], l)
	}
	put("config.json", config)
	list, err := json.Marshal([]map[string]any{{"Config": "config.json", "RepoTags": []string{"hostile:1"}, "Layers": names}})
	if err != nil {
		panic(err)
	}
	put("manifest.json", list)
	_ = w.Close()
	return b.Bytes()
}

// TestHostileLayers gives each of them to pull, load and import.
func TestHostileLayers(t *testing.T) {
	for _, h := range hostiles() {
		t.Run(h.name, func(t *testing.T) {
			p := newPlace(t)
			layers := h.layers(p.dir + "/canary")
			registry := fakereg.New()
			server := registry.Start()
			defer server.Close()
			host := strings.TrimPrefix(server.URL, "http://")
			packed := make([][]byte, len(layers))
			for i, l := range layers {
				packed[i] = gz(l)
			}
			registry.AddImage("hostile", "1", "", imageOf(layers), packed...)
			good := [][]byte{pack(reg("good"))}
			registry.AddImage("good", "1", "", imageOf(good), gz(good[0]))
			for _, c := range []struct {
				stdin []byte
				words []string
			}{
				{nil, []string{"pull", "-q", host + "/hostile:1"}},
				{dockerArchive(layers), []string{"load", "-q"}},
				{layers[len(layers)-1], []string{"import", "-", "imported:1"}},
			} {
				if c.words[0] == "import" && len(layers) > 1 {
					continue
				}
				r := p.do(t, c.stdin, c.words...)
				if h.says != "" {
					r.refused(t, h.says)
				} else if r.well(t); r.code == 0 {
					p.do(t, nil, "image", "prune", "-af").well(t)
				}
				p.untouched(t)
				p.empty(t)
				if t.Failed() {
					t.Fatalf("that was %v", c.words)
				}
			}
			p.do(t, nil, "pull", "-q", host+"/good:1").well(t)
		})
	}
}

type bomb struct {
	name, says string
	layer      []byte
}

// Bombs are small as they come, and refused before they fill memory or disk.
func TestBombs(t *testing.T) {
	head := pack(tar.Header{Typeflag: tar.TypeReg, Name: "z"})[:512]
	copy(head[124:], "77777777777\x00") // 8 GiB
	fixSum(head)
	folder := pack(dir("d"))[:512]
	bombs := []bomb{
		{"zstd", "times", append(zst(head), bytes.Repeat(zst(make([]byte, 64<<20)), 20)...)},
		{"zstd of a huge window", "window size exceeded", append([]byte("\x28\xb5\x2f\xfd\x00\xa0"), make([]byte, 100)...)},
		{"entries", "more than 1048576 entries", gzFrom(&repeated{header: folder, n: 1<<20 + 1})},
		{"gzip of gzip is no tar", "tar", gz(gz(make([]byte, 64<<20)))},
		{"gzip that breaks off", "unexpected EOF", gz(pack(reg("a"), reg("b"), reg("c")))[:60]},
		{"junk after gzip's end", "", append(gz(pack(reg("f"))), "junk"...)},
		{"an empty gzip, and junk", "", append(gz(nil), make([]byte, 5000)...)},
	}
	if os.Getenv("BERTH_SWEEP") == "1" { // the ratio counts from 1 GiB on, which takes long
		bombs = append(bombs, bomb{"gzip", "times", gzFrom(io.MultiReader(bytes.NewReader(head), io.LimitReader(zeros{}, 1<<30+1<<28)))})
	}
	for _, b := range bombs {
		t.Run(b.name, func(t *testing.T) {
			p := newPlace(t)
			registry := fakereg.New()
			server := registry.Start()
			defer server.Close()
			registry.AddImage("bomb", "1", "", imageOf([][]byte{{}}), b.layer)
			name := strings.TrimPrefix(server.URL, "http://") + "/bomb:1"
			p.do(t, nil, "pull", "-q", name).refused(t, b.says)
			p.untouched(t)
			p.empty(t)
			p.do(t, b.layer, "import", "-", "bomb:1").refused(t, b.says)
			p.untouched(t)
			p.empty(t)
		})
	}
}
