package engine

import (
	"context"

	"berth/base/fault"
	"berth/container"
	"berth/monitor"
)

// RunRequest creates a container and starts it.
type RunRequest struct {
	CreateRequest
	// Created is told the id, before the start.
	Created func(container.ID) error
	// Connected: see StartRequest.
	Connected func(*monitor.Conn) error
}

// Run is create and start. When the start fails the container stays as created,
// unless it is to be removed anyway.
func Run(ctx context.Context, e *Engine, r RunRequest) (container.ID, error) {
	id, err := Create(ctx, e, r.CreateRequest)
	if err != nil {
		return "", err
	}
	if r.Created != nil {
		if err := r.Created(id); err != nil {
			return id, err
		}
	}
	l, err := e.Containers.Lock(ctx, id)
	if err != nil {
		return id, err
	}
	defer l.Unlock()
	if err = startLocked(ctx, e, l, start{byUser: true, connected: r.Connected}); err == nil || !r.Config.Life.Remove {
		return id, err
	}
	rec, failed := l.Record()
	if failed == nil {
		failed = removeLocked(context.WithoutCancel(ctx), e, l, rec, true)
	}
	if failed != nil && !fault.Is(failed, fault.NotFound) {
		e.warn(failed)
	}
	return id, err
}

// Follow waits for the exit that w was registered for with follow, and does
// what follows it, so that the monitor need not start another program for it.
func Follow(ctx context.Context, e *Engine, id container.ID, w *monitor.Watch) (code int, err error) {
	exit, err := w.Wait(ctx)
	if fault.Is(err, fault.Unavailable) { // the monitor died
		if err := awaitEnd(ctx, e, id, nil); err != nil {
			return 0, err
		}
		if _, err := Exited(ctx, e, id); err != nil {
			return 0, err
		}
		return ended(ctx, e, id)
	}
	if err != nil {
		return 0, err
	}
	if !exit.Yours {
		return exit.Code, nil
	}
	again, err := Exited(context.WithoutCancel(ctx), e, id)
	if err != nil {
		return exit.Code, err // the monitor has it done by another
	}
	if again != nil {
		return exit.Code, w.Verdict(true, again.After)
	}
	_ = w.Verdict(false, 0) // it may have ended by itself
	return exit.Code, nil
}

// ended is how a container's last run ended, also shortly after its removal.
func ended(ctx context.Context, e *Engine, id container.ID) (int, error) {
	exit, err := e.Containers.Ended(ctx, id)
	return exit.Code, err
}

// Restarted starts a container again, as its restart policy wanted: called for
// by its monitor, whose connection it uses.
func Restarted(ctx context.Context, e *Engine, id container.ID) error {
	l, err := e.Containers.Lock(ctx, id)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer l.Unlock()
	facts, err := l.Facts()
	if err != nil {
		return err
	}
	if facts.Stopped || facts.State() != container.StateRestarting {
		return nil
	}
	conn, err := monitor.Dial(e.Containers.RunDir(id))
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	if conn != nil {
		defer conn.Close()
	}
	return startLocked(ctx, e, l, start{monitor: conn})
}
