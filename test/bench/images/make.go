package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// pick chooses files of /usr until there are enough bytes or files.
func pick(files, mb int) ([]string, error) {
	var all []string
	err := filepath.WalkDir("/usr", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if fi, err := d.Info(); err == nil && d.Type().IsRegular() && fi.Size() < 1<<20 {
			all = append(all, p)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	r := rand.New(rand.NewPCG(1, 2))
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	var out []string
	left := int64(mb) << 20
	for _, p := range all {
		if fi, err := os.Stat(p); err == nil && len(out) < files && left > 0 {
			out = append(out, p)
			left -= fi.Size()
		}
	}
	slices.Sort(out) // as whoever makes a layer walks its tree
	return out, nil
}

func writeTar(w io.Writer, files []string) error {
	t := tar.NewWriter(w)
	seen := map[string]bool{}
	for _, p := range files {
		for i, c := range p {
			if c != '/' || i == 0 || seen[p[:i]] {
				continue
			}
			seen[p[:i]] = true
			if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: p[1:i] + "/", Mode: 0o755}); err != nil {
				return err
			}
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: p[1:], Mode: 0o644, Size: int64(len(b))}); err != nil {
			return err
		}
		if _, err := t.Write(b); err != nil {
			return err
		}
	}
	return t.Close()
}

// layout writes an OCI layout of one image whose layers hold parts of files.
func layout(dir, compression string, layers int, files []string) error {
	if err := os.MkdirAll(filepath.Join(dir, "blobs/sha256"), 0o755); err != nil {
		return err
	}
	var m ocispec.Manifest
	var c ocispec.Image
	for i := range layers {
		part := files[i*len(files)/layers : (i+1)*len(files)/layers]
		desc, diff, err := writeLayer(dir, compression, part)
		if err != nil {
			return err
		}
		m.Layers, c.RootFS.DiffIDs = append(m.Layers, desc), append(c.RootFS.DiffIDs, diff)
	}
	c.OS, c.Architecture, c.RootFS.Type = "linux", "amd64", "layers"
	m.Versioned, m.MediaType = specs.Versioned{SchemaVersion: 2}, ocispec.MediaTypeImageManifest
	var err error
	if m.Config, err = writeJSON(dir, ocispec.MediaTypeImageConfig, c); err != nil {
		return err
	}
	desc, err := writeJSON(dir, m.MediaType, m)
	if err != nil {
		return err
	}
	index, err := json.Marshal(ocispec.Index{Versioned: m.Versioned, Manifests: []ocispec.Descriptor{desc}})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "index.json"), index, 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644)
}

func writeLayer(dir, compression string, files []string) (ocispec.Descriptor, digest.Digest, error) {
	f, err := os.CreateTemp(dir, "layer-")
	if err != nil {
		return ocispec.Descriptor{}, "", err
	}
	defer f.Close()
	outer, inner := sha256.New(), sha256.New()
	var z io.WriteCloser
	if compression == "zstd" {
		z, err = zstd.NewWriter(io.MultiWriter(f, outer))
	} else {
		z, err = gzip.NewWriterLevel(io.MultiWriter(f, outer), 6)
	}
	if err != nil {
		return ocispec.Descriptor{}, "", err
	}
	if err := writeTar(io.MultiWriter(z, inner), files); err != nil {
		return ocispec.Descriptor{}, "", err
	}
	if err := z.Close(); err != nil {
		return ocispec.Descriptor{}, "", err
	}
	size, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return ocispec.Descriptor{}, "", err
	}
	d := digest.NewDigest(digest.SHA256, outer)
	desc := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer + "+" + compression, Digest: d, Size: size}
	return desc, digest.NewDigest(digest.SHA256, inner), os.Rename(f.Name(), filepath.Join(dir, "blobs/sha256", d.Encoded()))
}

func writeJSON(dir, mediaType string, v any) (ocispec.Descriptor, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	d := digest.FromBytes(b)
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(b))}, os.WriteFile(filepath.Join(dir, "blobs/sha256", d.Encoded()), b, 0o644)
}

// tinyArchive writes a docker-archive of n images of one small layer each.
func tinyArchive(file string, n int) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	out := tar.NewWriter(f)
	put := func(name string, b []byte) error {
		if err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(b))}); err != nil {
			return err
		}
		_, err := out.Write(b)
		return err
	}
	type entry struct {
		Config           string
		RepoTags, Layers []string
	}
	var all []entry
	for i := range n {
		var layer bytes.Buffer
		t := tar.NewWriter(&layer)
		text := strings.Repeat(fmt.Sprintf("image %d\n", i), 200)
		if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "file", Mode: 0o644, Size: int64(len(text))}); err != nil {
			return err
		}
		fmt.Fprint(t, text)
		if err := t.Close(); err != nil {
			return err
		}
		diff := digest.FromBytes(layer.Bytes())
		config, err := json.Marshal(ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"}, RootFS: ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{diff}}})
		if err != nil {
			return err
		}
		e := entry{Config: digest.FromBytes(config).Encoded() + ".json", RepoTags: []string{fmt.Sprintf("tiny:%d", i)}, Layers: []string{diff.Encoded() + "/layer.tar"}}
		if err := put(e.Config, config); err != nil {
			return err
		}
		if err := put(e.Layers[0], layer.Bytes()); err != nil {
			return err
		}
		all = append(all, e)
	}
	b, err := json.Marshal(all)
	if err != nil {
		return err
	}
	if err := put("manifest.json", b); err != nil {
		return err
	}
	return out.Close()
}
