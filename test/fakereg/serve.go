package fakereg

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

var errBrokenOff = errors.New("the fault broke the request off")

// Start serves on loopback until the returned server is closed.
func (s *Server) Start() *httptest.Server { return httptest.NewServer(s) }

// counted knows what went through.
type counted struct {
	http.ResponseWriter
	status int
	sent   int64
}

func (c *counted) WriteHeader(status int) {
	if c.status == 0 {
		c.status = status
	}
	c.ResponseWriter.WriteHeader(status)
}

func (c *counted) Write(p []byte) (int, error) {
	if c.status == 0 {
		c.status = http.StatusOK
	}
	n, err := c.ResponseWriter.Write(p)
	c.sent += int64(n)
	return n, err
}

func (c *counted) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func (c *counted) Flush() {
	if f, ok := c.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
}

type countedBody struct {
	io.ReadCloser
	n int64
}

func (c *countedBody) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n += int64(n)
	return n, err
}

// ServeHTTP answers one request, records it, and lets its fault happen.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := &countedBody{ReadCloser: r.Body}
	r.Body = body
	out := &counted{ResponseWriter: w}
	s.mu.Lock()
	s.active++
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.active--
		s.requests = append(s.requests, Request{r.Method, r.URL.Path, r.URL.RawQuery, r.Header.Get("Range"), r.Proto,
			r.Header.Get("Authorization"), r.Header, out.status, out.sent, body.n})
	}()
	f := faultFor(s, r)
	if f == nil {
		answers{s}.answer(out, r)
		return
	}
	switch f.Kind {
	case NoRange:
		r.Header.Del("Range")
		answers{s}.answer(out, r)
	case ResetUpload:
		r.Body = &limited{r.Body, f.After}
		answers{s}.answer(httptest.NewRecorder(), r)
		hangUp(w, true)
	default:
		if f.instead(out, r) {
			return
		}
		b := &broken{ResponseWriter: hijackable{out, w}, r: r, fault: f}
		answers{s}.answer(b, r)
		b.after()
	}
}

// hijackable writes through the counter and hijacks below it.
type hijackable struct {
	*counted
	below http.ResponseWriter
}

func (h hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	below, ok := h.below.(http.Hijacker)
	if !ok {
		return nil, nil, errors.New("HTTP/2 has no connection to take")
	}
	return below.Hijack()
}

// answers is the server as seen from the protocol.
type answers struct{ *Server }

// answer is the registry when nothing goes wrong.
func (s answers) answer(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	switch {
	case path == "/token":
		s.serveToken(w, r)
		return
	case path == "/v1/search":
		if s.allowed(w, r, "") {
			s.serveSearch(w, r)
		}
		return
	case path != "/v2" && !strings.HasPrefix(path, "/v2/"):
		refuse(w, http.StatusNotFound, "", "no such page")
		return
	}
	rest := strings.Trim(strings.TrimPrefix(path, "/v2"), "/")
	repository, what, name := split(rest)
	if !s.allowed(w, r, repository) {
		return
	}
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	switch {
	case rest == "":
		_, _ = io.WriteString(w, "{}")
	case what == "blobs":
		s.serveBlob(w, r, repository, digest.Digest(name))
	case what == "uploads":
		s.serveUpload(w, r, repository, name)
	case what == "manifests":
		s.serveManifest(w, r, repository, name)
	case what == "tags" && name == "list":
		s.serveTags(w, r, repository)
	default:
		refuse(w, http.StatusNotFound, "", "no such page")
	}
}

// split parts REPOSITORY/blobs/uploads/ID, REPOSITORY/blobs/DIGEST, ….
func split(path string) (repository, what, name string) {
	for _, w := range []string{"/blobs/uploads", "/blobs/", "/manifests/", "/tags/"} {
		if i := strings.LastIndex(path, w); i >= 0 {
			return path[:i], strings.TrimPrefix(strings.Trim(w, "/"), "blobs/"), strings.Trim(path[i+len(w):], "/")
		}
	}
	return "", "", ""
}

