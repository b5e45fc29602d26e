package fakereg

import (
	"io"
	"net"
	"net/http"
	"strings"
)

// Kind is what goes wrong.
type Kind string

// The kinds. After is a number of bytes of the body.
const (
	Answer      Kind = "answer"      // Status, Header and Body instead of the truth
	Endless     Kind = "endless"     // Status, Header, Body, and then spaces for ever
	Reset       Kind = "reset"       // the connection is reset after After bytes
	Truncate    Kind = "truncate"    // it ends after After bytes; the length promised more
	Stall       Kind = "stall"       // nothing comes after After bytes
	Hang        Kind = "hang"        // no answer at all
	Corrupt     Kind = "corrupt"     // the byte at After is another
	Short       Kind = "short"       // After bytes, and the length says so
	Long        Kind = "long"        // After bytes too many
	NoRange     Kind = "norange"     // the header Range is not seen
	Redirect    Kind = "redirect"    // to To and the path; Status 307 if 0
	Headers     Kind = "headers"     // the truth with Header changed ("" removes)
	ResetUpload Kind = "resetupload" // after After bytes of the request came in
)

// Fault is something to go wrong with requests that fit.
type Fault struct {
	Kind   Kind
	Method string // "" any
	Path   string // part of the path
	Skip   int    // so many pass first
	Times  int    // so many are hit; 0: all
	After  int64
	Status int
	Header map[string]string
	Body   string
	To     string

	seen, hit int
}

// Inject adds a fault; the first that fits a request is taken.
func (s *Server) Inject(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
}

// Heal removes all faults.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

func faultFor(s *Server, r *http.Request) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		if f.Method != "" && f.Method != r.Method || !strings.Contains(r.URL.Path, f.Path) {
			continue
		}
		if f.seen++; f.seen <= f.Skip || f.Times > 0 && f.hit >= f.Times {
			continue
		}
		f.hit++
		return f
	}
	return nil
}

// broken is a ResponseWriter that performs a fault on the body.
type broken struct {
	http.ResponseWriter
	r     *http.Request
	fault *Fault
	head  bool // the header was written
	at    int64
	over  bool
}

func (b *broken) WriteHeader(status int) {
	if b.head {
		return
	}
	b.head = true
	h := b.Header()
	f := b.fault
	switch f.Kind {
	case Short, Long:
		h.Del("Content-Length") // chunked: only the bytes tell
	case Headers:
		for k, v := range f.Header {
			if h.Del(k); v != "" {
				h.Set(k, v)
			}
		}
	}
	b.ResponseWriter.WriteHeader(status)
	if f.Kind == Stall && f.After == 0 || f.Kind == Reset && f.After == 0 || f.Kind == Truncate && f.After == 0 {
		b.strike()
	}
}

func (b *broken) Write(p []byte) (int, error) {
	b.WriteHeader(http.StatusOK)
	if b.over {
		return len(p), nil
	}
	f := b.fault
	from := b.at
	b.at += int64(len(p))
	if f.After < from || f.After >= b.at {
		return b.ResponseWriter.Write(p)
	}
	i := f.After - from
	switch f.Kind {
	case Corrupt:
		p = append([]byte(nil), p...)
		p[i] ^= 1
		return b.ResponseWriter.Write(p)
	case Reset, Truncate, Stall, Short:
		n, err := b.ResponseWriter.Write(p[:i])
		if err == nil {
			b.strike()
		}
		return n, err
	}
	return b.ResponseWriter.Write(p)
}

// strike does what comes after the last good byte.
func (b *broken) strike() {
	b.over = true
	if f, ok := b.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
	switch b.fault.Kind {
	case Stall:
		<-b.r.Context().Done()
	case Reset:
		hangUp(b.ResponseWriter, true)
	case Truncate:
		hangUp(b.ResponseWriter, false)
	}
}

// hangUp closes the connection under the answer, by RST or by FIN.
func hangUp(w http.ResponseWriter, reset bool) {
	h, ok := w.(http.Hijacker)
	if !ok {
		panic(http.ErrAbortHandler)
	}
	conn, _, err := h.Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok && reset {
		_ = tcp.SetLinger(0)
	}
	conn.Close()
}

// after adds what a fault wants behind the body.
func (b *broken) after() {
	if b.fault.Kind == Long && !b.over {
		_, _ = b.ResponseWriter.Write(make([]byte, b.fault.After))
	}
}

// instead performs the faults that replace the answer.
func (f *Fault) instead(w http.ResponseWriter, r *http.Request) bool {
	switch f.Kind {
	case Answer, Endless:
	case Hang:
		<-r.Context().Done()
		return true
	case Redirect:
		status := f.Status
		if status == 0 {
			status = http.StatusTemporaryRedirect
		}
		w.Header().Set("Location", f.To+r.URL.RequestURI())
		w.WriteHeader(status)
		return true
	default:
		return false
	}
	for k, v := range f.Header {
		w.Header().Set(k, v)
	}
	status := f.Status
	if status == 0 {
		status = http.StatusOK
	}
	w.WriteHeader(status)
	_, err := io.WriteString(w, f.Body)
	for spaces := []byte(strings.Repeat(" ", 32<<10)); f.Kind == Endless && r.Method != http.MethodHead && err == nil && r.Context().Err() == nil; {
		_, err = w.Write(spaces)
	}
	return true
}

// limited is a request's body that breaks off.
type limited struct {
	io.ReadCloser
	left int64
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, errBrokenOff
	}
	n, err := l.ReadCloser.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	return n, err
}
