// Package gc removes from the image store what nothing leads to any more, and
// checks the store. It decides by reachability alone; who wanted an image and
// which verb runs it is not its business. Row 3, image room.
//
// Roots are the names, the leases that are not dead, and what carries the
// label containerd.io/gc.root (or containerd.io/gc.expire until then). From a
// blob it goes on along containerd's labels gc.ref.content.* and
// gc.ref.snapshot.berth; a document without such labels (index, manifest,
// config, at most 4 MiB) is parsed: its children are kept, and a config keeps
// the snapshot of its chain id. A snapshot keeps its parents and what its
// labels name. (Back references, gc.bref.*, and conditions are not read.)
//
//	names, leases, gc.root ─► index ─► manifest ─► config ─► snapshot ─► parents
//	                                      └──────► layer blobs
//
// # The rule of locks
//
// The lock LOCKS/gc is held shared, for moments, by whoever makes a blob, its
// labels, a name, or gives a lease a resource. A sweep holds it exclusively:
//
//	mark, no lock held:  list all blobs and snapshots, follow all roots
//	exclusive:           names and leases again, and labels written since: what
//	                     they lead to is kept, too
//	                     remove what was listed, is not marked, and was made
//	                     before the mark began
//	                     after 50 ms give the lock away and begin again here
//	no lock held:        unlink the folders of the snapshots that were removed
//
// So whoever leases a thing first and then looks whether it is there can rely
// on what he sees, and what is made during a collection stays. Under the lock
// it takes those of the stores, one at a time, and none while it waits for it.
//
// Nothing here makes a file, so that it works on a full disk. A file that
// cannot be read is one bad object: the digests that can still be seen in it
// are kept, and the rest is collected. But if a name or lease exists that this
// program cannot read for want of rights, an I/O error or a newer version,
// nothing is removed.
package gc

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"berth/base/fault"
	"berth/base/flock"
	"berth/image/content"
	"berth/image/lease"
	"berth/image/names"
	"berth/image/snapshot"
)

// Snapshots is what a collection needs of the layers. One that has Cleanup, too,
// is cleaned at the end, outside the lock.
type Snapshots interface {
	Walk(ctx context.Context, fn snapshot.WalkFunc, filters ...string) error
	Usage(ctx context.Context, key string) (snapshot.Usage, error)
	Remove(ctx context.Context, key string) error
}

// detacher is a Snapshots that removes in two steps, so that no one waits for
// the unlinking of a big tree: Detach makes the snapshot not be there any more,
// and free, called without the lock, gives its space back. If it is not called
// Cleanup does that.
type detacher interface {
	Detach(ctx context.Context, key string) (free func() error, err error)
}

// Snapshotter is the name in labels and lease resources.
const Snapshotter = "berth"

// Collector collects and checks one image store.
type Collector struct {
	Content   *content.Store
	Names     *names.Store
	Leases    *lease.Store
	Snapshots Snapshots // nil: none
	Locks     string    // STORE/locks
	// Quarantine is a folder on the store's file system for what Check takes
	// out of it; it is made when it is needed.
	Quarantine string
}

// Options changes a collection.
type Options struct {
	// DryRun finds out what would go and removes nothing.
	DryRun bool
	// KeepIngests is for how long a half-written blob without a lease stays
	// after its last byte; 0 means a day.
	KeepIngests time.Duration
}

// The kinds of what is freed.
const (
	BlobKind     = "blob"
	SnapshotKind = "snapshot"
	IngestKind   = "ingest"
	LeaseKind    = "lease"
	NameKind     = "name"
	DebrisKind   = "debris"
)

// Freed is one thing that went, or would.
type Freed struct {
	Kind  string
	ID    string
	Bytes int64
}

// Result is what a collection did.
type Result struct {
	Freed []Freed
	Bytes int64 // the sum
	// Problems are objects that could not be read or removed; the collection
	// went on without them.
	Problems []error
}

func (r *Result) freed(kind, id string, bytes int64) {
	r.Freed = append(r.Freed, Freed{kind, id, bytes})
	r.Bytes += bytes
}

// slice is for how long a sweep holds the lock, but for its last removal.
const slice = 50 * time.Millisecond

// Collect marks and sweeps. The error says what kept it from collecting at
// all, or that a removal failed (the result then has the rest).
func (c *Collector) Collect(ctx context.Context, o Options) (Result, error) {
	if o.KeepIngests == 0 {
		o.KeepIngests = 24 * time.Hour
	}
	m, err := c.mark(ctx)
	if err != nil {
		return Result{}, fmt.Errorf("collect garbage: %w", err)
	}
	s := &sweep{marker: m, opts: o}
	if err := s.plan(ctx); err != nil {
		return Result{}, fmt.Errorf("collect garbage: %w", err)
	}
	if o.DryRun {
		for _, j := range s.jobs {
			s.result.freed(j.kind, j.id, j.bytes)
		}
		s.result.Problems = m.problems
		return s.result, nil
	}
	var failed error
	for len(s.jobs) > 0 && failed == nil {
		failed = s.turn(ctx)
	}
	s.result.Problems = append(m.problems, s.result.Problems...)
	hour := m.start.Add(-time.Hour)
	for _, strays := range []func(time.Time) (int, error){c.Names.Strays, c.Leases.Strays} {
		if _, err := strays(hour); err != nil {
			s.failures = append(s.failures, err)
		}
	}
	if err := c.Content.StrayLocks(); err != nil {
		s.failures = append(s.failures, err)
	}
	if cleaner, ok := c.Snapshots.(interface{ Cleanup(context.Context) error }); ok && failed == nil {
		if err := cleaner.Cleanup(ctx); err != nil {
			s.failures = append(s.failures, err)
		}
	}
	if err := errors.Join(append(s.failures, failed)...); err != nil {
		return s.result, fmt.Errorf("collect garbage: %w", err)
	}
	return s.result, nil
}

// exclusive waits for the lock until the context ends.
func (c *Collector) exclusive(ctx context.Context) (*flock.Held, error) {
	type outcome struct {
		lock *flock.Held
		err  error
	}
	got := make(chan outcome, 1)
	go func() {
		l, err := flock.Lock(filepath.Join(c.Locks, "gc"))
		got <- outcome{l, err}
	}()
	select {
	case o := <-got:
		return o.lock, o.err
	case <-ctx.Done():
		go func() { // the wait itself cannot be broken off
			if o := <-got; o.lock != nil {
				_ = o.lock.Unlock()
			}
		}()
		return nil, fault.New(fault.Busy, "wait for writers of the store: %w", ctx.Err())
	}
}
