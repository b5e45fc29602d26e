package crash

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/test/fakereg"
)

// made is the time of everything in the images.
var made = time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.UTC)

// lowest is a layer with one of each sort of file and a big one that does not
// compress.
func lowest() []tar.Header {
	out := []tar.Header{
		{Typeflag: tar.TypeDir, Name: "bin/", Mode: 0o755},
		{Typeflag: tar.TypeReg, Name: "bin/big", Mode: 0o4755, Size: 600_000, Uid: 7, Gid: 8},
		{Typeflag: tar.TypeLink, Name: "bin/same", Linkname: "bin/big", Mode: 0o4755, Uid: 7, Gid: 8},
		{Typeflag: tar.TypeSymlink, Name: "bin/link", Linkname: "/bin/big"},
		{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777},
		{Typeflag: tar.TypeFifo, Name: "pipe", Mode: 0o600},
		{Typeflag: tar.TypeChar, Name: "null", Mode: 0o666, Devmajor: 1, Devminor: 3},
		{Typeflag: tar.TypeReg, Name: "marked", Mode: 0o644, Size: 10, PAXRecords: map[string]string{"SCHILY.xattr.user.mark": "yes"}},
		{Typeflag: tar.TypeReg, Name: "empty", Mode: 0o600},
	}
	for i := range 4 {
		out = append(out, tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("etc/%d", i), Mode: 0o640, Size: int64(100 * i)})
	}
	return out
}

// middle and upper change what is below.
func middle() []tar.Header {
	return []tar.Header{
		{Typeflag: tar.TypeReg, Name: "etc/.wh.1"},
		{Typeflag: tar.TypeReg, Name: "etc/2", Mode: 0o600, Size: 50},
		{Typeflag: tar.TypeReg, Name: "var/lib/a", Mode: 0o644, Size: 30_000},
	}
}

func upper(n int) []tar.Header {
	return []tar.Header{
		{Typeflag: tar.TypeReg, Name: "var/.wh..wh..opq"},
		{Typeflag: tar.TypeReg, Name: fmt.Sprintf("var/new%d", n), Mode: 0o644, Size: 5000},
	}
}

// layer packs files; their bytes follow from the seed.
func layer(seed uint64, files []tar.Header) (blob []byte, diff digest.Digest) {
	r := rand.NewChaCha8([32]byte{byte(seed)})
	var plain, packed bytes.Buffer
	w := tar.NewWriter(&plain)
	for _, h := range files {
		h.ModTime, h.Format = made, tar.FormatPAX
		data := make([]byte, h.Size)
		_, _ = r.Read(data)
		if err := w.WriteHeader(&h); err != nil {
			panic(err)
		}
		if _, err := w.Write(data); err != nil {
			panic(err)
		}
	}
	w.Close()
	z := gzip.NewWriter(&packed)
	_, _ = z.Write(plain.Bytes())
	z.Close()
	return packed.Bytes(), digest.FromBytes(plain.Bytes())
}

// packs is made once: two images, the lower two layers of which are the same.
var packs = sync.OnceValue(func() (out []pack) {
	for n := range 2 {
		var p pack
		p.config.RootFS.Type = "layers"
		p.config.Created = &made
		for i, files := range [][]tar.Header{lowest(), middle(), upper(n)} {
			blob, diff := layer(uint64(i), files)
			p.layers = append(p.layers, blob)
			p.config.RootFS.DiffIDs = append(p.config.RootFS.DiffIDs, diff)
		}
		out = append(out, p)
	}
	return out
})

type pack struct {
	config v1.Image
	layers [][]byte
}

// hub is a registry of its own with team/app:1 and team/app:2.
type hub struct {
	*fakereg.Server
	addr  string
	ids   [2]string     // of the images
	big   digest.Digest // the big layer
	close func()
}

func newHub() *hub {
	h := &hub{Server: fakereg.New()}
	for n, p := range packs() {
		img := h.AddImage("team/app", fmt.Sprint(n+1), "", p.config, p.layers...)
		h.ids[n], h.big = string(img.Config.Digest), img.Layers[0].Digest
	}
	server := h.Server.Start()
	h.addr, h.close = strings.TrimPrefix(server.URL, "http://"), server.Close
	return h
}

// app is the name of image 1 or 2.
func (h *hub) app(n int) string { return fmt.Sprintf("%s/team/app:%d", h.addr, n) }
