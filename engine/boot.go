package engine

import (
	"context"
	"slices"
	"strings"
	"sync"

	"berth/base/fault"
	"berth/container"
)

// BootRequest is system boot.
type BootRequest struct {
	// Each is told of each container that was started, or was to be; one after the
	// other; may be nil.
	Each func(name string, err error)
}

// Boot starts the containers that run again after the machine was started, by
// container.AtBoot, and ends removals that the last boot had begun. Those whose
// namespaces others join come first. One that runs is left alone.
func Boot(ctx context.Context, e *Engine, r BootRequest) error {
	e.host() // looked at once, before several do
	all, err := Containers(ctx, e)
	if err != nil {
		return err
	}
	slices.Reverse(all) // the oldest first
	var wanted []*container.Record
	for i := range all {
		s := &all[i]
		if s.State() == container.StateRemoving {
			if err := Remove(ctx, e, RemoveRequest{Container: string(s.ID)}); err != nil && !fault.Is(err, fault.NotFound) {
				e.warn(err)
			}
		}
		if !container.AtBoot(s.Restart, &s.Facts) {
			continue
		}
		rec, err := e.Containers.Get(ctx, string(s.ID))
		if fault.Is(err, fault.NotFound) {
			continue
		}
		if err != nil {
			r.tell(s.Name, err)
			continue
		}
		wanted = append(wanted, rec)
	}
	for len(wanted) > 0 && ctx.Err() == nil {
		now, later := firstOf(wanted)
		bootAll(ctx, e, now, &r)
		wanted = later
	}
	return ctx.Err()
}

func (r *BootRequest) tell(name string, err error) {
	if r.Each != nil {
		r.Each(name, err)
	}
}

// firstOf splits containers into those that join no other one of them, and the
// rest. A ring is not waited for.
func firstOf(all []*container.Record) (now, later []*container.Record) {
	for _, rec := range all {
		if slices.ContainsFunc(all, func(other *container.Record) bool { return joins(rec, other) }) {
			later = append(later, rec)
		} else {
			now = append(now, rec)
		}
	}
	if len(now) == 0 {
		return later, nil
	}
	return now, later
}

// joins reports whether a container takes a namespace of another one.
func joins(rec, other *container.Record) bool {
	c := &rec.Config
	for _, mode := range []string{c.Network.Mode, c.Namespaces.PID, c.Namespaces.IPC, c.Namespaces.User} {
		if name, ok := strings.CutPrefix(mode, "container:"); ok && (name == string(other.ID) || name == other.Name) {
			return rec.ID != other.ID
		}
	}
	return false
}

func bootAll(ctx context.Context, e *Engine, all []*container.Record, r *BootRequest) {
	var wait sync.WaitGroup
	var told sync.Mutex
	turns := make(turns, atWork)
	for _, rec := range all {
		wait.Go(func() {
			started := false
			err := turns.take(func() (err error) {
				started, err = bootOne(ctx, e, rec.ID)
				return err
			})
			if !started && err == nil {
				return
			}
			told.Lock()
			defer told.Unlock()
			r.tell(rec.Name, err)
		})
	}
	wait.Wait()
}

// bootOne starts a container that is still to be started when its lock is ours.
func bootOne(ctx context.Context, e *Engine, id container.ID) (bool, error) {
	l, err := e.Containers.Lock(ctx, id)
	if fault.Is(err, fault.NotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer l.Unlock()
	if _, err := settleLocked(ctx, e, l); err != nil {
		return false, err
	}
	rec, err := l.Record()
	if err != nil {
		return false, err
	}
	facts, err := l.Facts()
	if err != nil || !container.AtBoot(rec.Config.Restart, facts) {
		return false, err
	}
	return true, startLocked(ctx, e, l, start{byUser: true})
}
