package container

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"berth/base/atomicfile"
	"berth/base/fault"
	"berth/base/flock"
)

// Debris is what a create or a removal that was killed left of a container without
// a record. The lock tells: its file is the first thing that is made of a
// container, and the last that goes; one that nobody holds, with no record beside
// it, is a dead verb's. What others are to make for the container a create writes
// into the file first, and empties it when it has done all: one that is not empty,
// with a record beside it, is of a create that was not finished.

// Intent is what a create has others make.
type Intent struct {
	Made []string `json:"made,omitempty"` // anonymous volumes: they go with it
	Uses []string `json:"uses,omitempty"` // named ones: they stay
}

// Intend writes down what is about to be made. Until Finish the container counts as
// half-made, if its maker is killed.
func (l *Locked) Intend(i Intent) error {
	b, err := json.Marshal(i)
	if err != nil {
		return err
	}
	return l.lock.Note(b)
}

// Finish says that the container is made as a whole, and gives the lock back.
func (l *Locked) Finish() error {
	if err := l.lock.Note(nil); err != nil {
		return err
	}
	return l.lock.Unlock()
}

// unfinished tells of a container with a record whether its create has not come to
// its end.
func (s *disk) unfinished(id ID) bool {
	st, err := os.Lstat(s.lockPath(id))
	return err == nil && st.Size() > 0
}

// Intents tells what creates that are under way, or were killed, have others make.
func (s *Store) Intents() (map[ID]Intent, error) {
	all, err := unrecorded(s.disk)
	if err != nil {
		return nil, err
	}
	out := map[ID]Intent{}
	for _, id := range all {
		if i := s.intent(id); len(i.Made)+len(i.Uses) > 0 {
			out[id] = i
		}
	}
	return out, nil
}

// intent reads what is in a lock file; what is torn was not begun.
func (s *disk) intent(id ID) (i Intent) {
	b, err := atomicfile.ReadCapped(s.lockPath(id), maxFacts)
	if err != nil || len(b) == 0 || json.Unmarshal(b, &i) != nil {
		return Intent{}
	}
	return i
}

// unrecorded lists the ids that something is there of, but no record.
func unrecorded(s *disk) ([]ID, error) {
	var suspects map[ID]bool
	// The records last: what is made meanwhile has one by then.
	for _, dir := range []string{s.locks(), s.running(), s.kept()} {
		names, err := atomicfile.Names(dir)
		if err != nil {
			return nil, err
		}
		if suspects == nil {
			suspects = make(map[ID]bool, len(names))
		}
		for _, name := range names {
			id, staged := strings.CutPrefix(name, hidden)
			switch {
			case !isID(id):
			case staged || dir != s.kept():
				suspects[ID(id)] = true
			default:
				delete(suspects, ID(id))
			}
		}
	}
	var out []ID
	for id := range suspects {
		if !s.exists(id) {
			out = append(out, id)
		}
	}
	return out, nil
}

// Sweep takes away what killed creates and removals left of containers that have
// no record. Before each, drop takes away what other rooms have; a nil drop says
// only to look. A verb that is at work is not disturbed. The error is the first
// one; the sweep goes on with the others.
func (s *Store) Sweep(ctx context.Context, drop func(ID, Intent) error) ([]Finding, error) {
	all, err := unrecorded(s.disk)
	if err != nil {
		return nil, fmt.Errorf("look for what killed commands left: %w", err)
	}
	var out []Finding
	for _, id := range all {
		f, failed := s.sweepOne(id, drop)
		if failed != nil && err == nil {
			err = fmt.Errorf("take away what is left of container %s: %w", id, failed)
		}
		if f != nil {
			out = append(out, *f)
		}
		if ctx.Err() != nil {
			return out, ctx.Err()
		}
	}
	return out, err
}

func (s *Store) sweepOne(id ID, drop func(ID, Intent) error) (*Finding, error) {
	lock, err := flock.TryFound(s.lockPath(id))
	if fault.Is(err, fault.NotFound) && traced(s.disk, id) {
		lock, err = flock.TryLock(s.lockPath(id))
	}
	if fault.Is(err, fault.Busy) || fault.Is(err, fault.NotFound) { // at work, or done
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer lock.Unlock()
	if s.exists(id) { // made since
		return nil, nil
	}
	names, err := s.names.of(id)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 && !s.unfinished(id) && !traced(s.disk, id) {
		return nil, lock.Remove() // nothing came after it
	}
	f := &Finding{Path: filepath.Join(s.kept(), string(id)), Problem: "left by a create or a removal that was killed"}
	if drop == nil {
		return f, nil
	}
	if err := drop(id, s.intent(id)); err != nil {
		return f, err
	}
	for _, path := range append(names, traces(s.disk, id)...) {
		if err := removeAll(path); err != nil {
			return f, err
		}
	}
	f.Repaired = true
	return f, lock.Remove()
}

// removeAll is os.RemoveAll of a folder in which a list or a monitor may still be
// writing a file.
func removeAll(path string) (err error) {
	for range 20 {
		if err = os.RemoveAll(path); !errors.Is(err, syscall.ENOTEMPTY) {
			break
		}
	}
	return err
}

// traces are where something may be left of a container without a record.
func traces(s *disk, id ID) []string {
	return []string{filepath.Join(s.kept(), hidden+string(id)), filepath.Join(s.running(), hidden+string(id)), s.RunDir(id)}
}

// dropLock gives back a lock that was taken on what may be no container. The file
// stays while it tells of something.
func (s *disk) dropLock(lock *flock.Held, id ID) error {
	if s.exists(id) {
		return lock.Unlock()
	}
	if s.unfinished(id) || traced(s, id) {
		return lock.Unlock()
	}
	return lock.Remove()
}

func traced(s *disk, id ID) bool {
	return slices.ContainsFunc(traces(s, id), func(path string) bool {
		_, err := os.Lstat(path)
		return err == nil
	})
}
