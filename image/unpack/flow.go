package unpack

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"sync"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"berth/base/fault"
)

// flow brings a layer's bytes from its source to the maker, by way of the
// reader if they are compressed, and hashes the plain bytes on their way: the
// diff id is never what a process says that has parsed foreign bytes.
type flow struct {
	job    *Job
	reader func() (*process, error)
	source counter
	to     ringWriter // the maker reads its other end
	fail   func()     // called before to is closed by an error: a cut is no end
	stops  stopper
	end    chan struct{} // closed when all that follows is settled

	err   error // why it failed; nil also if the maker was gone before the end
	gone  bool  // it was
	kind  Compression
	total int64
	sum   hash.Hash
}

func newFlow(j *Job, reader func() (*process, error), to ringEnd, fail func()) *flow {
	f := &flow{job: j, reader: reader, to: ringWriter{ringEnd: to}, fail: fail, end: make(chan struct{}), sum: sha256.New()}
	f.source.r = j.Source
	f.stops.add(to.sock)
	return f
}

// stop lets everything go but a Read of the source.
func (f *flow) stop() { f.stops.stop() }

// settled reports whether the flow has ended.
func (f *flow) settled() bool {
	select {
	case <-f.end:
		return true
	default:
		return false
	}
}

// into writes what is known of the bytes.
func (f *flow) into(r *Result) {
	r.DiffID = digest.NewDigest(digest.SHA256, f.sum)
	r.Uncompressed, r.Compressed, r.Compression = f.total, f.source.n.Load(), f.kind
}

// run is the flow's goroutine.
func (f *flow) run() {
	err := f.all()
	if f.gone = isGone(err); f.gone {
		err = nil // the maker says why
	}
	f.err = err
	close(f.end)
	if err != nil {
		f.fail()
	}
	f.to.sock.Close()
	f.to.unmap()
}

func isGone(err error) bool { return errors.Is(err, unix.EPIPE) || errors.Is(err, os.ErrClosed) }

func (f *flow) all() error {
	in := bufio.NewReaderSize(&f.source, inputSize)
	var err error
	if f.kind, err = kindOf(in, f.job.Compression); err != nil {
		return err
	}
	if f.kind == None {
		return f.pass(func(buf []byte) (int, error) { return in.Read(buf) }, "read the layer")
	}
	e, err := f.expand(in)
	if err != nil {
		return err
	}
	defer e.plain.unmap()
	err = f.pass(func(buf []byte) (int, error) {
		chunk, err := e.plain.take()
		if err != nil {
			return 0, err
		}
		defer e.plain.free()
		return copy(buf, chunk), nil
	}, "read from the unpack worker")
	if err != nil {
		return err
	}
	return e.verdict()
}

// pass gives the maker all plain bytes, and hashes them where nobody else can
// change them any more.
func (f *flow) pass(next func(buf []byte) (int, error), doing string) error {
	for {
		buf, err := f.to.empty()
		if err != nil {
			return err
		}
		n, err := next(buf)
		if f.total += int64(n); f.total > f.job.Limits.Bytes {
			return tooLarge(f.job.Limits.Bytes)
		}
		if n > 0 {
			f.sum.Write(buf[:n])
			if err := f.to.send(n); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", doing, err)
		}
	}
}

// expanding is a stream that the reader decompresses.
type expanding struct {
	reader *process
	sock   *os.File
	plain  ringReader
	fed    error         // why feeding it ended
	fedEnd chan struct{} // closed when fed is settled
}

// expand gives the reader a stream.
func (f *flow) expand(in io.Reader) (*expanding, error) {
	reader, err := f.reader()
	if err != nil {
		return nil, err
	}
	e := &expanding{reader: reader, fedEnd: make(chan struct{})}
	sock, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	e.sock = sock
	f.stops.add(sock)
	source, feed, err := bigPipe()
	if err != nil {
		return nil, err
	}
	defer source.Close()
	f.stops.add(feed)
	plain, far, err := newRing(false)
	if err != nil {
		return nil, err
	}
	defer far.close()
	e.plain.ringEnd = plain
	f.stops.add(plain.sock)
	o := order{Limits: f.job.Limits, Compression: f.kind}
	err = control(source, func(source int) error { return reader.order(&o, source, far, theirs) })
	if err != nil {
		plain.unmap()
	}
	if err != nil {
		return nil, err
	}
	go func() {
		_, e.fed = io.CopyBuffer(onlyWriter{feed}, onlyReader{in}, make([]byte, inputSize))
		close(e.fedEnd) // before the reader sees the end: verdict looks
		feed.Close()
	}()
	return e, nil
}

// onlyWriter and onlyReader hide splice(2) and other short cuts: the source may
// be what counts and hashes.
type (
	onlyWriter struct{ io.Writer }
	onlyReader struct{ io.Reader }
)

// verdict is how the reader ended, once it has closed its stream. A stream
// whose source broke off is not whole, whatever the reader says.
func (e *expanding) verdict() error {
	var q request
	err := read(e.sock, make([]byte, maxMessage), &q)
	switch {
	case errors.Is(err, io.EOF):
		err = e.reader.whyEnded(err)
	case errors.Is(err, os.ErrClosed): // by us: another side of the layer failed
		return err
	case err != nil:
		e.reader.kill() // it talks nonsense
		err = fmt.Errorf("read from the unpack worker: %w", err)
	case q.Op == opDone:
		<-e.fedEnd // it has read to the end
	case q.Op == opFail && q.Fail != nil:
		err = q.Fail.err()
	default:
		err = fault.New(fault.Invalid, "the unpack worker gave a malformed result")
	}
	select {
	case <-e.fedEnd:
		if e.fed != nil && !isGone(e.fed) {
			return fmt.Errorf("read the layer: %w", e.fed)
		}
	default:
	}
	return err
}

// stopper closes files once and for all.
type stopper struct {
	mu      sync.Mutex
	stopped bool
	files   []*os.File
}

// add takes a file over; it is closed at once if the time for that has come.
func (s *stopper) add(f *os.File) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.files = append(s.files, f); s.stopped {
		f.Close()
	}
}

func (s *stopper) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	for _, f := range s.files {
		f.Close()
	}
}

// pipeSize is large, so that the processes do not wait for each other.
const pipeSize = 1 << 20

func bigPipe() (r, w *os.File, err error) {
	if r, w, err = os.Pipe(); err == nil {
		_ = control(w, func(fd int) error { _, err := unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, pipeSize); return err })
	}
	return r, w, err
}
