package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"berth/base/atomicfile"
	"berth/base/fault"

	"golang.org/x/sys/unix"
)

// Commit turns an active snapshot into a committed one and counts what its
// folder takes. WithParent gives one that has no parent a parent.
func (o *Overlay) Commit(ctx context.Context, name, key string, opts ...Opt) error {
	rec, err := o.load(key)
	if err != nil {
		return fmt.Errorf("commit %w", err)
	}
	if rec.Kind != Active {
		return refuse(fault.Conflict, "commit snapshot %s: it is not active", key)
	}
	usage, err := count(ctx, o.upper(rec.ID))
	if err != nil {
		return fmt.Errorf("commit snapshot %s: %w", key, err)
	}
	want := wanted(opts)
	return o.commit(ctx, Layer{Name: name, Parent: want.Parent, Key: key, Usage: usage, Labels: want.Labels, RootSet: true}, rec.ID)
}

// CommitLayer turns what PrepareLayer made into a committed snapshot; see
// Store. An error of class errdefs.ErrAlreadyExists means that another one was
// faster: the caller removes the key.
func (o *Overlay) CommitLayer(ctx context.Context, l Layer) error {
	if l.Usage.Size < 0 || l.Usage.Inodes < 0 {
		return refuse(fault.Invalid, "commit snapshot %s: negative usage", l.Key)
	}
	return o.commit(ctx, l, "")
}

// commit commits the snapshot l.Key. An id other than "" is that of the folder
// that was counted.
func (o *Overlay) commit(ctx context.Context, l Layer, id string) error {
	if err := checkKey("commit", l.Name); err != nil {
		return err
	}
	if !o.later {
		if err := o.syncFS(); err != nil {
			return fmt.Errorf("commit snapshot %s: %w", l.Key, err)
		}
	}
	if err := stopped(ctx, "commit", l.Key); err != nil {
		return err
	}
	rec, err := o.load(l.Key) // for the parent, to know what to lock
	if err != nil {
		return fmt.Errorf("commit %w", err)
	}
	if id != "" && rec.ID != id {
		return refuse(fault.Conflict, "commit snapshot %s: it was replaced meanwhile", l.Key)
	}
	parent := rec.Parent
	if parent == "" {
		parent = l.Parent
	}
	locks, err := o.lock(l.Key, l.Name, parent)
	if err != nil {
		return fmt.Errorf("commit snapshot %s: %w", l.Key, err)
	}
	trash, err := o.commitLocked(l, rec.ID, parent)
	locks.unlock()
	o.discard(trash)
	if err != nil {
		return fmt.Errorf("commit %w", err)
	}
	return nil
}

// commitLocked does what must not be disturbed. It gives back what it moved to
// the trash.
func (o *shelf) commitLocked(l Layer, id, parent string) (trash string, err error) {
	rec, err := o.load(l.Key)
	if err != nil {
		return "", err
	}
	switch {
	case rec.Kind != Active:
		return "", refuse(fault.Conflict, "snapshot %s: it is not active", l.Key)
	case rec.ID != id:
		return "", refuse(fault.Conflict, "snapshot %s: it was replaced meanwhile", l.Key)
	case l.Parent != "" && l.Parent != parent || rec.Parent != "" && rec.Parent != parent:
		return "", refuse(fault.Invalid, "snapshot %s: its parent is %s, not %s", l.Key, rec.Parent, l.Parent)
	case l.Name == parent:
		return "", refuse(fault.Invalid, "snapshot %s: %s cannot be its own parent", l.Key, l.Name)
	}
	if trash, err = o.vacate(l.Name); err != nil {
		return trash, err
	}
	above, err := o.parentOf(l.Key, parent)
	if err != nil {
		return trash, err
	}
	folder, err := o.holdFolder(rec.ID, true)
	if err != nil {
		return trash, fmt.Errorf("snapshot %s: open its folder: %w", l.Key, err)
	}
	defer folder.Close()
	if above != nil && rec.Parent == "" && !l.RootSet {
		if err := copyRoot(o.upper(above.ID), o.upper(rec.ID)); err != nil {
			return trash, fmt.Errorf("snapshot %s: %w", l.Key, err)
		}
	}
	return trash, o.swing(rec, l, parent)
}

// swing moves the record of rec to the name of l: the commit itself.
func (o *shelf) swing(rec *record, l Layer, parent string) error {
	t := now()
	next := &record{
		Version: recordVersion, Key: l.Name, ID: rec.ID, Kind: Committed, Parent: parent, Labels: l.Labels,
		Created: t, Updated: t, Size: l.Usage.Size, Inodes: l.Usage.Inodes,
	}
	hash := hashOf(l.Name)
	if o.later {
		next.Unsynced = o.boot
		f, err := os.OpenFile(o.path(unsyncedDir, hash), os.O_WRONLY|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return fmt.Errorf("snapshot %s: note it as unsynced: %w", l.Key, err)
		}
		f.Close()
	}
	if parent != "" {
		if err := o.mark(parent, l.Name); err != nil {
			return fmt.Errorf("snapshot %s: mark %s as child of %s: %w", l.Key, l.Name, parent, err)
		}
	}
	old := *rec
	old.Next = next
	if err := o.replace(&old); err != nil {
		return fmt.Errorf("snapshot %s: stage its commit: %w", l.Key, err)
	}
	if err := o.moveRecord(hashOf(l.Key), hash); err != nil {
		return fmt.Errorf("snapshot %s: name it %s: %w", l.Key, l.Name, err)
	}
	// From here on it is committed; what is left undone Cleanup does.
	_ = o.unmark(rec.Parent, l.Key)
	if !o.later {
		return atomicfile.SyncDir(o.path(recordsDir))
	}
	return nil
}

