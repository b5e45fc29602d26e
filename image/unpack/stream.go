package unpack

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"berth/base/fault"
)

// A stream is three goroutines in a row, so that two processors have work:
//
//	decompress ──chunk──▶ hash
//	     ▲          └───▶ Read, by the one who makes files
//	     └── free ◀── who is done with a chunk last
const (
	chunkSize  = 256 << 10
	chunkCount = 8
	inputSize  = 128 << 10
)

// chunk is a piece of the uncompressed stream.
type chunk struct {
	buf  []byte
	n    int
	uses atomic.Int32
}

// stream is the uncompressed stream of a layer. Read is for one goroutine.
type stream struct {
	limits     Limits
	kind       Compression
	in         counter
	total      int64 // uncompressed bytes; the decompressor's until end is closed
	free       chan *chunk
	toHash     chan *chunk
	toRead     chan *chunk
	stop       chan struct{}
	end        chan struct{} // closed when the decompressor is done
	err        error         // why it ended; io.EOF at the end. Read after end
	sum        hash.Hash
	hashed     sync.WaitGroup
	current    *chunk
	offset     int
	stopNow    sync.Once
	wantedKind Compression
}

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

// startStream begins to decompress source, in a thread that confine was called
// in. close ends it.
func startStream(source io.Reader, kind Compression, limits Limits, confine func() error) *stream {
	s := &stream{
		limits: limits, wantedKind: kind, sum: sha256.New(),
		free: make(chan *chunk, chunkCount), toHash: make(chan *chunk, chunkCount), toRead: make(chan *chunk, chunkCount),
		stop: make(chan struct{}), end: make(chan struct{}),
	}
	s.in.r = source
	for range chunkCount {
		s.free <- &chunk{buf: make([]byte, chunkSize)}
	}
	s.hashed.Go(func() {
		for c := range s.toHash {
			s.sum.Write(c.buf[:c.n])
			s.release(c)
		}
	})
	go s.decompress(confine)
	return s
}

// close stops the goroutines; who reads the source has to be let go by closing
// the source. It does not wait.
func (s *stream) close() { s.stopNow.Do(func() { close(s.stop) }) }

func (s *stream) release(c *chunk) {
	if c.uses.Add(-1) == 0 {
		s.free <- c // has room for all chunks
	}
}

// decompress fills chunks until the source ends or something is wrong.
func (s *stream) decompress(confine func() error) {
	defer close(s.end)
	defer close(s.toHash)
	defer close(s.toRead)
	defer func() {
		if p := recover(); p != nil { // the parsers read foreign bytes
			s.err = fault.New(fault.Invalid, "decompress: %v", p)
		}
	}()
	runtime.LockOSThread() // and never unlocked: the thread ends with its confinement
	if s.err = confine(); s.err != nil {
		return
	}
	in := bufio.NewReaderSize(&s.in, inputSize)
	r, done, err := s.open(in)
	if err != nil {
		s.err = err
		return
	}
	defer done()
	for s.err == nil {
		var c *chunk
		select {
		case c = <-s.free:
		case <-s.stop:
			s.err = errStopped
			return
		}
		c.n, s.err = fill(r, c.buf)
		s.total += int64(c.n)
		if err := s.check(); err != nil {
			s.err = err
			return
		}
		if c.n > 0 {
			c.uses.Store(2)
			s.toHash <- c // both have room for all chunks
			s.toRead <- c
		}
	}
	if s.err == io.EOF {
		s.err = drain(in)
	} else {
		s.err = fmt.Errorf("decompress (%s): %w", s.kind, asInvalid(s.err))
	}
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
// hashes the source sees all of it. It gives io.EOF.
func drain(in *bufio.Reader) error {
	const most = 1 << 20
	n, err := io.CopyN(io.Discard, in, most)
	if err == nil {
		return fault.New(fault.Invalid, "more than %d bytes follow the compressed stream", most)
	}
	if err == io.EOF && n > 0 {
		return fault.New(fault.Invalid, "%d bytes follow the compressed stream", n)
	}
	return err
}

// check holds the stream to its limits.
func (s *stream) check() error {
	l := &s.limits
	if s.total > l.Bytes {
		return fault.New(fault.Invalid, "the layer is larger than %d bytes uncompressed", l.Bytes)
	}
	if in := s.in.n.Load(); s.total > l.RatioFloor && s.total/l.Ratio > in {
		return fault.New(fault.Invalid, "the layer has %d bytes from %d compressed ones, more than %d times as many", s.total, in, l.Ratio)
	}
	return nil
}

// open looks at the first bytes and returns the decompressor.
func (s *stream) open(in *bufio.Reader) (r io.Reader, done func(), err error) {
	found, err := detect(in)
	if err != nil {
		return nil, nil, err
	}
	if s.kind = s.wantedKind; s.kind == Auto || s.kind == "" {
		s.kind = found
	} else if s.kind != found {
		return nil, nil, fault.New(fault.Invalid, "the stream was said to be %s and is %s", s.kind, found)
	}
	done = func() {}
	switch s.kind {
	case None:
		return in, done, nil
	case Gzip:
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, nil, fmt.Errorf("decompress (gzip): %w", asInvalid(err))
		}
		return z, done, nil
	case Zstd:
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(uint64(s.limits.Window)))
		if err != nil {
			return nil, nil, fmt.Errorf("decompress (zstd): %w", asInvalid(err))
		}
		return z, z.Close, nil
	case Bzip2:
		return bzip2.NewReader(in), done, nil
	}
	return nil, nil, fault.New(fault.Unsupported, "the compression %s is not supported", oneLine(string(s.kind)))
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

// Read gives the uncompressed bytes.
func (s *stream) Read(p []byte) (int, error) {
	if s.current == nil {
		c, ok := <-s.toRead
		if !ok {
			<-s.end
			return 0, s.err
		}
		s.current, s.offset = c, 0
	}
	c := s.current
	n := copy(p, c.buf[s.offset:c.n])
	if s.offset += n; s.offset == c.n {
		s.current = nil
		s.release(c)
	}
	return n, nil
}

// rest reads to the end of the stream and returns the digest of all of it.
func (s *stream) rest() ([]byte, error) {
	if s.current != nil {
		s.release(s.current)
		s.current = nil
	}
	for c := range s.toRead {
		s.release(c)
	}
	<-s.end
	if s.err != io.EOF {
		return nil, s.err
	}
	s.hashed.Wait()
	return s.sum.Sum(nil), nil
}
