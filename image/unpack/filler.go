package unpack

import (
	"io"
	"runtime"

	"golang.org/x/sys/unix"
)

// Small files are most of what a layer takes: two threads share them. The
// extractor alone has to do with names, in the order of the tar; it makes a file
// and reads its contents. The filler writes them, gives the file its attributes
// and closes it, a batch at a time, in a thread that may open nothing.
const (
	smallFile  = 64 << 10
	batchBytes = 512 << 10
	batchFiles = 32 // they are open
)

// pending is a new file that waits for its contents and attributes.
type pending struct {
	name string
	fd   int
	end  int // of its contents in the batch; they begin where the last one's end
	a    *attributes
}

type batch struct {
	buf   []byte
	files []pending
	err   error // of the first file that failed, with its name
}

// filler finishes small files. Its methods are the extractor's; the thread is
// started by the first batch that is full, so that a small layer needs none.
type filler struct {
	tally // these two are the thread's while a batch is out
	stamp
	now, spare *batch // spare is nil while a batch is out
	work, done chan *batch
}

// add takes a file over, with size bytes of contents from r.
func (l *filler) add(name string, fd int, size int64, a *attributes, r io.Reader) error {
	if l.now == nil {
		l.now, l.spare = &batch{}, &batch{}
	}
	b := l.now
	if len(b.files) == batchFiles || int64(len(b.buf))+size > batchBytes {
		if err := l.hand(); err != nil {
			unix.Close(fd)
			return err
		}
		b = l.now
	}
	begin := len(b.buf)
	b.files = append(b.files, pending{name: name, fd: fd, end: begin, a: a})
	if need := begin + int(size); need > cap(b.buf) {
		grown := make([]byte, begin, min(max(2*need, smallFile), batchBytes))
		copy(grown, b.buf)
		b.buf = grown
	}
	n, err := fill(r, b.buf[begin:begin+int(size)])
	if err != nil && err != io.EOF {
		return contentsError(err)
	}
	b.buf = b.buf[:begin+n]
	b.files[len(b.files)-1].end = begin + n
	return nil
}

// hand gives the batch to the thread, when it is done with the one before.
func (l *filler) hand() error {
	if l.work == nil {
		l.work, l.done = make(chan *batch), make(chan *batch, 1)
		go l.run()
	}
	err := l.take()
	l.work <- l.now
	l.now, l.spare = l.spare, nil
	return err
}

// take waits for the batch that is out, and gives its error.
func (l *filler) take() error {
	if l.spare == nil {
		l.spare = <-l.done
	}
	err := l.spare.err
	l.spare.err = nil
	return err
}

// settle finishes all files: before anything looks at one again.
func (l *filler) settle() error {
	if l.now == nil {
		return nil
	}
	if len(l.now.files) > 0 {
		if l.work == nil {
			l.finish(l.now)
			l.now, l.spare = l.spare, l.now
		} else if err := l.hand(); err != nil {
			return err
		}
	}
	return l.take()
}

// close drops what was not settled and ends the thread. When it returns nothing
// is written any more.
func (l *filler) close() {
	if l.now == nil {
		return
	}
	_ = l.take()
	if l.work != nil {
		close(l.work)
		l.work = nil
	}
	for _, f := range l.now.files {
		unix.Close(f.fd)
	}
	l.now = nil
}

func (l *filler) run() {
	runtime.LockOSThread() // and never unlocked: the thread ends with its confinement
	err := bindTo(-1)
	for b := range l.work {
		b.err = err
		l.finish(b)
		l.done <- b
	}
}

// finish writes the files of a batch and empties it. After an error it closes
// the rest.
func (l *filler) finish(b *batch) {
	begin := 0
	for _, f := range b.files {
		if b.err == nil {
			if err := l.complete(f.fd, f.a, b.buf[begin:f.end]); err != nil {
				b.err = entryError(f.name, err)
			}
		}
		unix.Close(f.fd)
		begin = f.end
	}
	clear(b.files) // attributes are not kept
	b.files, b.buf = b.files[:0], b.buf[:0]
}

func (l *filler) complete(fd int, a *attributes, contents []byte) error {
	if err := writeAll(fd, contents); err != nil {
		return err
	}
	if err := l.setAll(fd, a, unix.S_IFREG); err != nil {
		return err
	}
	return l.addSize(fd)
}
