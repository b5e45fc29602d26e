package engine

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/container"
	"berth/monitor"
)

// StopRequest is stop.
type StopRequest struct {
	Container string
	Signal    string // "" for the container's own
	Timeout   *int   // seconds, -1 for ever; nil for the container's own
}

// defaultStop is how long a container has after its stop signal, in seconds.
const defaultStop = 10

// Stop ends a container: its stop signal, and after the timeout SIGKILL. Of one
// that does not run it does nothing.
func Stop(ctx context.Context, e *Engine, r StopRequest) (container.ID, error) {
	id, err := e.Containers.Find(ctx, r.Container)
	if err != nil {
		return "", err
	}
	return id, stop(ctx, e, id, r)
}

func stop(ctx context.Context, e *Engine, id container.ID, r StopRequest) error {
	rec, w, err := beginStop(ctx, e, id, r.Signal)
	if err != nil || rec == nil {
		return err
	}
	if w != nil {
		defer w.Close()
	}
	seconds := defaultStop
	for _, t := range []*int{rec.Resolved.StopTimeout, r.Timeout} {
		if t != nil {
			seconds = *t
		}
	}
	if seconds < 0 {
		err = awaitEnd(ctx, e, id, w)
	} else {
		grace, cancel := context.WithTimeout(ctx, time.Duration(seconds)*time.Second)
		err = awaitEnd(grace, e, id, w)
		cancel()
		if grace.Err() != nil && ctx.Err() == nil {
			if err := Kill(ctx, e, KillRequest{Container: string(id), Signal: "KILL", all: true}); err != nil && !fault.Is(err, fault.Conflict) {
				return err
			}
			err = awaitEnd(ctx, e, id, w)
		}
	}
	if err != nil {
		return err
	}
	if _, err := Exited(ctx, e, id); err != nil {
		return err
	}
	e.tell(rec, "stop", nil)
	return nil
}

// beginStop notes that a user ends the container and sends its signal. rec is
// nil for one that does not run. The lock is not held while it ends.
func beginStop(ctx context.Context, e *Engine, id container.ID, signal string) (*container.Record, *monitor.Watch, error) {
	l, err := e.Containers.Lock(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	defer l.Unlock()
	rec, err := l.Record()
	if err != nil {
		return nil, nil, err
	}
	if _, err := settleLocked(ctx, e, l); err != nil {
		return nil, nil, err
	}
	facts, err := l.Facts()
	if err != nil {
		return nil, nil, err
	}
	if s := facts.State(); !s.Live() {
		if s == container.StateRestarting {
			return nil, nil, endLocked(ctx, e, l, rec)
		}
		return nil, nil, nil
	}
	if err := l.Stopped(); err != nil {
		return nil, nil, err
	}
	w, err := watch(e, id)
	if err != nil {
		return nil, nil, err
	}
	if signal == "" {
		signal = rec.Resolved.StopSignal
	}
	sig, err := parseSignal(signal, unix.SIGTERM)
	if facts.State() == container.StateInitialized {
		sig = unix.SIGKILL // there is no program yet that could take another
	}
	if err == nil {
		// One that has ended in this moment is what was wanted.
		if err = sendSignal(ctx, e, l, rec, facts, sig); fault.Is(err, fault.Conflict) {
			err = nil
		}
	}
	if err != nil {
		if w != nil {
			w.Close()
		}
		return nil, nil, err
	}
	return rec, w, nil
}

// watch registers for the next exit with the container's monitor; nil without
// one.
func watch(e *Engine, id container.ID) (*monitor.Watch, error) {
	conn, err := monitor.Dial(e.Containers.RunDir(id))
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	w, err := conn.Watch("", false)
	if fault.Is(err, fault.Unavailable) { // it has ended since
		return nil, nil
	}
	return w, err
}

// awaitEnd waits for the end of a container's first process. Without a monitor
// it looks at the process itself.
func awaitEnd(ctx context.Context, e *Engine, id container.ID, w *monitor.Watch) error {
	if w != nil {
		_, err := w.Wait(ctx)
		if err == nil || !fault.Is(err, fault.Unavailable) {
			return err
		}
	}
	for {
		facts, err := e.Containers.Facts(ctx, id)
		if fault.Is(err, fault.NotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		switch {
		case !facts.State().Live():
			return nil
		case !facts.Alive: // its monitor is about to say how it ended
			err = waitChange(ctx)
		default:
			err = waitProcess(ctx, facts.Started)
		}
		if err != nil {
			return fmt.Errorf("wait for the end of container %s: %w", id, err)
		}
	}
}