// refuse answers in the protocol's form.
func refuse(w http.ResponseWriter, status int, code, message string) {
	if code == "" {
		http.Error(w, message, status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": []any{map[string]string{"code": code, "message": message}}})
}

func (s answers) serveBlob(w http.ResponseWriter, r *http.Request, repository string, d digest.Digest) {
	s.mu.Lock()
	b, ok := s.blobs[d]
	ok = ok && s.in[repository][d]
	s.mu.Unlock()
	if !ok {
		refuse(w, http.StatusNotFound, "BLOB_UNKNOWN", "blob unknown to registry")
		return
	}
	if r.Method == http.MethodHead && s.NoHead {
		refuse(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "no HEAD")
		return
	}
	if s.NoRange {
		r.Header.Del("Range")
	}
	f, err := b.open()
	if err != nil {
		refuse(w, http.StatusInternalServerError, "UNKNOWN", err.Error())
		return
	}
	defer f.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Docker-Content-Digest", string(d))
	http.ServeContent(w, r, "", time.Time{}, f)
}

func (s answers) serveManifest(w http.ResponseWriter, r *http.Request, repository, name string) {
	if r.Method == http.MethodPut {
		s.putManifest(w, r, repository, name)
		return
	}
	s.mu.Lock()
	doc, ok := s.docs[repository][name]
	s.mu.Unlock()
	if !ok {
		refuse(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "manifest unknown")
		return
	}
	if r.Method == http.MethodHead && s.NoHead {
		refuse(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "no HEAD")
		return
	}
	algorithm := digest.Canonical
	if d := digest.Digest(name); d.Validate() == nil {
		algorithm = d.Algorithm()
	}
	w.Header().Set("Content-Type", doc.media)
	w.Header().Set("Content-Length", strconv.Itoa(len(doc.data)))
	w.Header().Set("Docker-Content-Digest", string(algorithm.FromBytes(doc.data)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(doc.data)
	} else {
		w.WriteHeader(http.StatusOK)
	}
}

// putManifest refuses a manifest whose blobs are not there.
func (s answers) putManifest(w http.ResponseWriter, r *http.Request, repository, name string) {
	data, err := io.ReadAll(io.LimitReader(r.Body, 4<<20))
	var in struct {
		Config *struct{ Digest digest.Digest }  `json:"config"`
		Layers []struct{ Digest digest.Digest } `json:"layers"`
	}
	if err != nil || json.Unmarshal(data, &in) != nil {
		refuse(w, http.StatusBadRequest, "MANIFEST_INVALID", "manifest invalid")
		return
	}
	s.mu.Lock()
	missing := in.Config != nil && !s.in[repository][in.Config.Digest]
	for _, l := range in.Layers {
		missing = missing || !s.in[repository][l.Digest]
	}
	s.mu.Unlock()
	if missing {
		refuse(w, http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry")
		return
	}
	tag := name
	if d := digest.Digest(name); d.Validate() == nil {
		if tag = ""; d != d.Algorithm().FromBytes(data) {
			refuse(w, http.StatusBadRequest, "DIGEST_INVALID", "provided digest did not match uploaded content")
			return
		}
	}
	d := s.AddManifest(repository, tag, r.Header.Get("Content-Type"), data)
	w.Header().Set("Docker-Content-Digest", string(d.Digest))
	w.Header().Set("Location", "/v2/"+repository+"/manifests/"+string(d.Digest))
	w.WriteHeader(http.StatusCreated)
}

// serveTags lists by pages: n at a time, from behind last.
func (s answers) serveTags(w http.ResponseWriter, r *http.Request, repository string) {
	s.mu.Lock()
	docs, ok := s.docs[repository]
	tags := []string{}
	for name := range docs {
		if !strings.Contains(name, ":") {
			tags = append(tags, name)
		}
	}
	s.mu.Unlock()
	if !ok {
		refuse(w, http.StatusNotFound, "NAME_UNKNOWN", "repository name not known to registry")
		return
	}
	slices.Sort(tags)
	if i, found := slices.BinarySearch(tags, r.URL.Query().Get("last")); found {
		tags = tags[i+1:]
	}
	if n, err := strconv.Atoi(r.URL.Query().Get("n")); err == nil && n > 0 && n < len(tags) {
		tags = tags[:n]
		w.Header().Set("Link", fmt.Sprintf(`</v2/%s/tags/list?last=%s&n=%d>; rel="next"`, repository, tags[n-1], n))
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"name": repository, "tags": tags})
}

func (s answers) serveSearch(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	found := slices.Clone(s.found)
	s.mu.Unlock()
	if found == nil {
		refuse(w, http.StatusNotFound, "", "404 page not found")
		return
	}
	term := r.URL.Query().Get("q")
	found = slices.DeleteFunc(found, func(f Found) bool { return !strings.Contains(f.Name, term) })
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"num_results": len(found), "results": found})
}
