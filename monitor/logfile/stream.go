package logfile

import (
	"bytes"
	"time"
)

// Stream cuts one stream of output into lines and pieces of long lines.
type Stream struct {
	log   *Log
	entry entry
	part  []byte // of a line whose end has not come
	long  bool   // the line that part belongs to has pieces already
	// Taken counts the bytes that came in.
	Taken uint64
}

// Stream makes a stream of the log, named stdout or stderr.
func (l *Log) Stream(name string) *Stream {
	return &Stream{log: l, entry: entry{stream: name}}
}

// Write takes output. What makes whole lines or pieces is on disk when it
// returns.
func (s *Stream) Write(b []byte) {
	s.Taken += uint64(len(b))
	if s.log == nil {
		return
	}
	for len(b) > 0 {
		i := bytes.IndexByte(b[:min(len(b), LineMax-len(s.part))], '\n')
		switch {
		case i >= 0 && len(s.part) == 0:
			s.emit(b[:i], false)
			b = b[i+1:]
		case i >= 0:
			s.part = append(s.part, b[:i]...)
			s.emit(s.part, false)
			s.part = s.part[:0]
			b = b[i+1:]
		case len(s.part)+len(b) < LineMax:
			s.part = append(s.part, b...)
			b = nil
		case len(s.part) == 0:
			s.emit(b[:LineMax], true)
			b = b[LineMax:]
		default:
			n := LineMax - len(s.part)
			s.part = append(s.part, b[:n]...)
			s.emit(s.part, true)
			s.part = s.part[:0]
			b = b[n:]
		}
	}
	s.log.Flush()
}

// End takes the end of the stream: a line without its end is kept as it is.
func (s *Stream) End() {
	if s.log != nil && len(s.part) > 0 {
		s.emit(s.part, true)
		s.log.Flush()
	}
	s.part, s.long = nil, false
}

// Rest gives back memory that is not needed now.
func (s *Stream) Rest() {
	if len(s.part) == 0 {
		s.part = nil
	}
}

// emit hands on one line, or a piece of a long one: all pieces have the time of
// the first.
func (s *Stream) emit(line []byte, piece bool) {
	e := &s.entry
	e.line = line
	switch {
	case piece && !s.long:
		s.long = true
		e.at, e.ordinal = time.Now(), 1
		e.id = pieceID(s.log.opts.Driver)
	case s.long:
		e.ordinal++
	default:
		e.at, e.ordinal, e.id = time.Now(), 0, ""
	}
	e.piece, e.last = piece || s.long, !piece
	s.log.add(e)
	if !piece {
		s.long = false
	}
	e.line = nil
}
