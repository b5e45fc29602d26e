package gc

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"berth/base/fault"
	"berth/image/content"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
)

// job is one thing to be removed.
type job struct {
	kind  string
	id    string
	bytes int64
}

// sweep removes what a marker did not mark.
type sweep struct {
	*marker
	opts     Options
	jobs     []job
	result   Result
	failures []error
	frees    []func() error // of snapshots removed in this turn: their trees
}

// plan lists what is to go, in the order in which it may: a child before its
// parent, and what keeps others before what was kept.
func (s *sweep) plan(ctx context.Context) error {
	for _, l := range s.leases {
		if !s.kept(LeaseKind, l.ID) {
			s.jobs = append(s.jobs, job{LeaseKind, l.ID, 0})
		}
	}
	for name := range s.images {
		if !s.kept(NameKind, name) {
			s.jobs = append(s.jobs, job{NameKind, name, 0})
		}
	}
	referring, plain := s.planBlobs()
	s.jobs = append(s.jobs, referring...)
	if err := s.planSnapshots(ctx); err != nil {
		return err
	}
	if err := s.planIngests(ctx); err != nil {
		return err
	}
	s.jobs = append(s.jobs, plain...)
	return s.planDebris()
}

// planBlobs gives the blobs that refer to other things, each after those that
// refer to it, and the others. So whoever keeps a target between two turns and
// finds it, has it whole.
func (s *sweep) planBlobs() (referring, plain []job) {
	below := map[digest.Digest][]digest.Digest{}
	for d, b := range s.blobs {
		if s.kept(BlobKind, string(d)) || !s.old(b.CreatedAt) {
			continue
		}
		refers := false
		for k, v := range b.Labels {
			if isRef(k, contentRef) {
				below[d] = append(below[d], digest.Digest(v))
			}
			refers = refers || isRef(k, contentRef) || strings.HasPrefix(k, snapshotRefs)
		}
		j := job{BlobKind, string(d), b.Size}
		if refers {
			referring = append(referring, j)
		} else {
			plain = append(plain, j)
		}
	}
	height := map[digest.Digest]int{}
	var measure func(d digest.Digest) int
	measure = func(d digest.Digest) int {
		if h, ok := height[d]; ok {
			return h
		}
		height[d] = 0 // a ring ends here
		h := 0
		for _, child := range below[d] {
			h = max(h, 1+measure(child))
		}
		height[d] = h
		return h
	}
	slices.SortFunc(referring, func(a, b job) int {
		return cmp.Or(cmp.Compare(measure(digest.Digest(b.id)), measure(digest.Digest(a.id))), cmp.Compare(a.id, b.id))
	})
	return referring, plain
}

// old reports whether a thing was made before the mark began. A time an hour
// and more after that is a clock's that was wrong: such a thing is old, too.
func (s *sweep) old(made time.Time) bool {
	return made.Before(s.start) || made.After(s.start.Add(time.Hour))
}

func (s *sweep) planSnapshots(ctx context.Context) error {
	depth := map[string]int{}
	var doomed []string
	for key, i := range s.layers {
		if s.kept(SnapshotKind, key) || !s.old(i.Created) {
			continue
		}
		doomed = append(doomed, key)
		for at, n := key, 0; at != "" && n < len(s.layers); at, n = s.layers[at].Parent, n+1 {
			depth[key] = n
		}
	}
	slices.SortFunc(doomed, func(a, b string) int {
		return cmp.Or(cmp.Compare(depth[b], depth[a]), cmp.Compare(a, b))
	})
	for _, key := range doomed {
		u, err := s.Snapshots.Usage(ctx, key)
		if err != nil && !fault.Is(err, fault.NotFound) && !errdefs.IsNotFound(err) {
			s.result.Problems = append(s.result.Problems, fmt.Errorf("count snapshot %s: %w", key, err))
		}
		s.jobs = append(s.jobs, job{SnapshotKind, key, u.Size})
	}
	return nil
}

func (s *sweep) planIngests(ctx context.Context) error {
	all, err := s.Content.Ingests(ctx)
	if err != nil {
		return err
	}
	leased := map[string]bool{}
	for n := range s.marked {
		if n.kind == IngestKind {
			leased[content.IngestID(n.id)] = true
		}
	}
	for _, in := range all {
		_, here := s.blobs[in.Status.Expected]
		stale := s.start.Sub(in.Last).Abs() > s.opts.KeepIngests
		// One that is broken is no use to anyone; a minute is for the one who
		// is just making it.
		broken := in.Broken != nil && s.start.Sub(in.Last) > time.Minute
		if broken || !leased[in.ID] && stale || here && in.Status.Expected != "" {
			s.jobs = append(s.jobs, job{IngestKind, in.ID, in.Bytes})
		}
	}
	return nil
}

