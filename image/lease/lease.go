// Package lease keeps the leases of the image store on plain files, one file a
// lease: why the collector must keep blobs, layers and half-written blobs that
// no name leads to. It does not look at what it keeps. Row 3, image room.
//
// The methods have the shape of containerd's leases.Manager, with types of our
// own, because containerd's package links gRPC, which berth must not (see package
// image/containerd).
//
//	DIR/ID.json      {version,id,created,expiry|owner{pid,start,boot},labels,resources[]}
//	                 and after it, a line each, arrays of resources added later
//	DIR/h-HASH.json  the same for an id that is no file name
//	LOCKS/leases/NN  held for one change of a lease whose id falls on NN
//	LOCKS/gc         shared while a lease is made or gets a resource
//
// How long a lease lasts:
//
//	owner   expiry
//	 –       –      until it is deleted; such a lease is made durable
//	 –       yes    until then
//	 yes     –      as long as the process lives
//	 yes     yes    as long as the process lives, but until then at least: a
//	                dead pull's lease keeps what it fetched for the next try
//
// Lease what you rely on before you look whether it is there: once AddResource
// has returned, a thing that is there stays. A collection that had seen too
// little waits for the lock or looks at the leases again under it (see gc).
//
// Order of locks: gc (shared), then leases/NN; one of them at a time.
//
// A file that cannot be what it should be is one lease that does not exist:
// lists skip it and tell Options.Bad.
package lease

import (
	"context"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"berth/base/atomicfile"
	"berth/base/fault"
	"berth/base/flock"
	"berth/base/ids"

	"github.com/containerd/containerd/v2/pkg/filters"
	"github.com/containerd/errdefs"
)

// ExpireLabel is containerd's label for a lease's expiry, a time of RFC 3339;
// FlatLabel says that a lease keeps its resources alone and not what they
// refer to.
const (
	ExpireLabel = "containerd.io/gc.expire"
	FlatLabel   = "containerd.io/gc.flat"
)

// Types of resources. A snapshot's type is SnapshotType + the snapshotter.
const (
	ContentType  = "content"
	IngestType   = "ingests"
	ImageType    = "images"
	SnapshotType = "snapshots/"
)

// Lease is one lease.
type Lease struct {
	ID        string
	CreatedAt time.Time
	Labels    map[string]string
	Owner     *Owner // nil: nobody's
}

// Resource is one thing that a lease keeps.
type Resource struct {
	ID   string `json:"id"`
	Type string `json:"type"`
}

// Opt changes a lease that is being made.
type Opt func(*Lease) error

// WithID gives the lease an id; without it, it gets a random one.
func WithID(id string) Opt { return func(l *Lease) error { l.ID = id; return nil } }

// WithLabels adds labels.
func WithLabels(labels map[string]string) Opt {
	return func(l *Lease) error {
		for k, v := range labels {
			l.set(k, v)
		}
		return nil
	}
}

// WithExpiration lets the lease last for d from now on (see the table above).
func WithExpiration(d time.Duration) Opt {
	return func(l *Lease) error {
		l.set(ExpireLabel, time.Now().Add(d).UTC().Format(time.RFC3339Nano))
		return nil
	}
}

// WithOwner makes this process the owner.
func WithOwner() Opt {
	return func(l *Lease) (err error) {
		l.Owner, err = Self()
		return err
	}
}

func (l *Lease) set(k, v string) {
	if l.Labels == nil {
		l.Labels = map[string]string{}
	}
	l.Labels[k] = v
}

// Expiry is when the lease ends by its label; ok is false if it has none.
func (l Lease) Expiry() (t time.Time, ok bool) {
	v, ok := l.Labels[ExpireLabel]
	if !ok {
		return time.Time{}, false
	}
	t, err := time.Parse(time.RFC3339, v)
	return t, err == nil
}

// Dead reports whether the lease keeps nothing any more at that moment: see
// the table above. An error means that it cannot be said; it counts as alive.
func (l Lease) Dead(now time.Time) (bool, error) {
	expiry, limited := l.Expiry()
	if limited && now.Before(expiry) {
		return false, nil
	}
	if l.Owner != nil {
		gone, err := l.Owner.Gone()
		return gone && err == nil, err
	}
	return limited, nil
}

