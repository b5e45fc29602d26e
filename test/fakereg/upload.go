package fakereg

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
)

// session is an upload under way.
type session struct {
	repository string
	data       bytes.Buffer
}

// serveUpload is POST, PATCH, PUT, GET and DELETE of blobs/uploads.
func (s answers) serveUpload(w http.ResponseWriter, r *http.Request, repository, id string) {
	if id == "" {
		s.beginUpload(w, r, repository)
		return
	}
	s.mu.Lock()
	u := s.uploads[id]
	s.mu.Unlock()
	if u == nil || u.repository != repository {
		refuse(w, http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
		return
	}
	switch r.Method {
	case http.MethodGet:
		at(w, repository, id, u, http.StatusNoContent)
	case http.MethodDelete:
		s.mu.Lock()
		delete(s.uploads, id)
		s.mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
	case http.MethodPatch:
		if from, ok := rangeStart(r); ok && from != int64(u.data.Len()) {
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return
		}
		had := u.data.Len()
		if _, err := io.Copy(&u.data, r.Body); err != nil {
			if s.NoPatch {
				u.data.Truncate(had)
			}
			return
		}
		at(w, repository, id, u, http.StatusAccepted)
	case http.MethodPut:
		s.endUpload(w, r, id, u)
	default:
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

func rangeStart(r *http.Request) (int64, bool) {
	first, _, ok := strings.Cut(r.Header.Get("Content-Range"), "-")
	n, err := strconv.ParseInt(first, 10, 64)
	return n, ok && err == nil
}

func at(w http.ResponseWriter, repository, id string, u *session, status int) {
	w.Header().Set("Location", "/v2/"+repository+"/blobs/uploads/"+id)
	w.Header().Set("Range", fmt.Sprintf("0-%d", max(u.data.Len()-1, 0)))
	w.WriteHeader(status)
}

func (s answers) beginUpload(w http.ResponseWriter, r *http.Request, repository string) {
	d, from := digest.Digest(r.URL.Query().Get("mount")), r.URL.Query().Get("from")
	s.mu.Lock()
	if d != "" && !s.NoMount && s.in[from][d] {
		s.keep(repository, d, s.blobs[d])
		s.mu.Unlock()
		w.Header().Set("Location", "/v2/"+repository+"/blobs/"+string(d))
		w.Header().Set("Docker-Content-Digest", string(d))
		w.WriteHeader(http.StatusCreated)
		return
	}
	s.counter++
	id := "u" + strconv.Itoa(s.counter)
	u := &session{repository: repository}
	s.uploads[id] = u
	s.mu.Unlock()
	at(w, repository, id, u, http.StatusAccepted)
}

func (s answers) endUpload(w http.ResponseWriter, r *http.Request, id string, u *session) {
	if _, err := io.Copy(&u.data, r.Body); err != nil {
		return
	}
	d := digest.Digest(r.URL.Query().Get("digest"))
	if d.Validate() != nil || d.Algorithm().FromBytes(u.data.Bytes()) != d {
		refuse(w, http.StatusBadRequest, "DIGEST_INVALID", "provided digest did not match uploaded content")
		return
	}
	s.mu.Lock()
	delete(s.uploads, id)
	s.keep(u.repository, d, blob{data: u.data.Bytes(), size: int64(u.data.Len())})
	s.mu.Unlock()
	w.Header().Set("Location", "/v2/"+u.repository+"/blobs/"+string(d))
	w.Header().Set("Docker-Content-Digest", string(d))
	w.WriteHeader(http.StatusCreated)
}

// Uploads is how many sessions nobody ended.
func (s *Server) Uploads() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.uploads)
}
