package archive

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/image/manifest"
)

// sink takes the files of what is saved. has says that one is there already.
type sink interface {
	has(name string) bool
	file(name string, size int64, r io.Reader) error
	close() error
}

func put(s sink, name string, data []byte) error {
	return s.file(name, int64(len(data)), bytes.NewReader(data))
}

// tarSink writes an archive: same files, same bytes. Times are 1970, owner is
// root, folders come before what is in them.
type tarSink struct {
	out  *bufio.Writer
	z    io.WriteCloser
	t    *tar.Writer
	seen map[string]bool
	buf  []byte
}

func newTarSink(w io.Writer, c manifest.Compression) (*tarSink, error) {
	out := bufio.NewWriterSize(w, bufferSize)
	z, err := compressor(out, c)
	if err != nil {
		return nil, err
	}
	return &tarSink{out: out, z: z, t: tar.NewWriter(z), seen: map[string]bool{}, buf: make([]byte, bufferSize)}, nil
}

func (s *tarSink) has(name string) bool { return s.seen[name] }

func (s *tarSink) header(name string, kind byte, mode, size int64) error {
	s.seen[name] = true
	if kind == tar.TypeDir {
		name += "/"
	}
	return s.t.WriteHeader(&tar.Header{Typeflag: kind, Name: name, Size: size, Mode: mode, ModTime: time.Unix(0, 0).UTC()})
}

func (s *tarSink) file(name string, size int64, r io.Reader) error {
	if err := s.folder(path.Dir(name)); err != nil {
		return err
	}
	if err := s.header(name, tar.TypeReg, 0o644, size); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := copyExactly(s.t, r, size, s.buf); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

func (s *tarSink) folder(dir string) error {
	if dir == "." || s.seen[dir] {
		return nil
	}
	if err := s.folder(path.Dir(dir)); err != nil {
		return err
	}
	return s.header(dir, tar.TypeDir, 0o755, 0)
}

func (s *tarSink) close() error {
	for _, end := range []func() error{s.t.Close, s.z.Close, s.out.Flush} {
		if err := end(); err != nil {
			return fmt.Errorf("write archive: %w", err)
		}
	}
	return nil
}

// copyExactly copies size bytes and finds more or fewer an error.
func copyExactly(w io.Writer, r io.Reader, size int64, buf []byte) error {
	n, err := io.CopyBuffer(struct{ io.Writer }{w}, io.LimitReader(r, size), buf)
	switch {
	case err != nil:
		return err
	case n < size:
		return fault.New(fault.Invalid, "%d bytes came, not %d", n, size)
	}
	if k, err := io.ReadFull(r, buf[:1]); k > 0 {
		return fault.New(fault.Invalid, "more than %d bytes came", size)
	} else if err != io.EOF {
		return err
	}
	return nil
}

// dirSink writes a folder. Files that it does not write stay.
type dirSink struct {
	root *os.Root
	seen map[string]bool
	buf  []byte
}

func newDirSink(dir string) (*dirSink, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &dirSink{root: root, seen: map[string]bool{}, buf: make([]byte, bufferSize)}, nil
}

func (s *dirSink) has(name string) bool { return s.seen[name] }

func (s *dirSink) file(name string, size int64, r io.Reader) (err error) {
	s.seen[name] = true
	if err := s.root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	staged := path.Join(path.Dir(name), ".new-"+path.Base(name))
	_ = s.root.Remove(staged) // an earlier save was cut off
	f, err := s.root.OpenFile(staged, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	err = errors.Join(copyExactly(f, r, size, s.buf), f.Close())
	if err == nil {
		err = s.root.Rename(staged, name)
	}
	if err != nil {
		_ = s.root.Remove(staged)
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

func (s *dirSink) close() error { return s.root.Close() }
