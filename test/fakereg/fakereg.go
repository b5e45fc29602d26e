// Package fakereg is a registry for tests that lies, breaks and stalls on
// request, and that counts what it sent and got. It is an http.Handler over
// what tests add, push or lay out as an OCI layout; it is not a good registry
// (that is Debian's docker-registry) and keeps everything in memory. No part of
// the programs.
package fakereg

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	// The digests that it knows.
	_ "crypto/sha256"
	_ "crypto/sha512"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Server is safe for concurrent use. Make one with New.
type Server struct {
	mu       sync.Mutex
	blobs    map[digest.Digest]blob
	in       map[string]map[digest.Digest]bool // which repository has which blob
	docs     map[string]map[string]document    // repository, then tag or digest
	uploads  map[string]*session
	found    []Found
	faults   []*Fault
	requests []Request
	auth     auth
	counter  int
	active   int // requests being answered

	// NoMount makes it answer a mount with an ordinary upload, NoRange serve
	// whole blobs only, NoHead refuse HEAD, NoPatch forget what a broken PATCH
	// brought. Set them before the first request.
	NoMount, NoRange, NoHead, NoPatch bool
}

// blob is bytes in memory or a file.
type blob struct {
	data []byte
	file string
	size int64
}

func (b blob) open() (io.ReadSeekCloser, error) {
	if b.file != "" {
		return os.Open(b.file)
	}
	return struct {
		io.ReadSeeker
		io.Closer
	}{bytes.NewReader(b.data), io.NopCloser(nil)}, nil
}

// document is a manifest or index.
type document struct {
	media string
	data  []byte
}

// Found is one line of the search endpoint.
type Found struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Stars       int    `json:"star_count"`
	Official    bool   `json:"is_official"`
	Automated   bool   `json:"is_automated"`
}

// New is an empty registry that lets everybody do everything.
func New() *Server {
	return &Server{
		blobs:   map[digest.Digest]blob{},
		in:      map[string]map[digest.Digest]bool{},
		docs:    map[string]map[string]document{},
		uploads: map[string]*session{},
	}
}

// AddBlob puts bytes into a repository.
func (s *Server) AddBlob(repository string, data []byte) v1.Descriptor {
	d := digest.FromBytes(data)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keep(repository, d, blob{data: data, size: int64(len(data))})
	return v1.Descriptor{MediaType: "application/octet-stream", Digest: d, Size: int64(len(data))}
}

