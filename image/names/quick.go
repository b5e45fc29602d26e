package names

import (
	"bytes"
	"strconv"
	"time"

	"github.com/opencontainers/go-digest"
)

// quick reads a record in exactly the form that stage writes, when it has no
// escapes, annotations or platform: nearly all names. ok is false for any
// other; encoding/json decides then. A list of a thousand names takes half the
// time for it.
func quick(b []byte) (r record, ok bool) {
	s := scanner{rest: b, ok: true}
	s.skip(`{"version":`)
	r.Version = int(s.number())
	s.skip(`,"name":`)
	r.Name = s.text()
	s.skip(`,"target":{"mediaType":`)
	r.Target.MediaType = s.text()
	s.skip(`,"digest":`)
	r.Target.Digest = digest.Digest(s.text())
	s.skip(`,"size":`)
	r.Target.Size = s.number()
	s.skip(`}`)
	if s.has(`,"labels":{`) {
		r.Labels = map[string]string{}
		for more := true; more && s.ok; more = s.has(`,`) {
			k := s.text()
			s.skip(`:`)
			r.Labels[k] = s.text()
		}
		s.skip(`}`)
	}
	s.skip(`,"created":`)
	r.Created = s.time()
	s.skip(`,"updated":`)
	r.Updated = s.time()
	s.skip(`}`)
	return r, s.ok && len(s.rest) == 0
}

// scanner eats its rest from the left; ok turns false at the first surprise.
type scanner struct {
	rest []byte
	ok   bool
}

func (s *scanner) has(lit string) bool {
	if len(s.rest) < len(lit) || string(s.rest[:len(lit)]) != lit {
		return false
	}
	s.rest = s.rest[len(lit):]
	return true
}

func (s *scanner) skip(lit string) { s.ok = s.has(lit) && s.ok }

// text is a string of printable ASCII without escapes.
func (s *scanner) text() string {
	if !s.has(`"`) {
		s.ok = false
		return ""
	}
	end := bytes.IndexByte(s.rest, '"')
	if end < 0 {
		s.ok = false
		return ""
	}
	for _, c := range s.rest[:end] {
		if c < ' ' || c > '~' || c == '\\' {
			s.ok = false
			return ""
		}
	}
	out := string(s.rest[:end])
	s.rest = s.rest[end+1:]
	return out
}

func (s *scanner) number() int64 {
	n := 0
	for n < len(s.rest) && s.rest[n] >= '0' && s.rest[n] <= '9' {
		n++
	}
	v, err := strconv.ParseInt(string(s.rest[:n]), 10, 64)
	if err != nil || n > 1 && s.rest[0] == '0' { // JSON has no leading zeros
		s.ok = false
	}
	s.rest = s.rest[n:]
	return v
}

func (s *scanner) time() time.Time {
	var t time.Time
	if err := t.UnmarshalText([]byte(s.text())); err != nil {
		s.ok = false
	}
	return t
}
