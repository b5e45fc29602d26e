package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"berth/base/fault"
	"berth/base/undo"
	"berth/sys/quota"

	"golang.org/x/sys/unix"
)

// Prepare makes an active snapshot above a parent, "" for none. Its root folder
// has the owner and mode of the parent's.
func (o *Overlay) Prepare(ctx context.Context, key, parent string, opts ...Opt) ([]Mount, error) {
	return o.begin(ctx, Active, key, parent, opts)
}

// View makes a snapshot that is only read.
func (o *Overlay) View(ctx context.Context, key, parent string, opts ...Opt) ([]Mount, error) {
	return o.begin(ctx, View, key, parent, opts)
}

func (o *Overlay) begin(ctx context.Context, kind Kind, key, parent string, opts []Opt) ([]Mount, error) {
	rec, err := o.newSnapshot(ctx, kind, key, parent, opts)
	if err != nil {
		return nil, fmt.Errorf("prepare %w", err)
	}
	mounts, err := o.mountsOf(rec)
	if err != nil { // it could never be mounted
		_ = o.Remove(context.WithoutCancel(ctx), key)
		return nil, err
	}
	return mounts, nil
}

// PrepareLayer makes an active snapshot to be filled through its folder, which
// it opens; see Store. The file is the caller's.
func (o *Overlay) PrepareLayer(ctx context.Context, key string, opts ...Opt) (*os.File, error) {
	rec, err := o.newSnapshot(ctx, Active, key, "", opts)
	if err != nil {
		return nil, fmt.Errorf("prepare %w", err)
	}
	path := o.upper(rec.ID)
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("prepare snapshot %s: %w", key, err)
	}
	return f, nil
}

// upper is the folder with a snapshot's own files.
func (o *folders) upper(id string) string { return filepath.Join(o.d, id, "fs") }

// work is the folder that overlay needs beside it.
func (o *folders) work(id string) string { return filepath.Join(o.d, id, "work") }

// newSnapshot makes folder, mark and record of a snapshot, in this order.
func (o *shelf) newSnapshot(ctx context.Context, kind Kind, key, parent string, opts []Opt) (*record, error) {
	if err := checkKey("prepare", key); err != nil {
		return nil, err
	}
	if err := stopped(ctx, "prepare", key); err != nil {
		return nil, err
	}
	t := now()
	asked := wanted(opts)
	rec := &record{Version: recordVersion, Key: key, Kind: kind, Parent: parent, Labels: asked.Labels, Created: t, Updated: t, Limit: asked.Limit}

	locks, err := o.lock(key, parent)
	if err != nil {
		return nil, fmt.Errorf("snapshot %s: %w", key, err)
	}
	trash, err := o.newLocked(rec)
	locks.unlock()
	o.discard(trash)
	if err != nil {
		return nil, err
	}
	return rec, nil
}

// newLocked does what must not be disturbed. It gives back what it moved to the
// trash.
func (o *shelf) newLocked(rec *record) (trash string, err error) {
	if trash, err = o.vacate(rec.Key); err != nil {
		return trash, err
	}
	above, err := o.parentOf(rec.Key, rec.Parent)
	if err != nil {
		return trash, err
	}
	return trash, o.settle(rec, above)
}

// settle makes the folder of rec and then rec itself. above is the parent's
// record or nil.
func (o *shelf) settle(rec, above *record) (err error) {
	folder, err := o.makeFolder(rec)
	if err != nil {
		return fmt.Errorf("make the folder of snapshot %s: %w", rec.Key, err)
	}
	defer folder.Close()
	var u undo.Stack
	defer u.Unwind(&err)
	u.Push("remove folder "+rec.ID, func() error { return o.unmakeFolder(rec.ID, folder) })
	if above != nil {
		if err := copyRoot(o.upper(above.ID), o.upper(rec.ID)); err != nil {
			return fmt.Errorf("prepare the root of snapshot %s: %w", rec.Key, err)
		}
		if err := o.mark(above.Key, rec.Key); err != nil {
			return fmt.Errorf("mark snapshot %s as child of %s: %w", rec.Key, above.Key, err)
		}
		u.Push("remove the child's mark", func() error { return o.unmark(above.Key, rec.Key) })
	}
	if err := o.create(rec); err != nil {
		return fmt.Errorf("record snapshot %s: %w", rec.Key, err)
	}
	return nil
}

