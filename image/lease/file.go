package lease

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"berth/base/atomicfile"
	"berth/base/fault"

	"github.com/containerd/errdefs"
)

const (
	version  = 1
	maxFile  = 16 << 20 // bytes of one lease's file: some 100,000 resources
	maxID    = 1024
	maxLabel = 4096
	suffix   = ".json"
	hashed   = "h-"
)

// record is a lease's file. The expiry is a label for callers and a field here.
type record struct {
	Version   int               `json:"version"`
	ID        string            `json:"id"`
	Created   time.Time         `json:"created"`
	Expiry    string            `json:"expiry,omitempty"` // RFC 3339
	Owner     *Owner            `json:"owner,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"`
	Resources []Resource        `json:"resources"`
}

// fileOf is the file's name for an id: the id itself if it is an ordinary one.
func fileOf(id string) string {
	plain := id != "" && len(id) <= 200 && id[0] != '.' && !strings.HasPrefix(id, hashed)
	for i := range len(id) {
		c := id[i]
		plain = plain && (c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.IndexByte("-_.=+@:", c) >= 0)
	}
	if plain {
		return id + suffix
	}
	h := sha256.Sum256([]byte(id))
	return hashed + hex.EncodeToString(h[:]) + suffix
}

// parse reads a lease's file; file is its name on disk, which must be right
// for the id.
func parse(file string, b []byte) (record, error) {
	var r record
	first, rest, _ := bytes.Cut(b, newline)
	if err := json.Unmarshal(first, &r); err != nil {
		return record{}, fault.New(fault.Invalid, "%w", err)
	}
	if r.Version != version {
		return record{}, fault.New(fault.Unsupported, "version %d is not known", r.Version)
	}
	if fileOf(r.ID) != file {
		return record{}, fault.New(fault.Invalid, "it holds another lease, %.200q", r.ID)
	}
	if r.Expiry != "" {
		labels := maps.Clone(r.Labels)
		if labels == nil {
			labels = map[string]string{}
		}
		labels[ExpireLabel] = r.Expiry
		r.Labels, r.Expiry = labels, ""
	}
	if r.Version == version && len(rest) > 0 {
		r.Resources = distinct(append(r.Resources, added(rest)...))
	}
	if err := r.check(); err != nil {
		return record{}, err
	}
	return r, nil
}

// check refuses what may not be stored.
func (r record) check() error {
	bad := func(format string, args ...any) error {
		return fault.New(fault.Invalid, format+": %w", append(args, errdefs.ErrInvalidArgument)...)
	}
	if r.ID == "" || len(r.ID) > maxID {
		return bad("an id of %d bytes", len(r.ID))
	}
	for k, v := range r.Labels {
		if len(k)+len(v) > maxLabel {
			return bad("lease %.200q: label %.64q is longer than %d bytes", r.ID, k, maxLabel)
		}
	}
	if v, ok := r.Labels[ExpireLabel]; ok {
		if _, err := time.Parse(time.RFC3339, v); err != nil {
			return bad("lease %.200q: label %s is no time of RFC 3339: %.64q", r.ID, ExpireLabel, v)
		}
	}
	if o := r.Owner; o != nil && (o.PID <= 0 || o.Boot == "") {
		return bad("lease %.200q: an owner with pid %d", r.ID, o.PID)
	}
	for _, res := range r.Resources {
		if err := res.check(); err != nil {
			return fmt.Errorf("lease %.200q: %w", r.ID, err)
		}
	}
	return nil
}

// check refuses a resource that the collector would not understand.
func (r Resource) check() error {
	snapshotter, isSnapshot := strings.CutPrefix(r.Type, SnapshotType)
	known := r.Type == ContentType || r.Type == IngestType || r.Type == ImageType || isSnapshot && snapshotter != ""
	if !known || r.ID == "" || len(r.ID) > maxLabel {
		return fault.New(fault.Invalid, "resource of type %.64q with an id of %d bytes: %w", r.Type, len(r.ID), errdefs.ErrInvalidArgument)
	}
	return nil
}

