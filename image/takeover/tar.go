package takeover

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
	"github.com/vbatts/tar-split/tar/asm"
	"github.com/vbatts/tar-split/tar/storage"
	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/sys/mount"
	"berth/sys/safepath"
)

// Caps on one layer.
const (
	maxEntries = 1 << 20   // files, as the extractor takes
	maxLine    = 16 << 20  // bytes of one entry of tar-split's list
	maxTar     = 256 << 30 // bytes of the tar
)

// tar makes a layer's tar from split, tar-split's list, and the files in folder.
func (s *Store) tar(ctx context.Context, diff digest.Digest, split, folder string) (io.ReadCloser, error) {
	list, _, err := s.regular(split)
	if err != nil {
		return nil, err
	}
	files, err := s.file(folder, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return nil, errors.Join(err, list.Close())
	}
	r, w := io.Pipe()
	t := &tarball{ctx: ctx, diff: diff, folder: files.Name(), pipe: r, sum: sha256.New(), done: make(chan struct{})}
	go func() {
		defer close(t.done)
		err := assemble(list, files, w)
		w.CloseWithError(errors.Join(err, list.Close(), files.Close())) // nil is io.EOF
	}()
	return t, nil
}

// tarball is a tar under way, and its digest.
type tarball struct {
	ctx    context.Context
	diff   digest.Digest
	folder string
	pipe   *io.PipeReader
	sum    hash.Hash
	n      int64
	done   chan struct{} // closed when nothing reads the store any more
}

// Read gives the tar's bytes; its end is io.EOF only if they are the right ones.
func (t *tarball) Read(p []byte) (int, error) {
	if err := t.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := t.pipe.Read(p)
	t.sum.Write(p[:n])
	t.n += int64(n)
	switch {
	case t.n > maxTar:
		return 0, fault.New(fault.Invalid, "layer %s: more than %d bytes", t.diff, int64(maxTar))
	case err == io.EOF:
		if got := digest.NewDigest(digest.SHA256, t.sum); got != t.diff {
			return n, fault.New(fault.Invalid, "layer %s: the files in %s make another tar, with the digest %s", t.diff, t.folder, got)
		}
	case err != nil:
		err = fmt.Errorf("layer %s: %w", t.diff, err)
	}
	return n, err
}

// Close ends the reading, finished or not.
func (t *tarball) Close() error {
	err := t.pipe.Close()
	<-t.done
	return err
}

// assemble writes the tar that list describes, with the contents of files.
func assemble(list io.Reader, files *os.File, w io.Writer) error {
	plain, err := gzip.NewReader(bufio.NewReader(list))
	if err != nil {
		return fault.New(fault.Invalid, "tar-split's list: %w", err)
	}
	defer plain.Close()
	src := &splitter{list: storage.NewJSONUnpacker(&lines{r: plain}), files: files}
	err = asm.WriteOutputTarStream(src, src, w)
	if errors.Is(err, io.ErrClosedPipe) || err == nil {
		return nil // the reader went away, or all is told
	}
	if fault.KindOf(err) == fault.Unknown {
		err = fault.Wrap(fault.Invalid, err)
	}
	return err
}

// lines ends a list with a line that would fill the memory.
type lines struct {
	r io.Reader
	n int
}

// Read is io.Reader's.
func (l *lines) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	for _, c := range p[:n] {
		if l.n++; c == '\n' {
			l.n = 0
		}
	}
	if l.n > maxLine {
		return 0, fault.New(fault.Invalid, "tar-split's list: a line of more than %d bytes", maxLine)
	}
	return n, err
}

// splitter hands the library what it asks for: the entries of the list, and the
// files that they name, one after the other.
type splitter struct {
	list    storage.Unpacker
	files   *os.File
	entries int
	size    int64 // of the file that is asked for next
}

// Next is storage.Unpacker's.
func (s *splitter) Next() (*storage.Entry, error) {
	e, err := s.list.Next()
	if err != nil {
		return nil, err
	}
	switch e.Type {
	case storage.SegmentType:
	case storage.FileType:
		if s.entries++; s.entries > maxEntries {
			return nil, fault.New(fault.Invalid, "tar-split's list: more than %d files", maxEntries)
		}
		if s.size = e.Size; e.Size < 0 {
			return nil, fault.New(fault.Invalid, "tar-split's list: %.200q has a negative size", e.GetName())
		}
	default:
		return nil, fault.New(fault.Invalid, "tar-split's list: an entry of type %d", e.Type)
	}
	return e, nil
}

// Get is storage.FileGetter's. A name may lead through links of the layer's,
// as it did for the extractor, but not out of it. Only a regular file is opened:
// looking at a device could already do something.
func (s *splitter) Get(name string) (io.ReadCloser, error) {
	fd, err := safepath.OpenInRoot(int(s.files.Fd()), name, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return nil, fmt.Errorf("open %.200q in %s: %w", name, s.files.Name(), err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("look at %.200q in %s: %w", name, s.files.Name(), err)
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return nil, fault.New(fault.Invalid, "%.200q in %s is no file", name, s.files.Name())
	case st.Size != s.size:
		return nil, fault.New(fault.Invalid, "%.200q in %s has %d bytes, not %d: it was changed", name, s.files.Name(), st.Size, s.size)
	}
	f, err := os.Open("/proc/" + mount.FDPath(fd))
	if err != nil {
		return nil, fmt.Errorf("open %.200q in %s: %w", name, s.files.Name(), err)
	}
	return f, nil
}
