package engine

import (
	"context"

	"berth/base/fault"
	"berth/container"
)

// What a verb leaves that was killed:
//
//	create, before there is a record   the next list, or rm of that name, takes it away (sweep)
//	create, after that; rm, --rm       the next verb that meets the container removes it (finishRemoval)
//	restart of one with --rm           the next verb that meets the container removes it
//	start                              the next list, start or rm drops what was half made (stopHalf, dropHalf)
//	rm of one with --userns=auto       the next list, rm or create of such a one gives its ids back
//	rm where SELinux is active          the next list or rm gives its level back
//	commit                             the next verb thaws the container (thaw)
//
// A verb that is at work holds the container's lock, and is not disturbed.

// sweep takes away what is left of containers without a record. Where there is
// nothing it reads three folders.
func (e *Engine) sweep(ctx context.Context) {
	if _, err := e.Containers.Sweep(ctx, e.dropper(ctx)); err != nil {
		e.warn(err)
	}
	if e.Defaults.Rootless {
		if err := e.Parts.Sweep(); err != nil {
			e.warn(err)
		}
	}
	if err := e.Levels.Sweep(); err != nil {
		e.warn(err)
	}
}

// dropper takes away what other rooms have of a container without a record.
func (e *Engine) dropper(ctx context.Context) func(container.ID, container.Intent) error {
	return func(id container.ID, i container.Intent) error {
		for _, name := range i.Made {
			err := e.Volumes.Remove(ctx, name, e.volumeUsersBut(ctx, id))
			if err != nil && !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Conflict) {
				return err
			}
		}
		return e.Writables.Remove(ctx, snapshotOf(id))
	}
}

// snapshotPrefix begins the keys of containers' writable trees.
const snapshotPrefix = "container-"

func snapshotOf(id container.ID) string { return snapshotPrefix + string(id) }

// finishRemoval goes on with a removal that was killed, or removes what a create has
// not finished or a restart left.
func finishRemoval(ctx context.Context, e *Engine, l *container.Locked, f *container.Facts) error {
	rec, err := l.Record()
	if err != nil {
		return err
	}
	e.Writables.Cleanup(ctx)
	return removeLocked(ctx, e, l, rec, f.RemovingVolumes || f.Unfinished || f.Unheld)
}

// freeName takes away the container that has a name, if it is a killed verb's, and
// tells whether it did.
func freeName(ctx context.Context, e *Engine, name string) bool {
	id, err := e.Containers.Find(ctx, name)
	if err != nil {
		return false
	}
	l, err := e.Containers.TryLock(ctx, id)
	if err != nil {
		return false
	}
	defer l.Unlock()
	f, err := l.Facts()
	return err == nil && doomed(f) && finishRemoval(ctx, e, l, f) == nil
}
