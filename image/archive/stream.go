package archive

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/opencontainers/go-digest"

	"berth/base/fault"
	"berth/image/manifest"
	"berth/image/ref"
)

// files is what an archive holds, by clean names: small documents in memory,
// all else in the store.
type files struct {
	docs  map[string][]byte
	blobs map[string]blob
	links map[string]string // name → name
	// open puts a file of a folder into the store when it is first asked for.
	open func(ctx context.Context, name string) (blob, error)
}

func newFiles() *files {
	return &files{docs: map[string][]byte{}, blobs: map[string]blob{}, links: map[string]string{}}
}

// maxLinks is how many links one name may lead through, as in the kernel.
const maxLinks = 40

// blob finds a file by the name that a document gives it. Errors: NotFound;
// Invalid for a name that leads out of the archive or in a circle.
func (f *files) blob(ctx context.Context, name string) (blob, error) {
	clean, err := cleanName(name)
	if err != nil {
		return blob{}, err
	}
	for range maxLinks {
		if b, ok := f.blobs[clean]; ok {
			return b, nil
		}
		to, ok := f.links[clean]
		if ok {
			clean = to
			continue
		}
		if f.open == nil {
			return blob{}, fault.New(fault.NotFound, "%.200q is missing in the archive", name)
		}
		b, err := f.open(ctx, clean)
		if err != nil {
			return blob{}, err
		}
		f.blobs[clean] = b
		return b, nil
	}
	return blob{}, fault.New(fault.Invalid, "%.200q: its links lead in a circle", name)
}

// cleanName makes a name of the archive comparable and refuses what points
// out of it. Such a name is never opened; but then the archive is no honest one.
func cleanName(name string) (string, error) {
	clean := path.Clean(name)
	if name == "" || path.IsAbs(name) || clean == ".." || strings.HasPrefix(clean, "../") || strings.IndexByte(name, 0) >= 0 {
		return "", fault.New(fault.Invalid, "%.200q is no name inside the archive", name)
	}
	return clean, nil
}

func isDocument(name string) bool {
	switch name {
	case dockerFile, legacyFile, layoutFile, indexFile:
		return true
	}
	return false
}

// isLegacyMeta: what docker before 1.10 needed beside each layer.
func isLegacyMeta(name string) bool {
	dir, base := path.Split(name)
	_, ok := ref.ID(strings.TrimSuffix(dir, "/"))
	return ok && (base == "VERSION" || base == "json")
}

// readStream takes the whole archive from r.
func readStream(ctx context.Context, in *ingest, r io.Reader) (*files, error) {
	raw := &counted{r: r}
	plain, err := decompress(raw)
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	body := &bounded{r: plain, in: raw, opts: in.opts}
	f, t := newFiles(), tar.NewReader(body)
	for n := 0; ; n++ {
		h, err := t.Next()
		switch {
		case err == io.EOF && n == 0:
			return nil, fault.New(fault.Invalid, "it is empty")
		case err == io.EOF:
			return f, drain(body)
		case err != nil:
			return nil, tarError(err)
		case n == in.opts.MaxEntries:
			return nil, fault.New(fault.Invalid, "it has more than %d files", in.opts.MaxEntries)
		}
		if err := f.entry(ctx, in, h, t); err != nil {
			return nil, err
		}
	}
}

func tarError(err error) error {
	if errors.Is(err, tar.ErrHeader) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, tar.ErrFieldTooLong) {
		return fault.New(fault.Invalid, "it is no whole tar: %w", err)
	}
	return err
}

// drain reads what follows the tar's end, so that a writer on the other side
// of a pipe is not cut off, and a compressed stream's checksum is looked at.
func drain(r io.Reader) error {
	_, err := io.CopyN(io.Discard, r, 1<<20)
	if err == io.EOF {
		return nil
	}
	return err
}

// entry takes one file of the tar.
func (f *files) entry(ctx context.Context, in *ingest, h *tar.Header, r io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	name, err := cleanName(h.Name)
	if err != nil {
		return err
	}
	if isSparse(h) {
		return fault.New(fault.Invalid, "%.200q is sparse", h.Name)
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return nil
	case tar.TypeSymlink, tar.TypeLink:
		return f.link(name, h)
	case tar.TypeReg:
	default:
		return fault.New(fault.Invalid, "%.200q is no file, folder or link", h.Name)
	}
	if h.Size > in.opts.MaxBytes {
		return fault.New(fault.Invalid, "%.200q: %d bytes, more than %d", h.Name, h.Size, in.opts.MaxBytes)
	}
	if isLegacyMeta(name) {
		return nil
	}
	if isDocument(name) || isConfigName(name) {
		if h.Size > manifest.MaxSize {
			return fault.New(fault.Invalid, "%.200q: %d bytes, more than %d", h.Name, h.Size, manifest.MaxSize)
		}
	}
	if isDocument(name) {
		if _, twice := f.docs[name]; twice {
			return errTwice(name)
		}
		if f.docs[name], err = io.ReadAll(r); err != nil {
			return tarError(err)
		}
		return nil
	}
	expected, err := expectedDigest(name)
	if err != nil {
		return err
	}
	b, err := in.put(ctx, name, r, h.Size, expected)
	if err != nil {
		return tarError(err)
	}
	old, twice := f.blobs[name]
	_, isLink := f.links[name]
	if twice && old.digest != b.digest || isLink {
		return errTwice(name)
	}
	f.blobs[name] = b
	return nil
}

func (f *files) link(name string, h *tar.Header) error {
	to := h.Linkname
	if h.Typeflag == tar.TypeSymlink && !path.IsAbs(to) {
		to = path.Join(path.Dir(name), to)
	}
	to, err := cleanName(to)
	if err != nil {
		return fmt.Errorf("link %.200q: %w", name, err)
	}
	if _, twice := f.blobs[name]; twice || isDocument(name) {
		return errTwice(name)
	}
	if old, twice := f.links[name]; twice && old != to {
		return errTwice(name)
	}
	f.links[name] = to
	return nil
}

func errTwice(name string) error {
	return fault.New(fault.Invalid, "%.200q stands twice in the archive", name)
}

// isSparse: a sparse file grows from nothing, and no tool writes one here.
func isSparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for k := range h.PAXRecords {
		if strings.HasPrefix(k, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// isConfigName: docker's HEX.json at the top.
func isConfigName(name string) bool {
	hex, ok := strings.CutSuffix(name, ".json")
	if !ok {
		return false
	}
	_, ok = ref.ID(hex)
	return ok
}

// expectedDigest is what the name of a file below blobs/ promises.
func expectedDigest(name string) (digest.Digest, error) {
	rest, ok := strings.CutPrefix(name, blobsFolder+"/")
	if !ok {
		return "", nil
	}
	algorithm, hex, _ := strings.Cut(rest, "/")
	d := digest.Digest(algorithm + ":" + hex)
	if err := ref.CheckDigest(string(d)); err != nil {
		return "", fmt.Errorf("%.200q: %w", name, err)
	}
	return d, nil
}
