package archive

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"berth/base/fault"
	"berth/image/manifest"
)

const (
	bufferSize = 1 << 20
	// zstdWindow is the most memory that one decoder may ask for.
	zstdWindow = 64 << 20
	// freeBytes may come out whatever went in, before the ratio is looked at.
	freeBytes = 64 << 20
)

// magic tells compressed data from its first bytes.
func magic(head []byte) (c manifest.Compression, other string) {
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return manifest.Gzip, ""
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}),
		len(head) >= 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:4], []byte{0x2a, 0x4d, 0x18}):
		return manifest.Zstd, "" // a frame, or a skippable frame before one
	case bytes.HasPrefix(head, []byte("BZh")):
		return manifest.Uncompressed, "bzip2"
	case bytes.HasPrefix(head, []byte{0xfd, '7', 'z', 'X', 'Z', 0}):
		return manifest.Uncompressed, "xz"
	}
	return manifest.Uncompressed, ""
}

// decompress returns what r holds, whether it is compressed or not. Errors:
// Unsupported for xz; Invalid for what is not what it begins as.
func decompress(r io.Reader) (io.ReadCloser, error) {
	in := bufio.NewReaderSize(r, bufferSize)
	head, err := in.Peek(6)
	if err != nil && err != io.EOF {
		return nil, err
	}
	c, other := magic(head)
	switch {
	case other == "bzip2":
		return io.NopCloser(bzip2.NewReader(in)), nil
	case other != "":
		return nil, fault.New(fault.Unsupported, "%s compression is not supported: decompress it first", other)
	}
	return open(c, in)
}

func open(c manifest.Compression, in io.Reader) (io.ReadCloser, error) {
	switch c {
	case manifest.Gzip:
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, fault.New(fault.Invalid, "gzip: %w", err)
		}
		return z, nil
	case manifest.Zstd:
		z, err := zstd.NewReader(in, zstd.WithDecoderMaxWindow(zstdWindow), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, fault.New(fault.Invalid, "zstd: %w", err)
		}
		return z.IOReadCloser(), nil
	}
	return io.NopCloser(in), nil
}

// counted counts bytes on their way.
type counted struct {
	r io.Reader
	n int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// bounded reads the uncompressed side and stops what grows too much.
type bounded struct {
	r    io.Reader
	in   *counted
	n    int64
	opts LoadOptions
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.n += int64(n)
	switch {
	case b.n > b.opts.MaxBytes:
		return 0, fault.New(fault.Invalid, "it holds more than %d bytes", b.opts.MaxBytes)
	case b.n > freeBytes && b.n/b.opts.MaxRatio > b.in.n:
		return 0, fault.New(fault.Invalid, "%d bytes of it have grown to %d: more than %d times", b.in.n, b.n, b.opts.MaxRatio)
	case err != nil && err != io.EOF && fault.KindOf(err) == fault.Unknown && isDamage(err):
		err = fault.Wrap(fault.Invalid, err)
	}
	return n, err
}

// isDamage: the decompressor, not the source, says no.
func isDamage(err error) bool {
	var bz bzip2.StructuralError
	return errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) || errors.As(err, &bz) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, zstd.ErrMagicMismatch)
}

// wholeTar returns the uncompressed tar of a blob.
func wholeTar(c manifest.Compression, r io.ReadCloser) (io.ReadCloser, error) {
	z, err := open(c, bufio.NewReaderSize(r, bufferSize))
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return both{z, r}, nil
}

// both closes the decoder and its source.
type both struct {
	io.ReadCloser
	source io.Closer
}

func (b both) Close() error { return errors.Join(b.ReadCloser.Close(), b.source.Close()) }

// compressor wraps w; Close ends the compressed stream, not w.
func compressor(w io.Writer, c manifest.Compression) (io.WriteCloser, error) {
	switch c {
	case manifest.Gzip:
		return gzip.NewWriterLevel(w, gzip.BestSpeed)
	case manifest.Zstd:
		z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
		if err != nil {
			return nil, fmt.Errorf("zstd: %w", err)
		}
		return z, nil
	}
	return nopWriteCloser{w}, nil
}

type nopWriteCloser struct{ io.Writer }

func (nopWriteCloser) Close() error { return nil }
