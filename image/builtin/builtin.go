// Package builtin makes the image localhost/berth/base out of the program that
// berth carries inside: a shell and the everyday tools, so that the first run
// works with no registry at hand. It writes a tar and a configuration and knows
// no store. Row 3 (image).
package builtin

import (
	"archive/tar"
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

//go:embed bin
var bin embed.FS

const (
	program = "bin/berth-box"
	names   = "bin/berth-box.names"
)

// Name is the image's canonical name.
const Name = "localhost/berth/base:latest"

var errUnbuilt = errors.New("this program was built without its base image: build it with make")

// epoch is the time of everything in the image: the same program, the same image.
var epoch = time.Unix(0, 0).UTC()

// files of the image beside the program and its names. No shadow, no secrets.
var files = [...]struct{ name, text string }{
	{"etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"},
	{"etc/group", "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n"},
	{"etc/os-release", "NAME=\"berth base\"\nID=berth-base\nPRETTY_NAME=\"berth base\"\n"},
	{"etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"},
}

var folders = [...]struct {
	name string
	mode int64
}{
	{"bin", 0o755}, {"dev", 0o755}, {"etc", 0o755}, {"home", 0o755}, {"proc", 0o555}, {"root", 0o700}, {"run", 0o755}, {"sys", 0o555}, {"tmp", 0o1777},
	{"usr", 0o755}, {"usr/local", 0o755}, {"usr/local/bin", 0o755}, {"var", 0o755}, {"var/tmp", 0o1777},
}

// Tar writes the image's one layer, always the same bytes.
func Tar(w io.Writer) error {
	box, err := bin.ReadFile(program)
	if err != nil {
		return errUnbuilt
	}
	list, err := bin.ReadFile(names)
	if err != nil {
		return errUnbuilt
	}
	out := tar.NewWriter(w)
	put := func(h tar.Header, data []byte) {
		h.ModTime, h.Format, h.Size = epoch, tar.FormatPAX, int64(len(data))
		if err == nil {
			err = out.WriteHeader(&h)
		}
		if err == nil {
			_, err = out.Write(data)
		}
	}
	for _, f := range folders {
		put(tar.Header{Typeflag: tar.TypeDir, Name: f.name + "/", Mode: f.mode}, nil)
	}
	put(tar.Header{Typeflag: tar.TypeReg, Name: "bin/berth-box", Mode: 0o755}, box)
	tools := strings.Fields(string(list))
	slices.Sort(tools)
	for _, n := range tools {
		put(tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + n, Linkname: "berth-box", Mode: 0o777}, nil)
	}
	for _, link := range []string{"sbin", "usr/bin", "usr/sbin"} {
		put(tar.Header{Typeflag: tar.TypeSymlink, Name: link, Linkname: strings.Repeat("../", strings.Count(link, "/")) + "bin", Mode: 0o777}, nil)
	}
	for _, f := range files {
		put(tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: 0o644}, []byte(f.text))
	}
	if err != nil {
		return fmt.Errorf("write the built-in image: %w", err)
	}
	return out.Close()
}

// identity is computed once: the digest of Tar's bytes and their number.
var identity = sync.OnceValues(func() (layer, error) {
	h := sha256.New()
	n := &counter{w: h}
	if err := Tar(n); err != nil {
		return layer{}, err
	}
	return layer{digest.NewDigest(digest.SHA256, h), n.n}, nil
})

type layer struct {
	digest digest.Digest
	size   int64
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return c.w.Write(p)
}

// Layer describes Tar's bytes.
func Layer() (ocispec.Descriptor, error) {
	l, err := identity()
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: l.digest, Size: l.size}, err
}

// Config is the image's configuration for the host's platform.
func Config(p ocispec.Platform) (ocispec.Image, error) {
	l, err := identity()
	if err != nil {
		return ocispec.Image{}, err
	}
	return ocispec.Image{
		Created:  &epoch,
		Platform: p,
		Config: ocispec.ImageConfig{
			Env:    []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
			Cmd:    []string{"sh"},
			Labels: map[string]string{"org.opencontainers.image.title": "berth/base"},
		},
		RootFS:  ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{l.digest}},
		History: []ocispec.History{{Created: &epoch, CreatedBy: "berth", Comment: "built in"}},
	}, nil
}