// AddFile puts a file's bytes, which are known to have this digest, into a
// repository. They stay in the file.
func (s *Server) AddFile(repository, file string, d digest.Digest) (v1.Descriptor, error) {
	info, err := os.Stat(file)
	if err != nil {
		return v1.Descriptor{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keep(repository, d, blob{file: file, size: info.Size()})
	return v1.Descriptor{MediaType: v1.MediaTypeImageLayerGzip, Digest: d, Size: info.Size()}, nil
}

// keep needs the lock.
func (s *Server) keep(repository string, d digest.Digest, b blob) {
	s.blobs[d] = b
	if s.in[repository] == nil {
		s.in[repository] = map[digest.Digest]bool{}
	}
	s.in[repository][d] = true
}

// AddManifest puts a manifest or index into a repository, under its digest and
// under tag if that is not "".
func (s *Server) AddManifest(repository, tag, media string, data []byte) v1.Descriptor {
	d := digest.FromBytes(data)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keepDocument(repository, string(d), document{media, data})
	if tag != "" {
		s.keepDocument(repository, tag, document{media, data})
	}
	return v1.Descriptor{MediaType: media, Digest: d, Size: int64(len(data))}
}

func (s *Server) keepDocument(repository, name string, doc document) {
	if s.docs[repository] == nil {
		s.docs[repository] = map[string]document{}
	}
	s.docs[repository][name] = doc
}

// Image is what AddImage made.
type Image struct {
	Manifest, Config v1.Descriptor
	Layers           []v1.Descriptor
	// Raw is the manifest as it stands.
	Raw []byte
}

// AddImage puts an OCI image for linux/amd64 into a repository. The layers
// are the bytes as they travel; media is their media type, "" for tar+gzip.
func (s *Server) AddImage(repository, tag, media string, config v1.Image, layers ...[]byte) Image {
	if media == "" {
		media = v1.MediaTypeImageLayerGzip
	}
	var all []v1.Descriptor
	for _, l := range layers {
		d := s.AddBlob(repository, l)
		d.MediaType = media
		all = append(all, d)
	}
	return s.AddImageOf(repository, tag, config, all...)
}

// AddImageOf is AddImage with layers that the repository has.
func (s *Server) AddImageOf(repository, tag string, config v1.Image, layers ...v1.Descriptor) Image {
	if config.Architecture == "" {
		config.Platform = v1.Platform{OS: "linux", Architecture: "amd64"}
	}
	img := Image{Layers: layers}
	img.Config = s.AddBlob(repository, must(json.Marshal(config)))
	img.Config.MediaType = v1.MediaTypeImageConfig
	img.Raw = must(json.Marshal(v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: v1.MediaTypeImageManifest, Config: img.Config, Layers: img.Layers,
	}))
	img.Manifest = s.AddManifest(repository, tag, v1.MediaTypeImageManifest, img.Raw)
	return img
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

// LoadLayout serves an OCI layout's images below a repository, under the tags
// that its index names. Its blobs stay in their files.
func (s *Server) LoadLayout(dir, repository string) error {
	raw, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		return err
	}
	var index v1.Index
	if err := json.Unmarshal(raw, &index); err != nil {
		return fmt.Errorf("read %s/index.json: %w", dir, err)
	}
	entries, err := filepath.Glob(filepath.Join(dir, "blobs", "*", "*"))
	if err != nil {
		return err
	}
	for _, file := range entries {
		info, err := os.Stat(file)
		if err != nil {
			return err
		}
		d := digest.NewDigestFromEncoded(digest.Algorithm(filepath.Base(filepath.Dir(file))), filepath.Base(file))
		s.mu.Lock()
		s.keep(repository, d, blob{file: file, size: info.Size()})
		s.mu.Unlock()
	}
	for _, m := range index.Manifests {
		if err := loadDocument(s, dir, repository, m.Annotations[v1.AnnotationRefName], m); err != nil {
			return err
		}
	}
	return nil
}

func loadDocument(s *Server, dir, repository, tag string, m v1.Descriptor) error {
	data, err := os.ReadFile(filepath.Join(dir, "blobs", m.Digest.Algorithm().String(), m.Digest.Encoded()))
	if err != nil {
		return err
	}
	if i := strings.LastIndexByte(tag, ':'); i >= 0 {
		tag = tag[i+1:]
	}
	s.AddManifest(repository, tag, m.MediaType, data)
	var in v1.Index
	if json.Unmarshal(data, &in) == nil {
		for _, below := range in.Manifests {
			if err := loadDocument(s, dir, repository, "", below); err != nil {
				return err
			}
		}
	}
	return nil
}

// Blob gives the bytes that a repository has under a digest, nil if none.
func (s *Server) Blob(repository string, d digest.Digest) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.in[repository][d] {
		return nil
	}
	return s.blobs[d].data
}

// Manifest gives what a tag or digest names, nil if nothing.
func (s *Server) Manifest(repository, name string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.docs[repository][name].data
}

// Remove forgets a tag, a manifest's digest or a blob of a repository.
func (s *Server) Remove(repository, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.docs[repository], name)
	delete(s.in[repository], digest.Digest(name))
}

// AddFound lets the search endpoint exist and find these, by name.
func (s *Server) AddFound(found ...Found) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.found = append(s.found, found...)
}

// Request is one request as it was answered.
type Request struct {
	Method, Path  string
	Query         string
	Range         string
	Proto         string // "HTTP/1.1", "HTTP/2.0"
	Authorization string
	Header        http.Header
	Status        int
	Sent          int64 // bytes of the answer's body
	Received      int64 // bytes of the request's body
}

// Requests gives all that was answered so far, in the order of the answers. A
// client may have its last byte before the answer is over, so it waits a little
// for what is still being answered.
func (s *Server) Requests() []Request {
	for range 1000 {
		s.mu.Lock()
		busy := s.active > 0
		s.mu.Unlock()
		if !busy {
			break
		}
		time.Sleep(time.Millisecond)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Forget empties the record of requests.
func (s *Server) Forget() {
	s.Requests() // what is under way belongs to the past too
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = nil
}

// Count counts requests of a method ("" any) whose path contains part.
func (s *Server) Count(method, part string) (n int) {
	for _, r := range s.Requests() {
		if (method == "" || r.Method == method) && strings.Contains(r.Path, part) {
			n++
		}
	}
	return n
}

// BytesSent is how many bytes of bodies went out for paths that contain part
// (a digest, "/blobs/"), BytesReceived how many came in.
func (s *Server) BytesSent(part string) (n int64) {
	for _, r := range s.Requests() {
		if strings.Contains(r.Path, part) {
			n += r.Sent
		}
	}
	return n
}

// BytesReceived is BytesSent the other way.
func (s *Server) BytesReceived(part string) (n int64) {
	for _, r := range s.Requests() {
		if strings.Contains(r.Path, part) {
			n += r.Received
		}
	}
	return n
}
