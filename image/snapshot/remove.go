package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"berth/base/fault"
	"berth/base/ids"
	"berth/sys/quota"
)

// Remove removes a snapshot that has no children and returns when its space is
// free. If that fails in between, the snapshot is
// gone and Cleanup frees the rest.
func (o *Overlay) Remove(ctx context.Context, key string) error {
	free, err := o.Detach(ctx, key)
	if err != nil {
		return err
	}
	return free()
}

// Detach is the first part of Remove: the snapshot is gone, its folder in the
// trash. free unlinks that folder, however long it takes; Cleanup does if free is
// not called.
func (o *Overlay) Detach(ctx context.Context, key string) (free func() error, err error) {
	if err := checkKey("remove", key); err != nil {
		return nil, err
	}
	if err := stopped(ctx, "remove", key); err != nil {
		return nil, err
	}
	locks, err := o.lock(key)
	if err != nil {
		return nil, fmt.Errorf("remove snapshot %s: %w", key, err)
	}
	trash, err := o.removeLocked(key)
	locks.unlock()
	if err != nil {
		return nil, fmt.Errorf("remove %w", err)
	}
	return func() error {
		if trash == "" {
			return nil
		}
		if err := removeTree(o.trash, trash); err != nil {
			return fmt.Errorf("free the space of snapshot %s: %w", key, err)
		}
		return nil
	}, nil
}

func (o *shelf) removeLocked(key string) (trash string, err error) {
	rec, err := o.load(key)
	if err != nil {
		old, ok := replaceable(err)
		if _, there := os.Lstat(o.recordPath(hashOf(key))); !ok || there != nil {
			return "", err
		}
		if rec = old; rec == nil {
			rec = &record{Key: key}
		}
	}
	children, err := o.childrenOf(hashOf(key))
	if err != nil {
		return "", fmt.Errorf("snapshot %s: look for children: %w", key, err)
	}
	if len(children) > 0 {
		return "", refuse(fault.Conflict, "snapshot %s: %s needs it", key, children[0])
	}
	return o.erase(rec)
}

// erase removes a record, moves its folder to the trash and gives back its name
// there, "" for none. A record of which only the key is known is removed alone.
// The caller holds the key's lock.
func (o *shelf) erase(rec *record) (trash string, err error) {
	hash := hashOf(rec.Key)
	var folder *os.File
	if rec.ID != "" {
		folder, err = o.holdFolder(rec.ID, true)
		switch {
		case err == nil:
			defer folder.Close()
		case errors.Is(err, errGone), errors.Is(err, fs.ErrNotExist):
			rec.ID, err = "", nil
		default:
			return "", fmt.Errorf("snapshot %s: hold its folder: %w", rec.Key, err)
		}
	}
	if err := os.Remove(o.recordPath(hash)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("snapshot %s: %w", rec.Key, err)
	}
	// It does not exist any more. What is left undone Cleanup does.
	if rec.ID != "" {
		trash, err = o.throwAway(rec.ID, folder)
	}
	_ = o.unmark(rec.Parent, rec.Key)
	_ = os.Remove(o.path(childrenDir, hash))
	_ = os.Remove(o.path(unsyncedDir, hash))
	return trash, err
}

// throwAway moves a folder, which the caller holds, to the trash.
func (o *folders) throwAway(id string, held *os.File) (string, error) {
	_ = quota.Lift(held) // a limit that nobody has is in nobody's way
	trash := id + "-" + ids.Hex(4)
	err := os.Rename(filepath.Join(o.d, id), filepath.Join(o.trash, trash))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return trash, nil
}

// discard removes what lies in the trash under a name, if it can: Cleanup will
// come by again.
func (o *folders) discard(trash string) {
	if trash != "" {
		_ = removeTree(o.trash, trash)
	}
}

// childrenOf lists the keys of the children of the snapshot with this hash and
// removes marks without a child. The caller holds the parent's lock, so that no
// child is being made.
func (o *records) childrenOf(parent string) ([]string, error) {
	names, err := listNames(o.path(childrenDir, parent))
	if err != nil {
		return nil, err
	}
	var keys []string
	for _, hash := range names {
		if !isHash(hash) {
			continue
		}
		rec, err := o.loadHash(hash)
		_, free := replaceable(err)
		switch {
		case err == nil && hashOf(rec.Parent) == parent:
			keys = append(keys, rec.Key)
		case err == nil || free || errors.Is(err, fs.ErrNotExist):
			if err := gone(os.Remove(o.path(childrenDir, parent, hash))); err != nil {
				return nil, err
			}
		default:
			return nil, err
		}
	}
	return keys, nil
}

// isHash reports whether a file name can be that of a key.
func isHash(name string) bool {
	if len(name) != 64 {
		return false
	}
	for i := range len(name) {
		if c := name[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
