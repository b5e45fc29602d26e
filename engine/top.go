package engine

import (
	"context"

	"berth/base/fault"
	"berth/container"
	"berth/sys/proc"
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
	pids, err := e.pids(ctx, rec)
	if err != nil {
		return nil, nil, err
	}
	titles, rows = format.Rows(pids)
	return titles, rows, nil
}

// pids are the processes of a container: those of its cgroup, or of its pid
// namespace where an ordinary user has no cgroup.
func (e *Engine) pids(ctx context.Context, rec *container.Record) ([]int, error) {
	if !e.host().NoCgroup {
		return e.Runtime.PIDs(string(rec.ID))
	}
	if mode := rec.Config.Namespaces.PID; mode != "" && mode != "private" {
		return nil, fault.New(fault.Unsupported, "list the processes of container %s, which shares its process namespace: %s", rec.Name, needCgroup)
	}
	facts, err := e.Containers.Facts(ctx, rec.ID)
	if err != nil {
		return nil, err
	}
	if !facts.State().Live() {
		return nil, fault.New(fault.Conflict, "Container %s is not running", rec.ID)
	}
	return proc.WithSame(facts.Started.PID, "pid")
}

// runningRecord is the record of a container that runs.
func runningRecord(ctx context.Context, e *Engine, name string) (*container.Record, error) {
	rec, err := e.Containers.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	facts, err := e.facts(ctx, rec.ID)
	if err != nil {
		return nil, err
	}
	if !facts.State().Live() {
		return nil, fault.New(fault.Conflict, "Container %s is not running", rec.ID)
	}
	return rec, nil
}
