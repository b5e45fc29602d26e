package engine

import (
	"context"
	"errors"

	"berth/base/fault"
	"berth/container"
)

// Pause freezes all processes of a container.
func Pause(ctx context.Context, e *Engine, name string) error { return pause(ctx, e, name, nil) }

// pause is Pause; with by, the container is thawed again when that process has ended.
func pause(ctx context.Context, e *Engine, name string, by *container.Process) error {
	return change(ctx, e, name, func(l *container.Locked, rec *container.Record, f *container.Facts) error {
		switch f.State() {
		case container.StatePaused:
			return fault.New(fault.Conflict, "Container %s is already paused", rec.ID)
		case container.StateRunning:
		default:
			return fault.New(fault.Conflict, "Container %s is not running", rec.ID)
		}
		if e.host().NoCgroup {
			return fault.New(fault.Unsupported, "pause container %s: %s", rec.Name, needCgroup)
		}
		// The fact first: what is frozen without one nobody would thaw.
		if err := l.Paused(true, by); err != nil {
			return err
		}
		if err := e.Runtime.Pause(ctx, string(rec.ID)); err != nil {
			if fault.Is(err, fault.Conflict) { // it has just ended
				err = fault.New(fault.Conflict, "Container %s is not running", rec.ID)
			} else {
				_ = e.Runtime.Resume(ctx, string(rec.ID)) // half of it may be frozen
			}
			return errors.Join(err, l.Paused(false, nil))
		}
		e.tell(rec, "pause", nil)
		return nil
	})
}

// Unpause thaws them.
func Unpause(ctx context.Context, e *Engine, name string) error {
	return change(ctx, e, name, func(l *container.Locked, rec *container.Record, f *container.Facts) error {
		if f.State() != container.StatePaused {
			return fault.New(fault.Conflict, "Container %s is not paused", rec.ID)
		}
		if err := thaw(ctx, e, l); err != nil {
			return err
		}
		e.tell(rec, "unpause", nil)
		return nil
	})
}

// thaw lets a container go on. One that is not frozen, as its pause or its thaw was
// killed, is what was wanted.
func thaw(ctx context.Context, e *Engine, l *container.Locked) error {
	err := e.Runtime.Resume(ctx, string(l.ID))
	if err != nil && !fault.Is(err, fault.Conflict) && !fault.Is(err, fault.NotFound) {
		return err
	}
	return l.Paused(false, nil)
}

// change does something to one container under its lock, with what is known of
// it brought up to date. One whose create or removal was killed is removed: it is not there.
func change(ctx context.Context, e *Engine, name string, do func(*container.Locked, *container.Record, *container.Facts) error) error {
	return reach(ctx, e, name, func(l *container.Locked, rec *container.Record, facts *container.Facts) error {
		if doomed(facts) {
			if err := finishRemoval(ctx, e, l, facts); err != nil {
				return err
			}
			return fault.New(fault.NotFound, "No such container: %s", name)
		}
		return do(l, rec, facts)
	})
}

// reach is change of one that is being removed, too.
func reach(ctx context.Context, e *Engine, name string, do func(*container.Locked, *container.Record, *container.Facts) error) error {
	id, err := e.Containers.Find(ctx, name)
	if err != nil {
		return err
	}
	l, err := e.Containers.Lock(ctx, id)
	if err != nil {
		return err
	}
	defer l.Unlock()
	rec, err := l.Record()
	if err != nil {
		return err
	}
	if _, err := settleLocked(ctx, e, l); err != nil {
		return err
	}
	facts, err := l.Facts()
	if err != nil {
		return err
	}
	return do(l, rec, facts)
}
