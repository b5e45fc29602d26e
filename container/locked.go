package container

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"berth/base/atomicfile"
	"berth/base/fault"
	"berth/base/flock"
)

// Locked is one container that this process alone may change.
type Locked struct {
	ID   ID
	s    *Store
	lock *flock.Held
}

func (s *disk) lockPath(id ID) string { return filepath.Join(s.locks(), string(id)) }

// Lock waits until the caller alone may change the container. NotFound if it is
// gone by then. It is not to be held while waiting for others.
func (s *Store) Lock(ctx context.Context, id ID) (*Locked, error) {
	return s.lockWith(id, flock.Lock)
}

// TryLock is Lock without waiting: kind Busy.
func (s *Store) TryLock(ctx context.Context, id ID) (*Locked, error) {
	return s.lockWith(id, flock.TryLock)
}

func (s *Store) lockWith(id ID, take func(string) (*flock.Held, error)) (*Locked, error) {
	if !isID(string(id)) || !s.exists(id) {
		return nil, noSuch(string(id))
	}
	lock, err := take(s.lockPath(id))
	if err != nil {
		return nil, err
	}
	if !s.exists(id) {
		_ = s.dropLock(lock, id)
		return nil, noSuch(string(id))
	}
	return &Locked{ID: id, s: s, lock: lock}, nil
}

// Unlock gives the lock back. A second call does nothing.
func (l *Locked) Unlock() error { return l.lock.Unlock() }

// Record reads the record.
func (l *Locked) Record() (*Record, error) {
	rec, err := readRecord(l.s.Home(l.ID), l.ID)
	if gone(err) {
		return nil, noSuch(string(l.ID))
	}
	return rec, err
}

// Facts reads the facts.
func (l *Locked) Facts() (*Facts, error) { return l.s.facts(l.ID) }

// Update changes the record, durably if it is a kept one; id and name stay.
func (l *Locked) Update(change func(*Record) error) error {
	rec, err := l.Record()
	if err != nil {
		return err
	}
	name := rec.Name
	if err := change(rec); err != nil {
		return err
	}
	rec.ID, rec.Name = l.ID, name
	return l.save(rec)
}

// save replaces the record. A summary that is older than its record would lie,
// so it goes first.
func (l *Locked) save(rec *Record) error {
	home := l.s.Home(l.ID)
	if err := removeFile(filepath.Join(home, summaryFile)); err != nil {
		return err
	}
	var sync []atomicfile.Option
	if !rec.Config.Life.Remove {
		sync = append(sync, atomicfile.Sync)
	}
	if err := writeJSON(filepath.Join(home, recordFile), rec, sync...); err != nil {
		return fmt.Errorf("change container %s: %w", rec.Name, err)
	}
	_ = writeSummary(home, rec.summary()) // it is changed; the next list makes one
	return nil
}

// Rename gives another name. Errors, in Docker's words: Invalid, Conflict.
func (l *Locked) Rename(name string) error {
	if name == "" {
		return fault.New(fault.Invalid, "Neither old nor new names may be empty")
	}
	if CheckName(name) != nil {
		return fault.New(fault.Invalid, "Error when allocating new name: Invalid container name (/%s), only %s are allowed", name, nameChars)
	}
	rec, err := l.Record()
	if err != nil {
		return err
	}
	old := rec.Name
	if name == old {
		return fault.New(fault.Invalid, "Renaming a container with the same name as its current name")
	}
	if err := l.s.names.claim(name, l.ID); err != nil {
		//lint:ignore ST1005 Docker's words
		return fmt.Errorf("Error when allocating new name: %w", err)
	}
	rec.Name = name
	if err := l.save(rec); err != nil {
		_ = l.s.names.release(name, l.ID)
		return err
	}
	return l.s.names.release(old, l.ID)
}

// Remove deletes record, name, facts and folders, and gives the lock back. What
// networks, the image store and volumes hold for it must be gone by then. The
// exit stays known for five minutes.
func (l *Locked) Remove() error {
	f, err := l.s.facts(l.ID)
	if err == nil {
		if exit, ok := f.Ended(); ok {
			err = l.s.keepExit(l.ID, exit)
		}
	}
	if err != nil {
		l.s.opts.Warn(fmt.Errorf("remove container %s: its exit code: %w", l.ID, err))
	}
	if err := l.lock.Note(nil); err != nil { // its volumes are not the create's any more
		return err
	}
	// The name first: while there is a record, the removal can be taken up again.
	if err := l.Unmake(); err != nil {
		return fmt.Errorf("remove container %s: %w", l.ID, err)
	}
	return l.lock.Remove()
}

// vanish makes the container's folders disappear in one step each, the kept one
// durably, before what is in them is deleted.
func (s *disk) vanish(id ID) error {
	for _, dir := range []string{s.kept(), s.running()} {
		staged := filepath.Join(dir, hidden+string(id))
		if err := removeAll(staged); err != nil {
			return err
		}
		err := os.Rename(filepath.Join(dir, string(id)), staged)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return err
		}
		if dir == s.kept() {
			if err := atomicfile.SyncDir(dir); err != nil {
				return err
			}
		}
		if err := removeAll(staged); err != nil {
			return err
		}
	}
	return nil
}
