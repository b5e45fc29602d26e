package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Cleanup removes what verbs left behind that were killed: the trash, staged
// records, folders without a record, commits that the machine lost, stale
// marks. It disturbs no verb that is under way.
func (o *Overlay) Cleanup(ctx context.Context) error {
	s := sweeper{&o.shelf}
	steps := []struct {
		what string
		do   func(context.Context) error
	}{
		{"staged records", s.sweepStage},
		{"lost commits", s.sweepLost},
		{"folders without a record", s.sweepFolders},
		{"marks of children", s.sweepMarks},
		{"marks of unsynced commits", s.sweepUnsynced},
		{"the trash", s.sweepTrash},
	}
	var errs []error
	for _, step := range steps {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("clean up snapshots: %w", err)
		}
		if err := step.do(ctx); err != nil {
			errs = append(errs, fmt.Errorf("clean up snapshots: %s: %w", step.what, err))
		}
	}
	return oneOf(errs)
}

// sweeper is the shelf to one who tidies it.
type sweeper struct{ *shelf }

func (o *sweeper) sweepTrash(ctx context.Context) error {
	names, err := listNames(o.trash)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		if ctx.Err() != nil {
			break
		}
		errs = append(errs, removeTree(o.trash, name))
	}
	return oneOf(errs)
}

// sweepStage removes staged records: with the key's lock nobody stages one.
func (o *sweeper) sweepStage(context.Context) error {
	names, err := listNames(o.path(stageDir))
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		if hash := strings.TrimSuffix(name, recordSuffix); isHash(hash) {
			errs = append(errs, o.withHash(hash, func() error { return gone(os.Remove(o.path(stageDir, name))) }))
		}
	}
	return oneOf(errs)
}

// withHash does something under the lock of a key's hash.
func (o *lockFiles) withHash(hash string, do func() error) error {
	locks, err := o.lockHashes(hash)
	if err != nil {
		return err
	}
	defer locks.unlock()
	return do()
}

// gone is err, unless it says that something is not there.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// sweepLost removes records whose commit was lost, and writes marks of children
// that were: after a power cut, folders may be of different ages.
func (o *sweeper) sweepLost(context.Context) error {
	all, err := o.readAll()
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range all {
		var lost *unsure
		switch {
		case errors.As(e.err, &lost):
			errs = append(errs, o.removeLost(lost.rec.Key))
		case e.rec != nil && e.rec.Parent != "":
			if _, err := os.Lstat(o.path(childrenDir, hashOf(e.rec.Parent), e.hash)); err != nil {
				errs = append(errs, o.markAgain(e.rec))
			}
		}
	}
	return oneOf(errs)
}

// removeLost removes a commit that was lost, unless it has children: those
// come right when the layer is pulled again.
func (o *sweeper) removeLost(key string) error {
	locks, err := o.lock(key)
	if err != nil {
		return err
	}
	trash := ""
	_, err = o.load(key)
	var lost *unsure
	if errors.As(err, &lost) {
		trash, err = o.removeLocked(key)
	}
	locks.unlock()
	o.discard(trash)
	if _, ok := replaceable(err); ok || isConflict(err) {
		return nil
	}
	return err
}

func (o *sweeper) markAgain(was *record) error {
	locks, err := o.lock(was.Key, was.Parent)
	if err != nil {
		return err
	}
	defer locks.unlock()
	if rec, err := o.load(was.Key); err != nil || rec.Parent != was.Parent {
		return nil // changed meanwhile
	}
	return o.mark(was.Parent, was.Key)
}

// oneOf makes one line of several errors: the first one and how many more.
func oneOf(errs []error) error {
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	switch len(errs) {
	case 0:
		return nil
	case 1:
		return errs[0]
	}
	return fmt.Errorf("%w (and %d more errors)", errs[0], len(errs)-1)
}

// heldAtOnce is how many folders sweepFolders holds while it reads all records.
const heldAtOnce = 128

// sweepFolders moves folders that no record names to the trash. One broken
// record, which might name any of them, stops it.
func (o *sweeper) sweepFolders(context.Context) error {
	// First the folders, then the records: most verbs that are under way are
	// through by then.
	ids, err := listNames(o.d)
	if err != nil {
		return err
	}
	named, err := o.namedFolders()
	if err != nil {
		return err
	}
	var suspects []string
	for _, id := range ids {
		if !named[id] && isID(id) {
			suspects = append(suspects, id)
		}
	}
	for len(suspects) > 0 {
		n := min(len(suspects), heldAtOnce)
		if err := o.sweepHeld(suspects[:n]); err != nil {
			return err
		}
		suspects = suspects[n:]
	}
	return nil
}

// sweepHeld holds the folders, so that no record begins or ceases to name one,
// and throws away those that still have none.
func (o *sweeper) sweepHeld(ids []string) error {
	held := map[string]*os.File{}
	defer func() {
		for _, f := range held {
			f.Close()
		}
	}()
	for _, id := range ids {
		f, err := o.holdFolder(id, false)
		switch {
		case err == nil:
			held[id] = f
		case errors.Is(err, unix.EWOULDBLOCK), errors.Is(err, errGone), errors.Is(err, fs.ErrNotExist):
		default:
			return err
		}
	}
	if len(held) == 0 {
		return nil
	}
	named, err := o.namedFolders()
	if err != nil {
		return err
	}
	for id, f := range held {
		if named[id] {
			continue
		}
		if _, err := o.throwAway(id, f); err != nil {
			return err
		}
	}
	return nil
}

// namedFolders is the set of ids in all records. A record that cannot be read
// is an error.
func (o *records) namedFolders() (map[string]bool, error) {
	all, err := o.readAll()
	if err != nil {
		return nil, err
	}
	named := map[string]bool{}
	for _, e := range all {
		var lost *unsure
		switch {
		case e.rec != nil:
			named[e.rec.ID] = true
		case errors.As(e.err, &lost):
			named[lost.rec.ID] = true
		case e.hash != "":
			return nil, fmt.Errorf("nothing was removed, as any could belong to this: %w", e.err)
		}
	}
	return named, nil
}

// sweepMarks removes marks of children that do not exist, and empty folders of
// such marks.
func (o *sweeper) sweepMarks(context.Context) error {
	parents, err := listNames(o.path(childrenDir))
	if err != nil {
		return err
	}
	var errs []error
	for _, hash := range parents {
		if !isHash(hash) {
			continue
		}
		errs = append(errs, o.withHash(hash, func() error {
			left, err := o.childrenOf(hash)
			if err == nil && len(left) == 0 {
				err = gone(os.Remove(o.path(childrenDir, hash)))
			}
			return err
		}))
	}
	return oneOf(errs)
}

// sweepUnsynced removes marks of commits that do not exist or were synced.
func (o *sweeper) sweepUnsynced(context.Context) error {
	names, err := listNames(o.path(unsyncedDir))
	if err != nil {
		return err
	}
	var errs []error
	for _, hash := range names {
		if !isHash(hash) {
			continue
		}
		errs = append(errs, o.withHash(hash, func() error {
			rec, err := o.loadHash(hash)
			if errors.Is(err, fs.ErrNotExist) || err == nil && rec.Unsynced == "" {
				return gone(os.Remove(o.path(unsyncedDir, hash)))
			}
			return nil
		}))
	}
	return oneOf(errs)
}
