package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// ReadOptions says what to read; zero times are the beginning and no end.
type ReadOptions struct {
	Since, Until time.Time
	// Follow waits for new events until ctx ends or Until has come.
	Follow bool
}

// Read calls each for one event after the other, until it returns false. A line
// that was torn is skipped. The end of ctx is the end of following, no error.
func (j *Journal) Read(ctx context.Context, o ReadOptions, each func(Event) bool) error {
	if o.Follow && !o.Until.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, o.Until)
		defer cancel()
	}
	r := &reader{j: j, o: o, each: each}
	defer r.close()
	var news *watch
	if o.Follow {
		// Watched before the first look: nothing comes between.
		var err error
		if news, err = j.watch(); err != nil {
			return fmt.Errorf("follow events: %w", err)
		}
		defer context.AfterFunc(ctx, news.close)()
		defer news.close()
	}
	for {
		more, err := r.read()
		if err != nil {
			return fmt.Errorf("read events: %w", err)
		}
		if !more || !o.Follow || ctx.Err() != nil {
			return nil
		}
		if err := news.wait(); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("follow events: %w", err)
		}
	}
}

// reader is where somebody is in the journal.
type reader struct {
	j    *Journal
	o    ReadOptions
	each func(Event) bool

	generation uint64
	file       *os.File
	rest       []byte // the beginning of a line
	chunk      []byte
}

func (r *reader) close() {
	if r.file != nil {
		r.file.Close()
		r.file = nil
	}
}

// read goes to the end of what is there. more is false if each has enough.
func (r *reader) read() (more bool, err error) {
	for {
		// Asked before the file's end is looked for: if there is a newer one now,
		// nothing is added to this one.
		next, err := r.next()
		if err != nil {
			return false, err
		}
		if r.file != nil {
			if more, err := r.drain(); err != nil || !more {
				return false, err
			}
		}
		if next == 0 {
			return true, nil
		}
		r.close()
		r.generation, r.rest = next, nil
		r.file, err = os.Open(r.j.path(next))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return false, err
		}
	}
}

// next is the generation after the present one, 0 for none.
func (r *reader) next() (uint64, error) {
	all, err := r.j.generations()
	if err != nil {
		return 0, err
	}
	for _, n := range all {
		if n > r.generation {
			return n, nil
		}
	}
	return 0, nil
}

func (r *reader) drain() (more bool, err error) {
	if r.chunk == nil {
		r.chunk = make([]byte, 64<<10)
	}
	for {
		n, err := r.file.Read(r.chunk)
		if n == 0 {
			if err == io.EOF {
				err = nil
			}
			return true, err
		}
		r.rest = append(r.rest, r.chunk[:n]...)
		for {
			line, rest, whole := bytes.Cut(r.rest, []byte{'\n'})
			if !whole {
				break
			}
			r.rest = rest
			if !r.line(line) {
				return false, nil
			}
		}
		if len(r.rest) > MaxLine {
			r.rest = nil // no line of ours; what is left of it does not parse
		}
		r.rest = bytes.Clone(r.rest) // and not what was in front of it
	}
}

// line handles one line and reports whether to go on.
func (r *reader) line(b []byte) bool {
	var e Event
	if len(b) == 0 || json.Unmarshal(b, &e) != nil {
		return true
	}
	if e.Time.Before(r.o.Since) || !r.o.Until.IsZero() && e.Time.After(r.o.Until) {
		return true
	}
	return r.each(e)
}

// watch tells when something in the folder changes: inotify(7).
type watch struct{ file *os.File }

func (j *Journal) watch() (*watch, error) {
	if err := os.MkdirAll(j.dir, 0o700); err != nil {
		return nil, err
	}
	fd, err := syscall.InotifyInit1(syscall.IN_CLOEXEC | syscall.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	if _, err := syscall.InotifyAddWatch(fd, j.dir, syscall.IN_MODIFY|syscall.IN_CREATE|syscall.IN_ONLYDIR); err != nil {
		syscall.Close(fd)
		return nil, os.NewSyscallError("inotify_add_watch", err)
	}
	return &watch{os.NewFile(uintptr(fd), "inotify")}, nil
}

// wait returns when something changed since the last wait.
func (w *watch) wait() error {
	var b [16 << 10]byte
	_, err := w.file.Read(b[:])
	return err
}

func (w *watch) close() { w.file.Close() }
