// Package library is one store of images as its verbs see it: the names, the
// documents, the layers and what a verb relies on while it works. It ties
// content, names, lease, snapshot, unpack and gc together and decides nothing:
// what a name may look like, where parts come from and what users read is the
// door's business. Row 3 (image).
//
//	STORE/content    blobs by digest              (content)
//	STORE/snapshots  layers by chain id           (snapshot)
//	STORE/names      name -> manifest or index    (names)
//	STORE/leases     what verbs under way keep    (lease)
//	STORE/images     a summary of each target     (here; can be made again)
//	STORE/index      both, as a list last read them (here; can be made again)
//	STORE/locks      flock files of all these
//
// A verb's order, which every crash leaves whole: hold a lease, keep in it what
// is looked for or made, bring blobs and layers, Sync once, Name, release.
package library

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"berth/base/fault"
	imagecontent "berth/image/content"
	"berth/image/gc"
	"berth/image/lease"
	"berth/image/names"
	"berth/image/snapshot"
	"berth/image/unpack"
)

// Library is one store. It holds no state but open descriptors.
type Library struct {
	Content *imagecontent.Store
	Layers  *snapshot.Overlay
	Names   *names.Store
	Leases  *lease.Store

	root string
	warn func(error)
}

// leaseLife is how long an interrupted pull can go on where it was.
const leaseLife = 24 * time.Hour

// Labels of leases: the verb, and the name that a pull is to give.
const (
	verbLabel = "berth.verb"
	pullLabel = "berth.pull"
)

// Open opens the store below root and makes its folders if they are missing.
// warn is told of what was skipped because it is broken.
func Open(root string, warn func(error)) (*Library, error) {
	l := &Library{root: root, warn: warn}
	locks := l.Path("locks")
	if err := os.MkdirAll(l.Path("images"), 0o700); err != nil {
		return nil, fmt.Errorf("open image store: %w", err)
	}
	var err error
	if l.Content, err = imagecontent.Open(imagecontent.Options{Dir: l.Path("content"), Locks: locks, Deferred: true, Bad: warn}); err != nil {
		return nil, err
	}
	if l.Layers, err = snapshot.Open(root, snapshot.LaterSync(), snapshot.Report(warn)); err != nil {
		return nil, err
	}
	if l.Names, err = names.Open(names.Options{Dir: l.Path("names"), Locks: locks, Bad: warn}); err != nil {
		return nil, err
	}
	l.Leases, err = lease.Open(lease.Options{Dir: l.Path("leases"), Locks: locks, Bad: warn})
	return l, err
}

// Close gives back what Open took.
func (l *Library) Close() error { return l.Content.Close() }

// Path is a path below the store's folder.
func (l *Library) Path(elem ...string) string {
	return filepath.Join(append([]string{l.root}, elem...)...)
}

// Collector collects and checks this store.
func (l *Library) Collector() *gc.Collector {
	return &gc.Collector{Content: l.Content, Names: l.Names, Leases: l.Leases, Snapshots: l.Layers,
		Locks: l.Path("locks"), Quarantine: l.Path("quarantine")}
}

// Collect frees what nothing leads to. It names the layers that went and says
// how many bytes that gave back.
func (l *Library) Collect(ctx context.Context) (layers map[string]bool, freed int64, err error) {
	res, err := l.Collector().Collect(ctx, gc.Options{})
	for _, p := range res.Problems {
		l.warn(p)
	}
	layers = map[string]bool{}
	for _, f := range res.Freed {
		switch f.Kind {
		case gc.SnapshotKind:
			layers[f.ID] = true
		case gc.BlobKind: // a target, maybe, whose rmi was killed
			RemoveSummary(l.SummaryPath(digest.Digest(f.ID)))
		}
	}
	return layers, res.Bytes, err
}

// Held is the lease of one verb: what the verb makes or relies on belongs to it
// until everything is named.
type Held struct {
	l  *Library
	id string
	// worker unpacks for the whole verb; it is started by the first layer.
	worker  func() (*unpack.Worker, error)
	started *unpack.Worker
	owners  *Owners  // whose the layers' files are; nil: as the layers say
	tops    []string // uppermost layers of the images unpacked, for Sync
}

// Hold makes a lease that lasts as long as this process.
func (l *Library) Hold(ctx context.Context, verb string) (*Held, error) {
	return hold(ctx, l, lease.WithLabels(map[string]string{verbLabel: verb}))
}

// HoldPull makes the lease of a pull of name. It lasts for a day at least, so
// that an interrupted pull can go on where it was.
func HoldPull(ctx context.Context, l *Library, name string) (*Held, error) {
	return hold(ctx, l, lease.WithExpiration(leaseLife), lease.WithLabels(map[string]string{verbLabel: "pull", pullLabel: name}))
}

func hold(ctx context.Context, l *Library, opts ...lease.Opt) (*Held, error) {
	made, err := l.Leases.Create(ctx, append(opts, lease.WithOwner())...)
	if err != nil {
		return nil, err
	}
	h := &Held{l: l, id: made.ID}
	h.worker = sync.OnceValues(func() (*unpack.Worker, error) {
		var err error
		o := unpack.Options{UserXattr: ofUser(l)}
		if h.owners != nil {
			o.UIDMap, o.GIDMap = h.owners.UIDs, h.owners.GIDs
		}
		h.started, err = unpack.Start(ctx, o)
		if err == nil && h.started.OneID() && h.owners == nil {
			err = noteOneID(l)
		}
		return h.started, err
	})
	return h, nil
}

// ofUser reports whether the store is an ordinary user's: whose overlay mounts have their
// marks in user xattrs, and of whose layers there may be copies for other owners.
func ofUser(l *Library) bool { return l.Layers.OpaqueXattr() == "user.overlay.opaque" }

// EndPulls gives back the leases of interrupted pulls of the names that fit:
// nothing of theirs is to be gone on with. A lease that stays by an error is
// only told of, for its day ends too.
func EndPulls(ctx context.Context, l *Library, fits func(name string) bool) {
	all, err := l.Leases.List(ctx)
	if err != nil {
		l.warn(err)
		return
	}
	for _, one := range all {
		name, pull := one.Labels[pullLabel]
		if !pull || one.Owner == nil || !fits(name) {
			continue
		}
		// As if the day were over: then the owner alone counts.
		if _, err := l.Leases.DeleteDead(ctx, one.ID, time.Now().Add(2*leaseLife)); err != nil && !fault.Is(err, fault.NotFound) {
			l.warn(err)
		}
	}
}

// End stops the worker. The lease stays, with all that it keeps.
func (h *Held) End() {
	if h.started != nil {
		if err := h.started.Close(); err != nil {
			h.l.warn(err)
		}
		h.started = nil
	}
}

// Release ends the verb and gives the lease back; what was not named is garbage
// from then on.
func (h *Held) Release(ctx context.Context) error {
	h.End()
	return h.l.Leases.Delete(context.WithoutCancel(ctx), lease.Lease{ID: h.id})
}

// Keep adds things of one type: before they are looked for or made.
func (h *Held) Keep(ctx context.Context, kind string, ids ...string) error {
	all := make([]lease.Resource, len(ids))
	for i, id := range ids {
		all[i] = lease.Resource{ID: id, Type: kind}
	}
	return h.l.Leases.AddResources(ctx, lease.Lease{ID: h.id}, all...)
}

// LayerType is a layer in a lease.
const LayerType = lease.SnapshotType + snapshot.Name

// ID is the lease's id: unique, and good for names of ingests.
func (h *Held) ID() string { return h.id }
