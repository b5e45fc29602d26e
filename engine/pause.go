package engine

import (
	"context"

	"berth/base/fault"
	"berth/container"
)

// Pause freezes all processes of a container.
func Pause(ctx context.Context, e *Engine, name string) error {
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
		err := e.Runtime.Pause(ctx, string(rec.ID))
		if fault.Is(err, fault.Conflict) { // it has just ended
			return fault.New(fault.Conflict, "Container %s is not running", rec.ID)
		}
		if err != nil {
			return err
		}
		if err := l.Paused(true); err != nil {
			return err
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
		if err := e.Runtime.Resume(ctx, string(rec.ID)); err != nil {
			return err
		}
		if err := l.Paused(false); err != nil {
			return err
		}
		e.tell(rec, "unpause", nil)
		return nil
	})
}

// change does something to one container under its lock, with what is known of
// it brought up to date.
func change(ctx context.Context, e *Engine, name string, do func(*container.Locked, *container.Record, *container.Facts) error) error {
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
