package engine

import (
	"context"
	"fmt"
	"sync"

	"berth/base/atomicfile"
	"berth/base/fault"
	"berth/container"
)

// Containers lists all containers, newest first. It changes nothing, but that it
// does what monitors and verbs that were killed have left undone.
func Containers(ctx context.Context, e *Engine) ([]container.Summary, error) {
	e.sweep(ctx)
	all, err := e.Containers.List(ctx)
	if err != nil {
		return nil, err
	}
	kept := all[:0]
	begun := sync.OnceValue(e.begun)
	for _, s := range all {
		if s.State() == container.StateCreated && begun()[s.ID] {
			e.stopHalf(ctx, s.ID)
		}
		if !undone(&s.Facts) || e.relook(ctx, &s) {
			kept = append(kept, s)
		}
	}
	return kept, nil
}

// begun is the containers that the runtime has something of.
func (e *Engine) begun() map[container.ID]bool {
	names, _ := atomicfile.Names(e.Runtime.Root) // none before the first start
	ids := make(map[container.ID]bool, len(names))
	for _, name := range names {
		ids[container.ID(name)] = true
	}
	return ids
}

// stopHalf takes away what the first start of a container has left that was killed
// before it was written down, unless another verb is at work on it.
func (e *Engine) stopHalf(ctx context.Context, id container.ID) {
	l, err := e.Containers.TryLock(ctx, id)
	if err != nil {
		return
	}
	defer l.Unlock()
	facts, err := l.Facts()
	if err != nil || facts.State() != container.StateCreated {
		return
	}
	rec, err := l.Record()
	if err == nil {
		err = dropHalf(ctx, e, id)
	}
	if err == nil {
		err = release(ctx, e, rec, nil, e.Networks.Detach)
	}
	if err != nil {
		e.warn(fmt.Errorf("take the half start of container %s away: %w", id, err))
	}
}

// relook does what is undone of a container in a list, unless another verb is at
// work on it, and tells whether the container is still there.
func (e *Engine) relook(ctx context.Context, s *container.Summary) bool {
	l, err := e.Containers.TryLock(ctx, s.ID)
	if err == nil {
		err = adoptLocked(ctx, e, l)
		_ = l.Unlock()
	}
	if err != nil && !fault.Is(err, fault.Busy) && !fault.Is(err, fault.NotFound) {
		e.warn(fmt.Errorf("finish what was begun with container %s: %w", s.Name, err))
	}
	f, err := e.Containers.Facts(ctx, s.ID)
	if err == nil {
		s.Facts = *f
	}
	return !fault.Is(err, fault.NotFound)
}
