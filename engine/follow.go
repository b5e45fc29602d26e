package engine

import (
	"context"
	"fmt"

	"berth/base/fault"
	"berth/container"
	"berth/monitor"
)

// Follow waits for the exit that w was registered for with follow, and does
// what follows it, so that the monitor need not start another program for it.
func Follow(ctx context.Context, e *Engine, id container.ID, w *monitor.Watch) (code int, err error) {
	exit, err := w.Wait(ctx)
	if fault.Is(err, fault.Unavailable) { // the monitor died
		if _, err := e.facts(ctx, id); err != nil && !fault.Is(err, fault.NotFound) {
			return 0, err
		}
		if err := awaitEnd(ctx, e, id, nil); err != nil {
			return 0, err
		}
		if _, err := Exited(ctx, e, id); err != nil {
			return 0, err
		}
		last, err := e.Containers.Ended(ctx, id)
		if err == nil && last.Error == container.MonitorLost {
			e.warn(fmt.Errorf("container %s: its exit code is not known: %s", id, last.Error))
		}
		return last.Code, err
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
