package unpack

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"berth/base/fault"
)

// inputSize is the buffer of compressed bytes.
const inputSize = 128 << 10

// counter counts what was read of the source.
type counter struct {
	r io.Reader
	n atomic.Int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// chunks is where plain bytes go: a ringWriter.
type chunks interface {
	empty() ([]byte, error)
	send(n int) error
}

// expand writes the plain bytes of a compressed stream: the reader's whole work.
func expand(source io.Reader, to chunks, kind Compression, limits *Limits) (err error) {
	defer func() {
		if p := recover(); p != nil { // the parsers read foreign bytes
			err = fault.New(fault.Invalid, "decompress: %v", p)
		}
	}()
	counted := counter{r: source}
	in := bufio.NewReaderSize(&counted, inputSize)
	r, done, err := decompressor(in, kind, limits)
	if err != nil {
		return err
	}
	defer done()
	for total := int64(0); err == nil; {
		buf, werr := to.empty()
		if werr != nil {
			return werr
		}
		var n int
		n, err = fill(r, buf)
		if total += int64(n); total > limits.Bytes {
			return tooLarge(limits.Bytes)
		}
		if in := counted.n.Load(); total > limits.RatioFloor && total/limits.Ratio > in {
			return fault.New(fault.Invalid, "the layer has %d bytes from %d compressed ones, more than %d times as many", total, in, limits.Ratio)
		}
		if n > 0 {
			if err := to.send(n); err != nil {
				return err
			}
		}
	}
	if err != io.EOF {
		return fmt.Errorf("decompress (%s): %w", kind, asInvalid(err))
	}
	return drain(in)
}

func tooLarge(limit int64) error {
	return fault.New(fault.Invalid, "the layer is larger than %d bytes uncompressed", limit)
}

// errStopped is the error of a stream that was closed.
var errStopped = errors.New("stopped")

// asInvalid gives errors of the parsers a kind; those of the kernel have one.
func asInvalid(err error) error {
	if fault.KindOf(err) != fault.Unknown {
		return err
	}
	return fault.Wrap(fault.Invalid, err)
}

// fill reads until buf is full. The error is io.EOF at the end, also when
// something was read.
func fill(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var m int
		m, err = r.Read(buf[n:])
		n += m
	}
	return n, err
}

// drain reads what follows the end of the compressed stream, so that whoever
// hashes the source sees all of it.
func drain(in *bufio.Reader) error {
	const most = 1 << 20
	n, err := io.CopyN(io.Discard, in, most)
	if err == nil {
		return fault.New(fault.Invalid, "more than %d bytes follow the compressed stream", most)
	}
	if err == io.EOF && n > 0 {
		return fault.New(fault.Invalid, "%d bytes follow the compressed stream", n)
	}
	if err == io.EOF {
		return nil
	}
	return err
}

// decompressor opens a stream of a kind other than None.
func decompressor(in *bufio.Reader, kind Compression, limits *Limits) (r io.Reader, done func(), err error) {
	done = func() {}
	switch kind {
	case Gzip:
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, nil, fmt.Errorf("decompress (gzip): %w", asInvalid(err))
		}
		return z, done, nil
	case Zstd:
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(uint64(limits.Window)))
		if err != nil {
			return nil, nil, fmt.Errorf("decompress (zstd): %w", asInvalid(err))
		}
		return z, z.Close, nil
	case Bzip2:
		return bzip2.NewReader(in), done, nil
	}
	return nil, nil, unsupported(kind)
}

func unsupported(kind Compression) error {
	return fault.New(fault.Unsupported, "the compression %s is not supported", oneLine(string(kind)))
}

// kindOf tells the compression of a stream and compares it with what was said.
func kindOf(in *bufio.Reader, said Compression) (Compression, error) {
	found, err := detect(in)
	if err != nil {
		return "", err
	}
	switch {
	case said != Auto && said != "" && said != found:
		return "", fault.New(fault.Invalid, "the stream was said to be %s and is %s", said, found)
	case found == "xz":
		return "", unsupported(found)
	}
	return found, nil
}

// detect tells the compression by its magic number. A zstd stream may begin
// with a skippable frame (RFC 8878, 3.1.2).
func detect(in *bufio.Reader) (Compression, error) {
	b, err := in.Peek(6)
	if err != nil && err != io.EOF {
		return "", fmt.Errorf("read the layer: %w", err)
	}
	has := func(magic string) bool { return bytes.HasPrefix(b, []byte(magic)) }
	switch {
	case has("\x1f\x8b"):
		return Gzip, nil
	case has("\x28\xb5\x2f\xfd"), len(b) >= 4 && b[0]&0xf0 == 0x50 && string(b[1:4]) == "\x2a\x4d\x18":
		return Zstd, nil
	case has("BZh"):
		return Bzip2, nil
	case has("\xfd7zXZ\x00"):
		return "xz", nil
	}
	return None, nil
}
