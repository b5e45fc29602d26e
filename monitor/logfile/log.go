// Package logfile writes the output of a container as Docker's log drivers
// json-file and local keep it, byte for byte, with rotation.
//
// The monitor links it: it starts no goroutine, links neither fmt nor
// encoding/json and keeps its memory bounded, whatever comes in. Reading is
// package logread. Row 4.
package logfile

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Options say where a log is and how it grows.
type Options struct {
	Driver   string // json-file, local
	Path     string
	MaxSize  int64 // bytes after which a new file is begun, 0 never
	MaxFile  int   // files in all, the current one among them
	Compress bool  // old files get compressed
	Attrs    string
	// Tee, if set, is given what is written, in the driver's form: whole entries.
	// Path may be "" then. It must not keep b.
	Tee func(b []byte)
}

// Log is an open log. A nil *Log takes everything and keeps nothing.
type Log struct {
	opts    Options
	fd      int
	size    int64 // of the file
	buf     []byte
	lost    uint64 // bytes of output that could not be written
	held    uint64 // bytes of output in buf
	packing bool   // an old file is being compressed
	pack    func(path string) bool
	clock   stamp
	encode  func(l *Log, e *entry)
}

// entry is one line, or a piece of one.
type entry struct {
	stream  string
	line    []byte // without the newline
	piece   bool   // a part of a long line, or the end without a newline
	last    bool   // of a long line
	id      string // of a long line
	ordinal int
	at      time.Time
}

const (
	// LineMax is the longest piece of a line, as in Docker.
	LineMax = 16 << 10
	// flushAt bounds what is gathered before it is written.
	flushAt = 64 << 10
	// keepBuf bounds what is kept of the buffer when nothing is written.
	keepBuf = 8 << 10
)

// Open opens or makes a log. pack starts the compression of an old file, which
// ends with a call of Packed, and reports whether it has begun; nil for none.
func Open(o Options, pack func(path string) bool) (*Log, error) {
	l := &Log{opts: o, pack: pack, fd: -1}
	switch o.Driver {
	case "", "none":
		return nil, nil
	case "json-file":
		l.encode = encodeJSON
	case "local":
		l.encode = encodeLocal
	default:
		return nil, errors.New("log driver " + o.Driver + " is none of the monitor's")
	}
	if o.Path == "" && o.Tee != nil {
		return l, nil
	}
	if err := l.open(0); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *Log) open(more int) error {
	fd, err := unix.Open(l.opts.Path, unix.O_RDWR|unix.O_CREAT|unix.O_APPEND|unix.O_CLOEXEC|more, 0o640)
	if err != nil {
		return &os.PathError{Op: "open log", Path: l.opts.Path, Err: err}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return &os.PathError{Op: "look at log", Path: l.opts.Path, Err: err}
	}
	if l.fd >= 0 {
		unix.Close(l.fd)
	}
	l.fd, l.size = fd, st.Size
	l.mend()
	return nil
}

// mend ends a line that a killed monitor left torn, so that the next one is
// whole.
func (l *Log) mend() {
	var b [1]byte
	if l.opts.Driver != "json-file" || l.size == 0 {
		return
	}
	if n, err := unix.Pread(l.fd, b[:], l.size-1); err == nil && n == 1 && b[0] != '\n' {
		if n, _ := unix.Write(l.fd, []byte{'\n'}); n == 1 {
			l.size++
		}
	}
}

// add takes one entry; it is on disk after the next Flush.
func (l *Log) add(e *entry) {
	if l.opts.MaxSize > 0 && l.fd >= 0 && l.size+int64(len(l.buf)) >= l.opts.MaxSize {
		l.Flush()
		l.rotate()
	}
	l.encode(l, e)
	l.held += uint64(len(e.line))
	if len(l.buf) >= flushAt {
		l.Flush()
	}
}

// Flush writes what was gathered. What cannot be written is dropped and
// counted: a full disk does not stop the container.
func (l *Log) Flush() {
	if l == nil || len(l.buf) == 0 {
		return
	}
	if l.opts.Tee != nil {
		l.opts.Tee(l.buf)
	}
	if l.fd < 0 {
		l.buf, l.held = l.buf[:0], 0
		return
	}
	b := l.buf
	for len(b) > 0 {
		n, err := unix.Write(l.fd, b)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			// Whole lines or nothing.
			_ = unix.Ftruncate(l.fd, l.size)
			l.lost += l.held
			l.buf, l.held = l.buf[:0], 0
			return
		}
		b = b[n:]
	}
	l.size += int64(len(l.buf))
	l.buf, l.held = l.buf[:0], 0
}

// Rest gives back memory that a burst needed.
func (l *Log) Rest() {
	if l != nil && len(l.buf) == 0 && cap(l.buf) > keepBuf {
		l.buf = nil
	}
}

// Lost is how many bytes of output could not be written.
func (l *Log) Lost() uint64 {
	if l == nil {
		return 0
	}
	return l.lost
}

// Close writes what was gathered and closes the file.
func (l *Log) Close() {
	if l == nil {
		return
	}
	l.Flush()
	if l.fd >= 0 {
		unix.Close(l.fd)
		l.fd = -1
	}
}
