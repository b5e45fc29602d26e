package engine

import (
	"context"

	"berth/base/fault"
	"berth/container"
)

// WaitCondition is what wait waits for.
type WaitCondition string

// The conditions, in docker's words.
const (
	NotRunning WaitCondition = "not-running"
	NextExit   WaitCondition = "next-exit"
	Removed    WaitCondition = "removed"
)

// Wait waits until a container has ended and gives its exit code.
func Wait(ctx context.Context, e *Engine, name string, until WaitCondition) (int, error) {
	id, err := e.Containers.Find(ctx, name)
	if err != nil {
		return 0, err
	}
	if _, err := e.facts(ctx, id); err != nil && !fault.Is(err, fault.NotFound) {
		return 0, err
	}
	if until == NextExit {
		if err := awaitRun(ctx, e, id); err != nil {
			return 0, err
		}
	}
	for {
		w, err := watch(e, id) // before the look, so that no exit falls between
		if err != nil {
			return 0, err
		}
		facts, err := e.Containers.Facts(ctx, id)
		if err == nil && (facts.State().Live() || facts.State() == container.StateRestarting) {
			err = awaitEnd(ctx, e, id, w)
		}
		if w != nil {
			w.Close()
		}
		if err != nil && !fault.Is(err, fault.NotFound) {
			return 0, err
		}
		if until != Removed || fault.Is(err, fault.NotFound) {
			break
		}
		if err := waitChange(ctx); err != nil {
			return 0, err
		}
	}
	if _, err := Exited(ctx, e, id); err != nil {
		return 0, err
	}
	code, err := ended(ctx, e, id)
	if fault.Is(err, fault.NotFound) { // created, never started
		return 0, nil
	}
	return code, err
}

// awaitRun waits until a container runs, or has run and ended since, or is gone.
func awaitRun(ctx context.Context, e *Engine, id container.ID) error {
	var before *container.Started
	for first := true; ; first = false {
		facts, err := e.Containers.Facts(ctx, id)
		if fault.Is(err, fault.NotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if first {
			before = facts.Started
		}
		if facts.State().Live() || facts.State() == container.StateRestarting || !sameRun(before, facts.Started) {
			return nil
		}
		if err := waitChange(ctx); err != nil {
			return err
		}
	}
}

func sameRun(a, b *container.Started) bool {
	return a == nil && b == nil || a != nil && b != nil && a.BootID == b.BootID && a.Process == b.Process
}