// forEver reports whether only Delete ends the lease.
func (r record) forEver() bool {
	_, limited := r.Labels[ExpireLabel]
	return r.Owner == nil && !limited
}

func (r record) lease() Lease {
	return Lease{ID: r.ID, CreatedAt: r.Created, Labels: r.Labels, Owner: r.Owner}
}

func (s *Store) read(id string) (record, error) {
	file := fileOf(id)
	r, err := s.readFile(file)
	if fault.Is(err, fault.NotFound) {
		return record{}, notFound(id)
	}
	return r, err
}

func (s *Store) readFile(file string) (record, error) {
	path := filepath.Join(s.opts.Dir, file)
	b, err := atomicfile.ReadCapped(path, maxFile)
	if err != nil {
		return record{}, err
	}
	r, err := parse(file, b)
	if err != nil {
		return record{}, fmt.Errorf("lease %s: %w", path, err)
	}
	return r, nil
}

// write replaces a lease's file. Only a lease for ever is worth a sync: after a
// power cut every owner is gone, and what an expiry protects is fetched again.
func (s *Store) write(r record) error {
	durable := r.forEver()
	labels := maps.Clone(r.Labels)
	r.Expiry = labels[ExpireLabel]
	delete(labels, ExpireLabel)
	r.Labels = labels
	if r.Resources == nil {
		r.Resources = []Resource{}
	}
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if len(b) > maxFile {
		return fault.New(fault.Invalid, "it would take %d bytes: %w", len(b), errdefs.ErrInvalidArgument)
	}
	var opts []atomicfile.Option
	if durable {
		opts = append(opts, atomicfile.Sync)
	} else if len(b) < maxFile {
		b = append(b, newline...) // open for appendTo
	}
	return atomicfile.Write(s.path(r.ID), b, 0o600, opts...)
}

// Held is a lease with what it keeps.
type Held struct {
	Lease
	Resources []Resource
}

// Flat reports whether the lease keeps its resources alone.
func (h Held) Flat() bool { _, ok := h.Labels[FlatLabel]; return ok }

// Problem is a file among the leases that holds none.
type Problem struct {
	Path string
	Err  error
}

// Scan is List for the collector and for checks: with resources, and with the
// files that cannot be read, in no order. Staged files are none of them.
func (s *Store) Scan(ctx context.Context) ([]Held, []Problem, error) {
	entries, err := os.ReadDir(s.opts.Dir)
	if err != nil {
		return nil, nil, fmt.Errorf("list leases: %w", err)
	}
	var out []Held
	var problems []Problem
	for _, e := range entries {
		if atomicfile.IsStaged(e.Name()) {
			continue
		}
		r, err := s.readFile(e.Name())
		switch {
		case err == nil:
			out = append(out, Held{r.lease(), r.Resources})
		case !fault.Is(err, fault.NotFound): // or deleted while we listed
			problems = append(problems, Problem{filepath.Join(s.opts.Dir, e.Name()), err})
		}
	}
	return out, problems, ctx.Err()
}

// Strays removes staged files that a killed process left before limit, and the
// empty files that are what a power cut leaves of a lease, and reports how many.
func (s *Store) Strays(limit time.Time) (int, error) {
	entries, err := os.ReadDir(s.opts.Dir)
	if err != nil {
		return 0, fmt.Errorf("look for stray leases: %w", err)
	}
	n := 0
	for _, e := range entries {
		stat, err := e.Info()
		if err != nil || !stat.ModTime().Before(limit) {
			continue
		}
		if empty := stat.Mode().IsRegular() && stat.Size() == 0; !empty && !atomicfile.IsStaged(e.Name()) {
			continue
		}
		if os.Remove(filepath.Join(s.opts.Dir, e.Name())) == nil {
			n++
		}
	}
	return n, nil
}
