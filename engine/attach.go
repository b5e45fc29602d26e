package engine

import (
	"context"

	"berth/base/fault"
	"berth/container"
	"berth/monitor"
)

// Attach connects to a running container's monitor, for its streams.
func Attach(ctx context.Context, e *Engine, name string) (*container.Record, *monitor.Conn, error) {
	rec, err := e.Containers.Get(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	facts, err := e.Containers.Facts(ctx, rec.ID)
	if err != nil {
		return nil, nil, err
	}
	switch facts.State() {
	case container.StateRunning:
	case container.StatePaused:
		return nil, nil, fault.New(fault.Conflict, "You cannot attach to a paused container, unpause it first")
	case container.StateRestarting:
		return nil, nil, fault.New(fault.Conflict, "You cannot attach to a restarting container, wait until it is running")
	default:
		return nil, nil, fault.New(fault.Conflict, "You cannot attach to a stopped container, start it first")
	}
	conn, err := dialMonitor(ctx, e, rec.ID)
	if err != nil {
		return nil, nil, err
	}
	e.tell(rec, "attach", nil)
	return rec, conn, nil
}