// Options says where the leases are.
type Options struct {
	Dir   string // STORE/leases, made when it is missing
	Locks string // STORE/locks, made when it is missing
	// Bad is told of files that were skipped; it may be nil.
	Bad func(error)
}

// Store is the leases of one image store. All its truth is on disk.
type Store struct {
	opts Options
	made sync.Map // ids of leases that were made here: see appendTo
}

// lockCount is how many lock files the leases share. They are made once and
// stay: what frees space must not need any.
const lockCount = 16

// Open makes the folders of the store if they are missing.
func Open(o Options) (*Store, error) {
	for _, dir := range []string{o.Dir, filepath.Join(o.Locks, "leases")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("open leases: %w", err)
		}
	}
	s := &Store{opts: o}
	if _, err := os.Lstat(s.lockPath(lockCount - 1)); err == nil {
		return s, nil
	}
	paths := []string{filepath.Join(o.Locks, "gc")}
	for n := range lockCount {
		paths = append(paths, s.lockPath(n))
	}
	if err := flock.Make(paths...); err != nil {
		return nil, fmt.Errorf("open leases: %w", err)
	}
	return s, nil
}

func (s *Store) lockPath(n int) string {
	return filepath.Join(s.opts.Locks, "leases", fmt.Sprintf("%02d", n))
}

func (s *Store) path(id string) string { return filepath.Join(s.opts.Dir, fileOf(id)) }

// lock takes the lock of one lease.
func (s *Store) lock(id string) (*flock.Held, error) {
	h := fnv.New32a()
	h.Write([]byte(id))
	return flock.Lock(s.lockPath(int(h.Sum32() % lockCount)))
}

// guard holds the collector's lock shared: see gc.
func (s *Store) guard() (*flock.Held, error) {
	return flock.Shared(filepath.Join(s.opts.Locks, "gc"))
}

func (s *Store) bad(err error) {
	if s.opts.Bad != nil {
		s.opts.Bad(err)
	}
}

func notFound(id string) error {
	return fault.New(fault.NotFound, "lease %.200q: %w", id, errdefs.ErrNotFound)
}

func exists(id string) error {
	return fault.New(fault.Exists, "lease %.200q: %w", id, errdefs.ErrAlreadyExists)
}

// Create makes a lease: errdefs.ErrAlreadyExists if its id is taken.
func (s *Store) Create(ctx context.Context, opts ...Opt) (Lease, error) {
	var l Lease
	for _, o := range opts {
		if err := o(&l); err != nil {
			return Lease{}, fmt.Errorf("create lease: %w", err)
		}
	}
	if l.ID == "" {
		l.ID = ids.Hex(12)
	}
	l.CreatedAt = time.Now().UTC()
	r := record{Version: version, ID: l.ID, Created: l.CreatedAt, Labels: l.Labels, Owner: l.Owner}
	if err := r.check(); err != nil {
		return Lease{}, fmt.Errorf("create lease: %w", err)
	}
	gc, err := s.guard()
	if err != nil {
		return Lease{}, err
	}
	defer gc.Unlock()
	lock, err := s.lock(l.ID)
	if err != nil {
		return Lease{}, err
	}
	defer lock.Unlock()
	if _, err := s.read(l.ID); !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Invalid) {
		if err == nil {
			return Lease{}, exists(l.ID)
		}
		return Lease{}, err
	}
	if err := s.write(r); err != nil {
		return Lease{}, fmt.Errorf("create lease %.200q: %w", l.ID, err)
	}
	s.made.Store(l.ID, nil)
	return l, nil
}

// Get reads one lease: errdefs.ErrNotFound if it is not there.
func (s *Store) Get(ctx context.Context, id string) (Lease, error) {
	r, err := s.read(id)
	return r.lease(), err
}

// Delete removes a lease and so gives up what it kept. What nobody else keeps
// goes with the next collection.
func (s *Store) Delete(ctx context.Context, l Lease) error {
	s.made.Delete(l.ID)
	lock, err := s.lock(l.ID)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	r, err := s.read(l.ID)
	if fault.Is(err, fault.NotFound) {
		return err
	}
	if err := s.unlink(l.ID); err != nil {
		return err
	}
	if err == nil && r.forEver() { // it must not come back after a power cut
		return atomicfile.SyncDir(s.opts.Dir)
	}
	return nil
}

