// Package logread reads the logs that package logfile writes, Docker's own too:
// from the oldest file to the current one, from the end if asked, and on as they
// grow and are rotated.
//
// A line that cannot be understood is left out: one that a killed monitor left
// torn is no reason to show nothing. Row 4.
package logread

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"berth/base/fault"
	"berth/monitor/logfile"
)

// Entry is one line of output, or a piece of a long one. It is good until the
// next.
type Entry struct {
	Stream string // stdout, stderr
	Time   time.Time
	Line   []byte            // with its newline, if it has one
	Attrs  map[string]string // labels and environment that the log was told to keep
	// Piece: it is a piece of a long line, the Last one perhaps; only logs of the
	// driver local tell, and which line's it is.
	Piece, Last bool
	ID          string
	Ordinal     int
}

// Options say what to read.
type Options struct {
	Driver       string // json-file, local
	Path         string
	Tail         int       // the last so many entries, -1 all
	Since, Until time.Time // zero: no bound
	Follow       bool
	// Ended, with Follow, is closed when nothing more will be written.
	Ended <-chan struct{}
}

// errEnough ends a reading before the end.
var errEnough = errors.New("all that was asked for is read")

// reader is one reading of a log.
type reader struct {
	opts   Options
	decode decoder
	each   func(*Entry) error
	last   time.Time // of the last entry that was read
	skip   time.Time // entries up to this were read already
	entry  Entry
}

// Read calls each for every entry. The error is of kind NotFound if there is no
// log, Unsupported if the driver's logs cannot be read; what each returns ends
// the reading and is returned.
func Read(ctx context.Context, o Options, each func(*Entry) error) error {
	r := &reader{opts: o, each: each}
	switch o.Driver {
	case "json-file":
		r.decode = &jsonDecoder{}
	case "local":
		r.decode = &localDecoder{}
	default:
		return fault.New(fault.Unsupported, "configured logging driver does not support reading")
	}
	files, err := openAll(o.Path)
	if err != nil {
		return err
	}
	defer func() { closeAll(files) }()
	if o.Tail >= 0 {
		if files, err = r.tail(files); err != nil {
			return err
		}
	}
	for i, f := range files {
		if err := r.read(ctx, f); err != nil {
			return enough(err)
		}
		if o.Follow && i == len(files)-1 {
			files = files[:i] // follow closes it
			return enough(r.follow(ctx, f))
		}
	}
	return nil
}

func enough(err error) error {
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// file is an open log file and how far it was read.
type file struct {
	*os.File
	at int64
}

func closeAll(files []*file) {
	for _, f := range files {
		f.Close()
	}
}

// openAll opens a log's files, the oldest first. The current one is opened
// first, so that a rotation meanwhile is seen: then it is there twice.
func openAll(path string) (files []*file, err error) {
	current, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	files = []*file{{File: current}}
	info, err := current.Stat()
	if err != nil {
		closeAll(files)
		return nil, fmt.Errorf("open log: %w", err)
	}
	for i := 1; ; i++ {
		f, err := openOld(logfile.Old(path, i))
		if errors.Is(err, os.ErrNotExist) {
			return files, nil
		}
		if err != nil {
			closeAll(files)
			return nil, err
		}
		if old, err := f.Stat(); err == nil && os.SameFile(info, old) {
			f.Close()
			continue
		}
		files = append([]*file{{File: f}}, files...)
	}
}

// openOld opens an older file, as it is or unpacked into one without a name.
func openOld(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err == nil || !errors.Is(err, os.ErrNotExist) {
		return f, err
	}
	packed, err := os.Open(path + logfile.Packed)
	if err != nil {
		return nil, err
	}
	defer packed.Close()
	z, err := gzip.NewReader(bufio.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("unpack log %s: %w", packed.Name(), err)
	}
	to, err := os.CreateTemp("", "berth-log-")
	if err != nil {
		return nil, err
	}
	_ = os.Remove(to.Name())
	if _, err = io.Copy(to, z); err == nil {
		_, err = to.Seek(0, io.SeekStart)
	}
	if err != nil {
		to.Close()
		return nil, fmt.Errorf("unpack log %s: %w", packed.Name(), err)
	}
	return to, nil
}

// read reads f from where it was read to, up to its last whole entry.
func (r *reader) read(ctx context.Context, f *file) error {
	in := bufio.NewReaderSize(io.NewSectionReader(f, f.at, 1<<62), 64<<10)
	for n := 0; ; n++ {
		if n%256 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		e := &r.entry
		*e = Entry{Line: e.Line[:0]}
		size, err := r.decode.next(in, e)
		f.at += int64(size)
		switch {
		case err == errDamaged:
			continue
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("read log %s: %w", filepath.Base(r.opts.Path), err)
		}
		if !r.skip.IsZero() && !e.Time.After(r.skip) {
			continue
		}
		r.last = e.Time
		if !r.opts.Until.IsZero() && e.Time.After(r.opts.Until) {
			return errEnough
		}
		if e.Time.Before(r.opts.Since) {
			continue
		}
		if err := r.each(e); err != nil {
			return err
		}
	}
}

// tail leaves out what comes before the last entries that were asked for.
func (r *reader) tail(files []*file) ([]*file, error) {
	want := r.opts.Tail
	for i := len(files) - 1; i >= 0; i-- {
		at, found, err := r.decode.back(files[i], want)
		if err != nil {
			return files, fmt.Errorf("read log %s: %w", filepath.Base(r.opts.Path), err)
		}
		files[i].at = at
		if want -= found; want <= 0 {
			closeAll(files[:i])
			return files[i:], nil
		}
	}
	return files, nil
}