// moveRecord renames a record without replacing another one. vacate has made
// sure of that under the lock; file systems without RENAME_NOREPLACE rely on it.
func (o *records) moveRecord(from, to string) error {
	src, dst := o.recordPath(from), o.recordPath(to)
	err := unix.Renameat2(unix.AT_FDCWD, src, unix.AT_FDCWD, dst, unix.RENAME_NOREPLACE)
	if err == unix.EINVAL || err == unix.ENOSYS {
		return os.Rename(src, dst)
	}
	return err
}

// Sync makes snapshots durable by one syncfs(2), and those below them; see
// Store. Committed ones that are durable already cost no sync, so a caller
// names the top of every image that it is about to refer to, whoever made it:
// another process may have been killed before its Sync. A name without a
// snapshot gives errdefs.ErrNotFound; nothing is durable then.
func (o *Overlay) Sync(ctx context.Context, keys ...string) error {
	return o.SyncBy(ctx, o.syncFS, keys...)
}

// SyncBy is Sync for a caller that has more to sync on the same file system:
// flush, which is called at most once, is its syncfs(2) for both.
func (o *Overlay) SyncBy(ctx context.Context, flush func() error, keys ...string) error {
	recs, err := o.toSync(keys)
	if err != nil {
		return fmt.Errorf("sync snapshots: %w", err)
	}
	if err := stopped(ctx, "sync", "store"); err != nil || len(recs) == 0 {
		return err
	}
	if err := flush(); err != nil {
		return fmt.Errorf("sync snapshots: %w", err)
	}
	for _, rec := range recs {
		if err := o.clearUnsynced(rec); err != nil {
			return fmt.Errorf("sync snapshot %s: %w", rec.Key, err)
		}
	}
	return atomicfile.SyncDir(o.path(unsyncedDir))
}

// toSync lists the snapshots and those below them which may not be on the disk.
func (o *shelf) toSync(keys []string) ([]*record, error) {
	if len(keys) == 0 {
		return o.unsyncedOnes()
	}
	recs, err := o.lineages(keys)
	if err != nil {
		return nil, err
	}
	var list []*record
	cleared := false
	for _, rec := range recs {
		if rec.Kind != Committed {
			list = append(list, rec)
			continue
		}
		if rec.Unsynced != o.boot {
			continue
		}
		switch _, err := os.Lstat(o.path(unsyncedDir, hashOf(rec.Key))); {
		case err == nil:
			list = append(list, rec)
		case errors.Is(err, fs.ErrNotExist):
			cleared = true
		default:
			return nil, err
		}
	}
	if len(list) == 0 && cleared {
		// Another Sync took the mark away: its fsync may still be under way.
		return nil, atomicfile.SyncDir(o.path(unsyncedDir))
	}
	return list, nil
}

// lineages reads the snapshots and their ancestors, each once.
func (o *shelf) lineages(keys []string) ([]*record, error) {
	var recs []*record
	seen := map[string]bool{}
	for _, key := range keys {
		for key != "" && !seen[key] {
			seen[key] = true
			rec, err := o.load(key)
			if err != nil {
				return nil, err
			}
			recs = append(recs, rec)
			key = rec.Parent
		}
	}
	return recs, nil
}

// unsyncedOnes reads the snapshots of this boot that were not synced.
func (o *shelf) unsyncedOnes() ([]*record, error) {
	names, err := listNames(o.path(unsyncedDir))
	if err != nil {
		return nil, err
	}
	var recs []*record
	for _, hash := range names {
		if rec, err := o.loadHash(hash); err == nil {
			recs = append(recs, rec)
		}
	}
	return recs, nil
}

// clearUnsynced removes the mark of a snapshot, provided that it is still the
// one that was there before the sync.
func (o *shelf) clearUnsynced(rec *record) error {
	if rec.Unsynced != o.boot {
		return nil
	}
	locks, err := o.lock(rec.Key)
	if err != nil {
		return err
	}
	defer locks.unlock()
	is, err := o.load(rec.Key)
	if err != nil || is.ID != rec.ID {
		return nil // removed meanwhile
	}
	return gone(os.Remove(o.path(unsyncedDir, hashOf(rec.Key))))
}

// syncFS writes the store's file system to the disk: syncfs(2).
func (o *shelf) syncFS() error {
	d, err := os.Open(o.root)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return fmt.Errorf("syncfs %s: %w", o.root, err)
	}
	return nil
}
