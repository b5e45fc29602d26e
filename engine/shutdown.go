package engine

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"berth/base/fault"
	"berth/container"
)

// ShutdownRequest is system shutdown.
type ShutdownRequest struct {
	Timeout *int // seconds for each container; nil: its own
	// Each is told of each container, one after the other; may be nil.
	Each func(name string, err error)
}

// longestStop is how long a container that wants to be waited for for ever is
// waited for by a machine that goes down, in seconds.
const longestStop = 300

// afterKill is how long a killed container may take to end.
const afterKill = 10 * time.Second

// atWork is how many containers are started or settled at once at boot and at
// shutdown. Those that are only waited for do not count.
const atWork = 8

// Shutdown ends all containers as a machine that goes down does: each gets its
// stop signal, all at once, and SIGKILL when its time is over. That is no user's
// stop: what is to run at boot comes back by Boot.
func Shutdown(ctx context.Context, e *Engine, r ShutdownRequest) error {
	e.host() // looked at once, before several do
	var failed []container.ID
	for range 3 { // a restart policy may have been starting some while we looked
		all, err := Containers(ctx, e)
		if err != nil {
			return err
		}
		all = slices.DeleteFunc(all, func(s container.Summary) bool {
			st := s.State()
			return !st.Live() && st != container.StateRestarting && !s.Facts.Watched && !starting(ctx, e, &s) || slices.Contains(failed, s.ID)
		})
		if len(all) == 0 {
			return nil
		}
		failed = append(failed, shutAll(ctx, e, all, r)...)
	}
	return ctx.Err()
}

// starting tells of a container that looks ended whether its restart policy is
// starting it: that forgets the wait first and then the end.
func starting(ctx context.Context, e *Engine, s *container.Summary) bool {
	if !s.Restart.Wanted() || !s.Facts.ThisBoot {
		return false
	}
	l, err := e.Containers.TryLock(ctx, s.ID)
	if err != nil {
		return fault.Is(err, fault.Busy)
	}
	_ = l.Unlock()
	return false
}

// shutAll ends containers at once and lists those that did not.
func shutAll(ctx context.Context, e *Engine, all []container.Summary, r ShutdownRequest) (failed []container.ID) {
	var wait sync.WaitGroup
	var told sync.Mutex
	turns := make(turns, atWork)
	for _, s := range all {
		wait.Go(func() {
			ran, err := shut(ctx, e, s.ID, r.Timeout, turns)
			told.Lock()
			defer told.Unlock()
			if err != nil {
				failed = append(failed, s.ID)
			}
			// One whose last run was only being settled has been told of.
			if st := s.State(); r.Each != nil && (ran || err != nil || st.Live() || st == container.StateRestarting) {
				r.Each(s.Name, err)
			}
		})
	}
	wait.Wait()
	return failed
}

// turns bounds how many are at work.
type turns chan struct{}

func (t turns) take(do func() error) error {
	t <- struct{}{}
	defer func() { <-t }()
	return do()
}

// shut ends one, and tells whether it ran.
func shut(ctx context.Context, e *Engine, id container.ID, timeout *int, t turns) (ran bool, err error) {
	var s *stopping
	err = t.take(func() (err error) {
		s, err = beginStop(ctx, e, id, StopRequest{Timeout: timeout, shutdown: true})
		return err
	})
	if err != nil || s == nil {
		return false, err
	}
	defer s.Close()
	if err := s.wait(ctx, e); err != nil {
		return true, fmt.Errorf("wait for its end: %w", err)
	}
	return true, t.take(func() error { return s.settle(ctx, e) })
}