// planDebris finds what killed processes left beside the objects.
func (s *sweep) planDebris() error {
	orphans, err := s.Content.OrphanLabels(s.start.Add(-time.Minute))
	if err != nil {
		return err
	}
	for _, path := range orphans {
		s.jobs = append(s.jobs, job{DebrisKind, path, 0})
	}
	return nil
}

// turn is one slice under the lock, and then what can be done without it.
func (s *sweep) turn(ctx context.Context) error {
	err := s.locked(ctx)
	for _, free := range s.frees {
		if err := free(); err != nil {
			s.failures = append(s.failures, err)
		}
	}
	s.frees = nil
	return err
}

// locked holds the lock for a slice of time: it looks again at what keeps
// things, then removes from the front of the jobs.
func (s *sweep) locked(ctx context.Context) error {
	lock, err := s.exclusive(ctx)
	if err != nil {
		return err
	}
	defer func() {
		_ = lock.Unlock()
		if len(s.jobs) > 0 {
			time.Sleep(time.Millisecond) // those who wait shall get it first
		}
	}()
	began := time.Now()
	if err := s.again(ctx); err != nil {
		return err
	}
	// In a big store looking again takes longer; it shall be worth it.
	hold := max(slice, 4*time.Since(began))
	for until := time.Now().Add(hold); len(s.jobs) > 0 && time.Now().Before(until); {
		if err := ctx.Err(); err != nil {
			return err
		}
		j := s.jobs[0]
		s.jobs = s.jobs[1:]
		if s.kept(j.kind, j.id) {
			continue
		}
		s.perform(ctx, j)
	}
	return nil
}

// again marks what names, leases and labels lead to that were made or changed
// since the mark.
func (s *sweep) again(ctx context.Context) error {
	if err := s.roots(ctx); err != nil {
		return err
	}
	changed, err := s.Content.Relabeled(s.start)
	if err != nil {
		return err
	}
	for _, d := range changed {
		info, err := s.Content.Info(ctx, d)
		if err != nil {
			continue // gone: it keeps nothing
		}
		s.blobs[d] = content.Blob{Info: info}
		if rooted(info.Labels, s.start) || s.marks(BlobKind, string(d), labeled) {
			// what it was marked for is followed along the new labels, too
			for _, h := range []how{whole, labeled} {
				delete(s.marked, node{BlobKind, string(d), h})
			}
			s.push(BlobKind, string(d), whole)
		}
	}
	return s.follow(ctx)
}

// perform removes one thing. One that went or came meanwhile is no failure.
func (s *sweep) perform(ctx context.Context, j job) {
	err := s.remove(ctx, j)
	switch {
	case err == nil:
		s.result.freed(j.kind, j.id, j.bytes)
	case fault.Is(err, fault.NotFound), fault.Is(err, fault.Conflict), fault.Is(err, fault.Busy),
		errdefs.IsNotFound(err), errdefs.IsFailedPrecondition(err):
	default:
		s.failures = append(s.failures, fmt.Errorf("remove %s %s: %w", j.kind, j.id, err))
	}
}

func (s *sweep) remove(ctx context.Context, j job) error {
	switch j.kind {
	case BlobKind:
		_, err := s.Content.DeleteOlder(ctx, digest.Digest(j.id), s.start)
		return err
	case SnapshotKind:
		d, ok := s.Snapshots.(detacher)
		if !ok {
			return s.Snapshots.Remove(ctx, j.id)
		}
		free, err := d.Detach(ctx, j.id)
		if err == nil {
			s.frees = append(s.frees, free)
		}
		return err
	case IngestKind:
		return s.Content.DropIngest(j.id)
	case LeaseKind:
		done, err := s.Leases.DeleteDead(ctx, j.id, s.start)
		if err == nil && !done {
			return fault.New(fault.Conflict, "it lives again")
		}
		return err
	case NameKind:
		target := s.images[j.id].Target
		return s.unname(ctx, j.id, target.Digest)
	case DebrisKind:
		return s.Content.DropOrphanLabels(j.id)
	}
	return fault.New(fault.Invalid, "nothing known of kind %q", j.kind)
}

// unname deletes a name whose time is over, if it is still the one that was
// listed.
func (s *sweep) unname(ctx context.Context, name string, target digest.Digest) error {
	img, err := s.Names.Get(ctx, name)
	if err != nil {
		return err
	}
	if img.Target.Digest != target || !ended(img.Labels, s.start) {
		return fault.New(fault.Conflict, "it was named again")
	}
	return s.Names.DeleteLocked(ctx, name, img.Target.Digest)
}