// vacate makes sure that no snapshot has the key. A record in its place that
// does not count is removed; the folder of one goes to the trash under the name
// given back. The caller holds the key's lock.
func (o *shelf) vacate(key string) (trash string, err error) {
	_, err = o.load(key)
	if err == nil {
		return "", refuse(fault.Exists, "snapshot %s exists already", key)
	}
	old, ok := replaceable(err)
	if !ok {
		return "", err
	}
	if old == nil {
		old = &record{Key: key}
	}
	return o.erase(old)
}

// parentOf reads the parent's record, nil if there is none, and refuses what
// cannot be one.
func (o *shelf) parentOf(key, parent string) (*record, error) {
	if parent == "" {
		return nil, nil
	}
	rec, err := o.load(parent)
	if err != nil {
		return nil, fmt.Errorf("snapshot %s: parent %w", key, err)
	}
	if rec.Kind != Committed {
		return nil, refuse(fault.Invalid, "snapshot %s: parent %s is not committed", key, parent)
	}
	return rec, nil
}

// makeFolder gives rec an id and makes its folders. The folder is held.
func (o *folders) makeFolder(rec *record) (*os.File, error) {
	for {
		rec.ID = newID()
		err := os.Mkdir(filepath.Join(o.d, rec.ID), 0o700)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		f, err := o.holdFolder(rec.ID, false)
		if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, errGone) || errors.Is(err, fs.ErrNotExist) {
			continue // a Cleanup was faster than the lock
		}
		if err == nil && rec.Limit > 0 {
			err = quota.Limit(f, rec.Limit)
		}
		if err == nil {
			err = makeDir(o.upper(rec.ID), 0o755)
		}
		if err == nil && rec.Kind == Active {
			err = makeDir(o.work(rec.ID), 0o711)
		}
		if err == nil {
			return f, nil
		}
		_ = o.unmakeFolder(rec.ID, f)
		if f != nil {
			f.Close()
		}
		return nil, err
	}
}

// unmakeFolder takes back what makeFolder made; f is the folder or nil.
func (o *folders) unmakeFolder(id string, f *os.File) error {
	if f != nil {
		_ = quota.Lift(f) // a limit that nobody has is in nobody's way
	}
	return removeTree(o.d, id)
}

// makeDir makes a folder with exactly these mode bits.
func makeDir(path string, mode fs.FileMode) error {
	if err := os.Mkdir(path, mode); err != nil {
		return err
	}
	return os.Chmod(path, mode)
}

// copyRoot gives the root folder of a snapshot the owner, mode and times of the
// one below: overlay shows those of the upper one.
func copyRoot(from, to string) error {
	src, err := os.OpenFile(from, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer dst.Close()
	var st unix.Stat_t
	if err := unix.Fstatat(int(src.Fd()), "", &st, unix.AT_EMPTY_PATH); err != nil {
		return fmt.Errorf("stat %s: %w", from, err)
	}
	fd := int(dst.Fd())
	if err := unix.Fchown(fd, int(st.Uid), int(st.Gid)); err != nil {
		return fmt.Errorf("chown %s: %w", to, err)
	}
	if err := unix.Fchmod(fd, st.Mode&0o7777); err != nil {
		return fmt.Errorf("chmod %s: %w", to, err)
	}
	times := []unix.Timespec{st.Atim, st.Mtim}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, to, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("set times of %s: %w", to, err)
	}
	return nil
}

// mark notes child as a child of parent. The caller holds both locks.
func (o *records) mark(parent, child string) error {
	dir := o.path(childrenDir, hashOf(parent))
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, hashOf(child)), os.O_WRONLY|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// unmark forgets a child. The caller holds the child's lock.
func (o *records) unmark(parent, child string) error {
	if parent == "" {
		return nil
	}
	err := os.Remove(o.path(childrenDir, hashOf(parent), hashOf(child)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
