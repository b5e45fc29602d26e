package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"berth/base/atomicfile"
	"berth/base/flock"
	"berth/base/ids"
	"berth/base/undo"
)

// Create is Begin and Make.
func (s *Store) Create(ctx context.Context, rec *Record) (*Locked, error) {
	l, err := s.Begin(rec)
	if err != nil {
		return nil, err
	}
	if err := l.Make(rec); err != nil {
		return nil, errors.Join(err, l.Abandon())
	}
	return l, nil
}

// Begin takes the lock of a container that is to be made, so that nobody starts or
// removes it half-made. It fills in what is zero of Version, ID, Created, BootID and
// Hostname. Error: Invalid for a bad name, in Docker's words.
func (s *Store) Begin(rec *Record) (*Locked, error) {
	if rec.Name != "" {
		if err := CheckName(rec.Name); err != nil {
			return nil, err
		}
	}
	rec.Version, rec.BootID = recordVersion, s.boot
	if rec.ID == "" {
		rec.ID = ids.New()
	}
	if rec.Created.IsZero() {
		rec.Created = time.Now().UTC()
	}
	if rec.Hostname == "" {
		rec.Hostname = string(rec.ID[:12])
	}
	lock, err := flock.Lock(s.lockPath(rec.ID))
	if err != nil {
		return nil, err
	}
	return &Locked{ID: rec.ID, s: s, lock: lock}, nil
}

// Make writes the record of a container that was begun: state created. A zero Name
// becomes a random one. A kept record is durable when Make returns; with
// Config.Life.Remove it lies in the run folder. Error: Conflict for a name in use, in
// Docker's words.
func (l *Locked) Make(rec *Record) (err error) {
	var u undo.Stack
	defer u.Unwind(&err)
	if rec.Name == "" {
		rec.Name, err = l.s.names.pickName(rec.ID)
	} else {
		err = l.s.names.claim(rec.Name, rec.ID)
	}
	if err != nil {
		return err
	}
	u.Push("give the name back", func() error { return l.s.names.release(rec.Name, rec.ID) })
	if err := l.s.publish(rec); err != nil {
		return fmt.Errorf("create container %s: %w", rec.Name, err)
	}
	return nil
}

// Unmake takes the record away again; the lock stays.
func (l *Locked) Unmake() error {
	if sum, err := readSummary(l.s.Home(l.ID), l.ID); err == nil {
		if err := l.s.names.release(sum.Name, l.ID); err != nil {
			return err
		}
	} else { // whatever it was called
		names, err := l.s.names.of(l.ID)
		if err != nil {
			return err
		}
		for _, path := range names {
			if err := removeFile(path); err != nil {
				return err
			}
		}
	}
	return l.s.vanish(l.ID)
}

// Abandon gives back the lock of a container that was not made.
func (l *Locked) Abandon() error { return l.lock.Remove() }

// publish makes the container's folder with all its files, then gives it its name.
func (s *Store) publish(rec *Record) (err error) {
	dir, sync := s.kept(), []atomicfile.Option{atomicfile.Sync}
	if rec.Config.Life.Remove {
		dir, sync = s.running(), nil
	}
	staged := filepath.Join(dir, hidden+string(rec.ID))
	if err := os.Mkdir(staged, folderMode); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(staged)
		}
	}()
	if err := writeSummary(staged, rec.summary()); err != nil {
		return err
	}
	if err := writeJSON(filepath.Join(staged, recordFile), rec, sync...); err != nil {
		return err
	}
	final := filepath.Join(dir, string(rec.ID))
	if err := os.Rename(staged, final); err != nil {
		return err
	}
	staged = final
	if rec.Config.Life.Remove {
		return nil
	}
	return atomicfile.SyncDir(dir)
}
