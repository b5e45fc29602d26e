package container

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"berth/base/atomicfile"
	"berth/base/ids"
	"berth/base/undo"
)

// Create writes a container's record: state created. It fills in what is zero of
// Version, ID, Name (a random one), Created, BootID and Hostname. A kept record
// is durable when Create returns; with Config.Life.Remove it lies in the run
// folder. The container comes back locked, so that nobody starts or removes it
// half-made. Errors, in Docker's words: Conflict for a name in use, Invalid for
// a bad one.
func (s *Store) Create(ctx context.Context, rec *Record) (_ *Locked, err error) {
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
	var u undo.Stack
	defer u.Unwind(&err)

	l, err := s.hold(rec.ID)
	if err != nil {
		return nil, err
	}
	u.Push("remove the lock", l.lock.Remove)
	if rec.Name == "" {
		rec.Name, err = s.names.pickName(rec.ID)
	} else {
		err = s.names.claim(rec.Name, rec.ID)
	}
	if err != nil {
		return nil, err
	}
	u.Push("give the name back", func() error { return s.names.release(rec.Name, rec.ID) })

	if err := s.publish(rec); err != nil {
		return nil, fmt.Errorf("create container %s: %w", rec.Name, err)
	}
	return l, nil
}

// publish makes the container's folder with all its files, then gives it its name.
func (s *Store) publish(rec *Record) (err error) {
	dir, sync := s.kept(), []atomicfile.Option{atomicfile.Sync}
	if rec.Config.Life.Remove {
		dir, sync = s.running(), nil
	}
	staged := filepath.Join(dir, hidden+string(rec.ID))
	if err := os.Mkdir(staged, 0o700); err != nil {
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
