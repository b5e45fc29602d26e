package container

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"berth/base/fault"
	"berth/base/flock"
)

// Finding is one thing that is wrong in the store.
type Finding struct {
	Path     string
	Problem  string
	Repaired bool
}

// Check looks at every record and name. With repair it takes away what killed
// verbs left, and makes names again; a broken record is only told.
func (s *Store) Check(ctx context.Context, repair bool) ([]Finding, error) {
	out, err := s.names.tidyNames(repair)
	if err != nil {
		return nil, err
	}
	for _, dir := range []string{s.kept(), s.running()} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if f := s.checkEntry(dir, e.Name(), repair); f != nil {
				out = append(out, *f)
			}
		}
	}
	return out, ctx.Err()
}

func (s *Store) checkEntry(dir, name string, repair bool) *Finding {
	path := filepath.Join(dir, name)
	id, staged := strings.CutPrefix(name, hidden)
	switch {
	case name == bootFile:
		return nil
	case staged && isID(id):
		return s.leftOver(path, ID(id), "left by a create or remove that was killed", repair)
	case !isID(name):
		return &Finding{Path: path, Problem: "not a container's folder"}
	case dir == s.running() && !s.exists(ID(name)):
		return s.leftOver(path, ID(name), "run folder without a container", repair)
	case dir == s.running() && s.Home(ID(name)) != path:
		return nil // the run folder of a kept one
	}
	if _, err := readRecord(path, ID(name)); err != nil {
		return &Finding{Path: path, Problem: err.Error()}
	}
	if _, err := s.facts(ID(name)); err != nil {
		return &Finding{Path: path, Problem: err.Error()}
	}
	return nil
}

// leftOver is a folder that belongs to no container, unless somebody who holds
// the lock is at work on it.
func (s *Store) leftOver(path string, id ID, problem string, repair bool) *Finding {
	lock, err := flock.TryLock(s.lockPath(id))
	if fault.Is(err, fault.Busy) {
		return nil
	}
	f := &Finding{Path: path, Problem: problem}
	if err != nil {
		f.Problem = err.Error()
		return f
	}
	defer func() { _ = s.names.dropLock(lock, id) }()
	if filepath.Base(path) == string(id) && s.exists(id) {
		return nil // made meanwhile
	}
	if repair {
		f.Repaired = os.RemoveAll(path) == nil
	}
	return f
}
