package content

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"berth/base/atomicfile"
	"berth/base/fault"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/pkg/filters"
	"github.com/containerd/errdefs"
)

// Status says how far the writer of a ref is, open or not.
func (s *Store) Status(ctx context.Context, ref string) (content.Status, error) {
	st, err := s.statusOf(refID(ref))
	if fault.Is(err, fault.NotFound) || err == nil && st.Ref != ref {
		return content.Status{}, noIngest(ref)
	}
	return st, err
}

func noIngest(ref string) error {
	return fault.New(fault.NotFound, "ingest %q: %w", ref, errdefs.ErrNotFound)
}

// statusOf reads a writer's folder without its lock: a writer that is open may
// be further than what is said here.
func (p *place) statusOf(id string) (content.Status, error) {
	dir := p.ingestDir(id)
	ref, err := atomicfile.ReadCapped(filepath.Join(dir, "ref"), maxRef)
	if err != nil {
		return content.Status{}, err
	}
	if refID(string(ref)) != id {
		return content.Status{}, fault.New(fault.Invalid, "%s: the ref in it is not the one it is for", dir)
	}
	data, err := os.Lstat(filepath.Join(dir, "data"))
	if err != nil {
		return content.Status{}, err
	}
	out := content.Status{Ref: string(ref), Offset: data.Size(), StartedAt: data.ModTime(), UpdatedAt: data.ModTime()}
	b, err := atomicfile.ReadCapped(filepath.Join(dir, "state.json"), maxState)
	if err != nil {
		return out, nil
	}
	st, err := parseState(b)
	if err != nil {
		return out, nil // the next writer begins anew
	}
	out.Total, out.Expected, out.StartedAt = st.Total, st.Expected, st.Started
	if st.Updated.After(out.UpdatedAt) {
		out.UpdatedAt = st.Updated
	}
	if st.Ranged {
		out.Offset = st.Total - length(holes(st.Ranges, st.Total))
	}
	return out, nil
}

// ListStatuses lists writers under way, open or not, by containerd's filters
// (ref==…, ref~=…).
func (s *Store) ListStatuses(ctx context.Context, fs ...string) ([]content.Status, error) {
	filter, err := filters.ParseAll(fs...)
	if err != nil {
		return nil, fault.New(fault.Invalid, "list ingests: %w: %w", err, errdefs.ErrInvalidArgument)
	}
	all, err := s.Ingests(ctx)
	if err != nil {
		return nil, err
	}
	var out []content.Status
	for _, in := range all {
		if in.Broken != nil {
			s.bad(in.Broken)
			continue
		}
		if in.Status.Ref == "" {
			continue
		}
		if filter.Match(refOf(in.Status)) {
			out = append(out, in.Status)
		}
	}
	return out, nil
}

func refOf(st content.Status) filters.Adaptor {
	return filters.AdapterFunc(func(path []string) (string, bool) {
		return st.Ref, len(path) == 1 && path[0] == "ref"
	})
}

// Ingest is a writer's folder as the collector sees it.
type Ingest struct {
	ID     string         // the name of the folder
	Status content.Status // zero for what Put has in work
	Bytes  int64          // disk space that it takes
	Last   time.Time      // of the last write
	Broken error          // why Status says nothing
}

// Ingests lists all writers' folders, those that are broken too.
func (s *Store) Ingests(ctx context.Context) ([]Ingest, error) {
	entries, err := os.ReadDir(filepath.Join(s.opts.Dir, "ingest"))
	if err != nil {
		return nil, fmt.Errorf("list ingests: %w", err)
	}
	var out []Ingest
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		in := Ingest{ID: e.Name()}
		stat, err := e.Info()
		if err != nil {
			continue // gone meanwhile
		}
		in.Last = stat.ModTime()
		if atomicfile.IsStaged(in.ID) && stat.Mode().IsRegular() { // Put's
			in.Bytes = onDisk(stat)
			out = append(out, in)
			continue
		}
		in.Status, err = s.statusOf(e.Name())
		if err != nil {
			if _, gone := os.Lstat(s.ingestDir(e.Name())); os.IsNotExist(gone) {
				continue
			}
			in.Broken = fmt.Errorf("ingest %s: %w", e.Name(), err)
		}
		if in.Status.UpdatedAt.After(in.Last) {
			in.Last = in.Status.UpdatedAt
		}
		if data, err := os.Lstat(filepath.Join(s.ingestDir(e.Name()), "data")); err == nil {
			in.Bytes = onDisk(data)
		}
		out = append(out, in)
	}
	return out, nil
}

// Abort removes what the writers of a ref left. It does not take the ref from
// one that is open: errdefs.ErrUnavailable.
func (s *Store) Abort(ctx context.Context, ref string) error {
	id := refID(ref)
	if _, err := os.Lstat(s.ingestDir(id)); os.IsNotExist(err) {
		return noIngest(ref)
	}
	return s.DropIngest(id)
}

// DropIngest is Abort by the name of the folder; kind Busy if it is open.
func (s *Store) DropIngest(id string) error {
	if id != filepath.Base(id) || id == "." || id == ".." || id == "/" {
		return fault.New(fault.Invalid, "ingest id %q", id)
	}
	lock, err := s.lockIngest(id, id)
	if err != nil {
		return err
	}
	defer lock.Remove()
	dir := s.ingestDir(id)
	if stat, err := os.Lstat(dir); err == nil && !stat.IsDir() {
		return os.Remove(dir)
	}
	if err := removeDir(dir); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("remove ingest %s: %w", id, err)
	}
	return nil
}

// StrayLocks removes lock files of refs that have no folder (any more): a
// process that was killed between the two leaves one.
func (p *place) StrayLocks() error {
	dir := filepath.Join(p.opts.Locks, "ingest")
	files, err := atomicfile.Names(dir)
	if err != nil {
		return fmt.Errorf("look for stray locks: %w", err)
	}
	for _, id := range files {
		if _, err := os.Lstat(p.ingestDir(id)); !os.IsNotExist(err) {
			continue
		}
		lock, err := p.lockIngest(id, id)
		if fault.Is(err, fault.Busy) {
			continue // its writer is about to make the folder
		}
		if err != nil {
			p.bad(err) // no file of ours
			continue
		}
		// Under the lock it is sure: whoever comes makes a lock file anew.
		leave := lock.Unlock
		if _, err := os.Lstat(p.ingestDir(id)); os.IsNotExist(err) {
			leave = lock.Remove
		}
		if err := leave(); err != nil {
			return err
		}
	}
	return nil
}
