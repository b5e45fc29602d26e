package logread

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"time"
)

// decoder knows one form of log.
type decoder interface {
	// next reads an entry and says how many bytes it took. io.EOF: no whole one
	// is left, and nothing was taken; errDamaged: what was taken is none.
	next(in *bufio.Reader, e *Entry) (size int, err error)
	// back finds where the last want entries of a file begin, and how many of
	// them it has.
	back(f *file, want int) (at int64, found int, err error)
}

var errDamaged = errors.New("a damaged entry")

// maxEntry bounds one entry: 16 KiB of output, each byte escaped, and
// attributes.
const maxEntry = 1 << 20

type jsonDecoder struct{ line []byte }

func (d *jsonDecoder) next(in *bufio.Reader, e *Entry) (size int, err error) {
	d.line = d.line[:0]
	for {
		part, err := in.ReadSlice('\n')
		size += len(part)
		if len(d.line) <= maxEntry {
			d.line = append(d.line, part...)
		}
		switch err {
		case nil:
			if len(d.line) > maxEntry {
				return size, errDamaged
			}
			return size, d.parse(e)
		case bufio.ErrBufferFull:
		default:
			return 0, err // io.EOF: a torn one, or one that is being written
		}
	}
}

func (d *jsonDecoder) parse(e *Entry) error {
	var v struct {
		Log    string            `json:"log"`
		Stream string            `json:"stream"`
		Attrs  map[string]string `json:"attrs"`
		Time   time.Time         `json:"time"`
	}
	if json.Unmarshal(d.line, &v) != nil || v.Time.IsZero() {
		return errDamaged
	}
	e.Stream, e.Time, e.Attrs = v.Stream, v.Time, v.Attrs
	e.Line = append(e.Line, v.Log...)
	return nil
}

func (d *jsonDecoder) back(f *file, want int) (at int64, found int, err error) {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil || want <= 0 {
		return end, 0, err
	}
	buf := make([]byte, 64<<10)
	// The newline that ends an entry is found before those that begin it.
	for pos := end; pos > 0; {
		n := min(pos, int64(len(buf)))
		pos -= n
		if _, err := f.ReadAt(buf[:n], pos); err != nil {
			return 0, 0, err
		}
		for b := buf[:n]; ; {
			i := bytes.LastIndexByte(b, '\n')
			if i < 0 {
				break
			}
			if found == want {
				return pos + int64(i) + 1, found, nil
			}
			found++
			b = b[:i]
		}
	}
	return 0, found, nil
}

type localDecoder struct{ buf []byte }

func (d *localDecoder) next(in *bufio.Reader, e *Entry) (size int, err error) {
	head, err := in.Peek(4)
	if err != nil {
		return 0, io.EOF
	}
	n := int(binary.BigEndian.Uint32(head))
	if n > maxEntry {
		return 0, errors.New("a damaged file")
	}
	if cap(d.buf) < n+8 {
		d.buf = make([]byte, n+8)
	}
	b := d.buf[:n+8]
	if _, err := io.ReadFull(in, b); err != nil {
		return 0, io.EOF
	}
	if int(binary.BigEndian.Uint32(b[4+n:])) != n {
		return 0, errors.New("a damaged file")
	}
	if parseLocal(b[4:4+n], e) != nil {
		return n + 8, errDamaged
	}
	return n + 8, nil
}

// NextLocal reads an entry of a stream that has the form of the driver local;
// e is good until the next. io.EOF: no whole one is left.
func NextLocal(in *bufio.Reader, e *Entry) error {
	d := &localDecoder{}
	for {
		*e = Entry{Line: e.Line[:0]}
		if _, err := d.next(in, e); err != errDamaged {
			return err
		}
	}
}

func (d *localDecoder) back(f *file, want int) (at int64, found int, err error) {
	at, err = f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, 0, err
	}
	for found < want && at >= 8 {
		var foot [4]byte
		if _, err := f.ReadAt(foot[:], at-4); err != nil {
			return 0, 0, err
		}
		n := int64(binary.BigEndian.Uint32(foot[:])) + 8
		if n > at || n > maxEntry {
			break // torn at its end: from the beginning, then
		}
		at -= n
		found++
	}
	if found < want && at > 0 {
		return 0, found, nil
	}
	return at, found, nil
}

// parseLocal reads a LogEntry, see logfile.
func parseLocal(b []byte, e *Entry) error {
	err := fields(b, func(number int, v uint64, data []byte) {
		switch number {
		case 1:
			e.Stream = string(data)
		case 2:
			e.Time = time.Unix(0, int64(v)).UTC()
		case 3:
			e.Line = append(e.Line, data...)
		case 4:
			e.Piece = v != 0
		case 5:
			_ = fields(data, func(number int, v uint64, data []byte) {
				switch number {
				case 1:
					e.Last = v != 0
				case 2:
					e.ID = string(data)
				case 3:
					e.Ordinal = int(v)
				}
			})
		}
	})
	if !e.Piece || e.Last {
		e.Line = append(e.Line, '\n')
	}
	return err
}

// fields walks a protobuf message.
func fields(b []byte, each func(number int, v uint64, data []byte)) error {
	for len(b) > 0 {
		key, n := binary.Uvarint(b)
		if n <= 0 {
			return errDamaged
		}
		b = b[n:]
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return errDamaged
		}
		b = b[n:]
		switch key & 7 {
		case 0:
			each(int(key>>3), v, nil)
		case 2:
			if v > uint64(len(b)) {
				return errDamaged
			}
			each(int(key>>3), 0, b[:v])
			b = b[v:]
		default:
			return errDamaged
		}
	}
	return nil
}
