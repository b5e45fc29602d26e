package engine

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/container"
	"berth/monitor"
	"berth/network"
)

// A monitor that was killed is replaced by the next verb that looks at its
// container:
//
//	the container runs                 a new monitor takes it over, with its streams and ports
//	it has ended, nobody settled it    it is settled; the restart policy has it started again
//	it waited to be started again      a new monitor waits for the rest of the time

// facts looks at a container for a verb; what a dead one should have done is done:
// a monitor that was lost is replaced, a removal finished, a freeze thawed.
func (e *Engine) facts(ctx context.Context, id container.ID) (*container.Facts, error) {
	f, err := e.Containers.Facts(ctx, id)
	if err == nil && f.State().Live() && network.LeaseLost(e.Networks, id) {
		if err := leaseAgain(ctx, e, id); err != nil {
			e.warn(err)
		}
	}
	if err != nil || !undone(f) {
		return f, err
	}
	lock := e.Containers.Lock
	if f.Removing || f.Unfinished { // nobody waits for one that is at work
		lock = e.Containers.TryLock
	}
	l, err := lock(ctx, id)
	if err == nil {
		err = adoptLocked(ctx, e, l)
		_ = l.Unlock()
	}
	if err != nil && !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Busy) {
		return nil, err
	}
	return e.Containers.Facts(ctx, id)
}

// undone tells that a verb or a monitor that was killed left something to be done,
// or is doing it.
func undone(f *container.Facts) bool { return f.Orphaned || f.Forgotten || doomed(f) }

// doomed tells of a container whose lock the caller has that it is to go: who
// removed it, or was making it, or with --rm was to start it again, was killed.
func doomed(f *container.Facts) bool { return f.Removing || f.Unfinished || f.Unheld }

// adoptLocked does for a container what its lost monitor, or a verb that was
// killed, would have done.
func adoptLocked(ctx context.Context, e *Engine, l *container.Locked) error {
	settled, err := settleLocked(ctx, e, l)
	if err != nil {
		return err
	}
	facts, err := l.Facts()
	if err != nil {
		return err
	}
	if doomed(facts) {
		return finishRemoval(ctx, e, l, facts)
	}
	if settled == nil || !settled.First {
		return nil
	}
	switch {
	case settled.Again != nil:
		return awaitAgain(ctx, e, l, settled.Record, settled.Again)
	case settled.Goes:
		return removeLocked(ctx, e, l, settled.Record, true)
	}
	return nil
}

// replaceMonitor starts a new monitor for a container that runs or waits to be
// started again, and returns what is known then.
func replaceMonitor(ctx context.Context, e *Engine, l *container.Locked, f *container.Facts) (*container.Facts, error) {
	rec, err := l.Record()
	if err != nil {
		return nil, err
	}
	switch {
	case f.Restarting != nil && f.Exit != nil:
		err = awaitAgain(ctx, e, l, rec, f.Restarting)
	case f.State().Live():
		err = takeOver(ctx, e, l, rec, f)
	default:
		return f, nil
	}
	if err != nil {
		return nil, err
	}
	return l.Facts()
}

// takeOver gives a running container a new monitor.
func takeOver(ctx context.Context, e *Engine, l *container.Locked, rec *container.Record, f *container.Facts) error {
	err := rewatch(ctx, e, l, rec, func(cfg *monitor.Config) {
		cfg.Lost = &monitor.Process{PID: f.Started.PID, StartTime: f.Started.StartTime}
		cfg.Left = cfg.Timeout - time.Since(f.Started.At)
	}, len(f.Started.Ports) > 0)
	if errors.Is(err, unix.ESRCH) { // it has ended in this moment
		return nil
	}
	return err
}

// awaitAgain has a new monitor wait for the moment of a restart.
func awaitAgain(ctx context.Context, e *Engine, l *container.Locked, rec *container.Record, r *container.Restarting) error {
	return rewatch(ctx, e, l, rec, func(cfg *monitor.Config) { cfg.AgainIn = max(time.Until(r.At), time.Millisecond) }, false)
}

// rewatch starts another monitor for the run of a container, with what is to be
// told it besides, and has it hold the run's ports. Error: ESRCH if that ended at
// once.
func rewatch(ctx context.Context, e *Engine, l *container.Locked, rec *container.Record, tell func(*monitor.Config), ports bool) error {
	cfg, err := monitorConfig(e, rec, e.Containers.RunDir(rec.ID))
	if err != nil {
		return err
	}
	tell(&cfg)
	conn, err := startMonitor(ctx, e, cfg, nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	watcher, err := identify(conn)
	if err != nil {
		return err
	}
	if ports {
		// What another has taken meanwhile is its own; the firewall still leads it here.
		if a, err := e.Networks.Hold(rec.ID); err != nil {
			e.warn(err)
		} else {
			defer closeFiles(a.Hold)
			if err := conn.Hold(a.Hold...); err != nil {
				return err
			}
			if err := awaitVisitors(a, conn); err != nil {
				e.warn(err)
			}
		}
	}
	if err := l.Rewatched(watcher); err != nil || !network.Served(e.Networks, rec.ID) {
		return err
	}
	f, err := l.Facts()
	if err != nil || !f.State().Live() || f.Started == nil {
		return err
	}
	// The monitor that was lost watched the resolver; that may be lost too.
	if err := renewNames(ctx, e, rec.ID, f.Started.PID, conn); err != nil {
		e.warn(err)
	}
	return nil
}
