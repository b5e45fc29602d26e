package logfile

import (
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// stamp formats times, most of which share their second with the one before.
type stamp struct {
	second int64
	head   [len("2006-01-02T15:04:05")]byte
}

// append appends t in UTC as RFC 3339 with the fraction's trailing zeros cut
// off, which is how Go writes a time as JSON.
func (s *stamp) append(dst []byte, t time.Time) []byte {
	if sec := t.Unix(); sec != s.second {
		s.second = sec
		t.UTC().AppendFormat(s.head[:0], "2006-01-02T15:04:05")
	}
	dst = append(dst, s.head[:]...)
	if ns := t.Nanosecond(); ns > 0 {
		var digits [10]byte
		for i := 9; i > 0; i-- {
			digits[i] = byte('0' + ns%10)
			ns /= 10
		}
		digits[0] = '.'
		end := 10
		for digits[end-1] == '0' {
			end--
		}
		dst = append(dst, digits[:end]...)
	}
	return append(dst, 'Z')
}

// AppendTime appends a time as the logs have it.
func AppendTime(dst []byte, t time.Time) []byte { return new(stamp).append(dst, t) }

// encodeJSON appends an entry as Docker's json-file driver writes it: one
// object a line; a piece that does not end its line has no newline in "log".
func encodeJSON(l *Log, e *entry) {
	b := append(l.buf, '{')
	if len(e.line) > 0 || !e.piece || e.last {
		b = append(b, `"log":"`...)
		b = appendJSON(b, e.line)
		if !e.piece || e.last {
			b = append(b, '\\', 'n')
		}
		b = append(b, `",`...)
	}
	b = append(b, `"stream":"`...)
	b = append(b, e.stream...)
	b = append(b, '"')
	if l.opts.Attrs != "" {
		b = append(b, `,"attrs":`...)
		b = append(b, l.opts.Attrs...)
	}
	b = append(b, `,"time":"`...)
	b = l.clock.append(b, e.at)
	l.buf = append(b, "\"}\n"...)
}

const hexDigits = "0123456789abcdef"

// plain marks the bytes that stand for themselves in a JSON string.
var plain = func() (set [256]bool) {
	for c := byte(' '); c < utf8.RuneSelf; c++ {
		set[c] = c != '"' && c != '\\' && c != '<' && c != '>' && c != '&'
	}
	return set
}()

// appendJSON appends bytes as the inside of a JSON string, with the escapes that
// Docker writes: < > & and the two line separators by number, a byte that is no
// UTF-8 as U+FFFD.
func appendJSON(dst, b []byte) []byte {
	start := 0
	for i := 0; i < len(b); {
		c := b[i]
		if plain[c] {
			i++
			continue
		}
		if c < utf8.RuneSelf {
			dst = append(dst, b[start:i]...)
			switch c {
			case '"', '\\':
				dst = append(dst, '\\', c)
			case '\n':
				dst = append(dst, '\\', 'n')
			case '\r':
				dst = append(dst, '\\', 'r')
			default:
				dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			}
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRune(b[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			dst = append(append(dst, b[start:i]...), `\ufffd`...)
			start = i + 1
		case r == '\u2028' || r == '\u2029':
			dst = append(append(dst, b[start:i]...), `\u202`...)
			dst = append(dst, hexDigits[r&15])
			start = i + size
		}
		i += size
	}
	return append(dst, b[start:]...)
}

// encodeLocal appends an entry as Docker's local driver writes it: a protobuf
// message between two lengths of four bytes, most significant first.
//
//	LogEntry {1 source string; 2 time_nano int64; 3 line bytes; 4 partial bool;
//	          5 partial_log_metadata {1 last bool; 2 id string; 3 ordinal int32}}
func encodeLocal(l *Log, e *entry) {
	head := len(l.buf)
	b := append(l.buf, 0, 0, 0, 0)
	b = appendField(b, 1, e.stream)
	b = append(b, 2<<3)
	b = appendUvarint(b, uint64(e.at.UnixNano()))
	if len(e.line) > 0 {
		b = append(b, 3<<3|2)
		b = appendUvarint(b, uint64(len(e.line)))
		b = append(b, e.line...)
	}
	if e.piece {
		b = append(b, 4<<3, 1)
		var meta []byte
		if e.last {
			meta = append(meta, 1<<3, 1)
		}
		meta = appendField(meta, 2, e.id)
		meta = appendUvarint(append(meta, 3<<3), uint64(e.ordinal))
		b = appendField(b, 5, string(meta))
	}
	size := uint32(len(b) - head - 4)
	ends := [4]byte{byte(size >> 24), byte(size >> 16), byte(size >> 8), byte(size)}
	copy(b[head:], ends[:])
	l.buf = append(b, ends[:]...)
}

func appendUvarint(b []byte, v uint64) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

func appendField(b []byte, number byte, s string) []byte {
	b = appendUvarint(append(b, number<<3|2), uint64(len(s)))
	return append(b, s...)
}

// pieceID names a long line among others, where the form has a place for it.
func pieceID(driver string) string {
	if driver != "local" {
		return ""
	}
	var b [32]byte
	_, _ = unix.Getrandom(b[:], 0)
	id := make([]byte, 0, 2*len(b))
	for _, c := range b {
		id = append(id, hexDigits[c>>4], hexDigits[c&15])
	}
	return string(id)
}
