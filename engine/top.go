package engine

import (
	"context"

	"berth/base/fault"
	"berth/container"
	"berth/sys/proctable"
)

// Top lists the processes of a container as ps does, by the options of ps.
func Top(ctx context.Context, e *Engine, name string, ps []string) (titles []string, rows [][]string, err error) {
	rec, err := runningRecord(ctx, e, name)
	if err != nil {
		return nil, nil, err
	}
	format, err := proctable.Parse(ps)
	if err != nil {
		return nil, nil, err
	}
	pids, err := e.Runtime.PIDs(string(rec.ID))
	if err != nil {
		return nil, nil, err
	}
	titles, rows = format.Rows(pids)
	return titles, rows, nil
}

// runningRecord is the record of a container that runs.
func runningRecord(ctx context.Context, e *Engine, name string) (*container.Record, error) {
	rec, err := e.Containers.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	facts, err := e.Containers.Facts(ctx, rec.ID)
	if err != nil {
		return nil, err
	}
	if !facts.State().Live() {
		return nil, fault.New(fault.Conflict, "Container %s is not running", rec.ID)
	}
	return rec, nil
}