func (s *Store) unlink(id string) error {
	err := os.Remove(s.path(id))
	if os.IsNotExist(err) {
		return notFound(id)
	}
	if err != nil {
		return fmt.Errorf("delete lease %.200q: %w", id, err)
	}
	return nil
}

// DeleteDead removes a lease if it is still dead once its lock is held, and
// reports whether it did.
func (s *Store) DeleteDead(ctx context.Context, id string, now time.Time) (bool, error) {
	lock, err := s.lock(id)
	if err != nil {
		return false, err
	}
	defer lock.Unlock()
	r, err := s.read(id)
	if err != nil {
		return false, err
	}
	if dead, err := r.lease().Dead(now); !dead || err != nil {
		return false, err
	}
	return true, s.unlink(id)
}

// List lists the leases that a filter matches (id, labels.KEY), all without
// one, dead ones too, sorted by id.
func (s *Store) List(ctx context.Context, fs ...string) ([]Lease, error) {
	filter, err := filters.ParseAll(fs...)
	if err != nil {
		return nil, fault.New(fault.Invalid, "list leases: %w: %w", err, errdefs.ErrInvalidArgument)
	}
	all, problems, err := s.Scan(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range problems {
		s.bad(p.Err)
	}
	var out []Lease
	for _, l := range all {
		if filter.Match(adapt(l.Lease)) {
			out = append(out, l.Lease)
		}
	}
	slices.SortFunc(out, func(a, b Lease) int { return strings.Compare(a.ID, b.ID) })
	return out, nil
}

func adapt(l Lease) filters.Adaptor {
	return filters.AdapterFunc(func(path []string) (string, bool) {
		if len(path) == 1 && path[0] == "id" {
			return l.ID, true
		}
		if len(path) > 1 && path[0] == "labels" {
			v, ok := l.Labels[strings.Join(path[1:], ".")]
			return v, ok
		}
		return "", false
	})
}

// AddResource lets a lease keep one thing more, which need not exist yet.
func (s *Store) AddResource(ctx context.Context, l Lease, r Resource) error {
	return s.AddResources(ctx, l, r)
}

// AddResources is AddResource for several at the price of one.
func (s *Store) AddResources(ctx context.Context, l Lease, rs ...Resource) error {
	for _, r := range rs {
		if err := r.check(); err != nil {
			return fmt.Errorf("lease %.200q: %w", l.ID, err)
		}
	}
	if len(rs) == 0 {
		_, err := s.read(l.ID)
		return err
	}
	gc, err := s.guard()
	if err != nil {
		return err
	}
	defer gc.Unlock()
	lock, err := s.lock(l.ID)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	if done, err := s.appendTo(l.ID, rs); done || err != nil {
		return err
	}
	rec, err := s.read(l.ID)
	if err != nil {
		return err
	}
	rec.Resources = distinct(append(rec.Resources, rs...))
	if err := s.write(rec); err != nil {
		return fmt.Errorf("change lease %.200q: %w", l.ID, err)
	}
	return nil
}

// DeleteResource lets a lease give up one thing; no error if it had it not.
func (s *Store) DeleteResource(ctx context.Context, l Lease, r Resource) error {
	if err := r.check(); err != nil {
		return fmt.Errorf("lease %.200q: %w", l.ID, err)
	}
	return s.change(l.ID, func(rec *record) bool {
		n := len(rec.Resources)
		rec.Resources = slices.DeleteFunc(rec.Resources, func(have Resource) bool { return have == r })
		return len(rec.Resources) < n
	})
}

// change rewrites a lease under its lock if do says that it changed it.
func (s *Store) change(id string, do func(*record) bool) error {
	lock, err := s.lock(id)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	rec, err := s.read(id)
	if err != nil {
		return err
	}
	if !do(&rec) {
		return nil
	}
	if err := s.write(rec); err != nil {
		return fmt.Errorf("change lease %.200q: %w", id, err)
	}
	return nil
}

// ListResources lists what a lease keeps.
func (s *Store) ListResources(ctx context.Context, l Lease) ([]Resource, error) {
	rec, err := s.read(l.ID)
	return rec.Resources, err
}
