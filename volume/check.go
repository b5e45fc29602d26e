package volume

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"berth/base/atomicfile"
	"berth/base/fault"
	"berth/base/flock"
)

// Finding is one thing that is wrong in the store.
type Finding struct {
	Path     string
	Problem  string
	Harm     bool // a volume cannot be used; else it only takes space
	Repaired bool
}

// Check looks at every record, and for what killed verbs left, which goes with
// repair. It disturbs no verb that is at work; a broken record is only told.
func (s *Store) Check(repair bool) ([]Finding, error) {
	out, err := s.debris(repair)
	if err != nil {
		return out, err
	}
	entries, err := os.ReadDir(s.dir())
	if err != nil {
		return out, err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), hidden) {
			continue
		}
		_, err := s.Get(e.Name())
		if err == nil {
			continue
		}
		if _, there := os.Lstat(s.home(e.Name())); there == nil {
			out = append(out, Finding{Path: s.home(e.Name()), Problem: err.Error(), Harm: true})
		}
	}
	return out, nil
}

// debris looks for what a create or a removal that was killed has left.
func (s *Store) debris(remove bool) ([]Finding, error) {
	entries, err := os.ReadDir(s.dir())
	if err != nil {
		return nil, err
	}
	var out []Finding
	for _, e := range entries {
		name, staged := strings.CutPrefix(e.Name(), hidden)
		if !staged {
			continue
		}
		lock, err := flock.TryLock(s.lockf(name))
		if fault.Is(err, fault.Busy) {
			continue // somebody is at work on it
		}
		if err != nil {
			return out, err
		}
		f := Finding{Path: filepath.Join(s.dir(), e.Name()), Problem: "left by a create or a removal that was killed"}
		if _, err := os.Lstat(f.Path); err == nil {
			f.Repaired = remove && dispose(f.Path) == nil
			out = append(out, f)
		}
		s.unlock(lock, name)
	}
	if remove {
		s.dropLocks()
	}
	return out, nil
}

// hasDebris tells whether something may be left, or is just being made or removed:
// entries are those of the store.
func hasDebris(s *Store, entries []os.DirEntry) bool {
	there := map[string]bool{}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), hidden) {
			return true
		}
		there[e.Name()] = true
	}
	locks, err := atomicfile.Names(s.locks())
	return err == nil && slices.ContainsFunc(locks, func(name string) bool { return !there[name] })
}

// dropLocks removes lock files of volumes that are not there.
func (s *Store) dropLocks() {
	locks, err := os.ReadDir(s.locks())
	if err != nil {
		return
	}
	for _, e := range locks {
		if _, err := os.Lstat(s.home(e.Name())); err == nil {
			continue
		}
		if lock, err := flock.TryFound(s.lockf(e.Name())); err == nil {
			s.unlock(lock, e.Name())
		}
	}
}
