package engine

import (
	"context"

	"berth/base/fault"
	"berth/container"
	"berth/monitor"
)

// Init is podman's init: everything of a start but the program, which waits for
// one. Error: Conflict for a container that runs or waits already.
func Init(ctx context.Context, e *Engine, name string) error {
	id, err := e.Containers.Find(ctx, name)
	if err != nil {
		return err
	}
	l, err := e.Containers.Lock(ctx, id)
	if err != nil {
		return err
	}
	defer l.Unlock()
	if _, err := settleLocked(ctx, e, l); err != nil {
		return err
	}
	facts, err := l.Facts()
	if err != nil {
		return err
	}
	if s := facts.State(); s != container.StateCreated && s != container.StateExited {
		return fault.New(fault.Conflict, "container %s has already been created in runtime: container state improper", id)
	}
	rec, err := l.Record()
	if err != nil {
		return err
	}
	if err := startLocked(ctx, e, l, start{byUser: true, waits: true}); err != nil {
		return err
	}
	e.tell(rec, "init", nil)
	return nil
}

// startWaiting runs the program of a container that waits for it.
func startWaiting(ctx context.Context, e *Engine, l *container.Locked, connected func(container.ID, *monitor.Conn) error) error {
	rec, err := l.Record()
	if err != nil {
		return err
	}
	facts, err := l.Facts()
	if err != nil {
		return err
	}
	conn, err := monitor.Dial(e.Containers.RunDir(rec.ID))
	if err != nil {
		return err
	}
	defer conn.Close()
	if connected != nil {
		if err := connected(rec.ID, conn); err != nil {
			return err
		}
	}
	if err := l.Runs(); err != nil {
		return err
	}
	if err := e.Runtime.Start(ctx, string(rec.ID)); err != nil && !fault.Is(err, fault.Conflict) {
		if failed := endLocked(context.WithoutCancel(ctx), e, l, rec, l.Stopped); failed != nil {
			e.warn(failed)
		}
		_ = l.Failed(failureCode(err), err)
		return err
	}
	if err := writePIDFile(rec.Config.Life.PIDFile, facts.Started.PID); err != nil {
		return err
	}
	e.tell(rec, "start", nil)
	return nil
}
