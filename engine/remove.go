package engine

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/container"
	"berth/container/config"
	"berth/files"
	"berth/monitor"
)

// RemoveRequest is rm.
type RemoveRequest struct {
	Container string
	Force     bool // kill it first
	Volumes   bool // its anonymous ones too
}

// Remove removes a container with all that is its own.
func Remove(ctx context.Context, e *Engine, r RemoveRequest) error {
	err := reach(ctx, e, r.Container, func(l *container.Locked, rec *container.Record, facts *container.Facts) error {
		if s := facts.State(); s.Live() || s == container.StateRestarting {
			if !r.Force && s != container.StateInitialized {
				verb := "Stop the container before attempting removal or force remove"
				if s == container.StatePaused {
					verb = "Unpause and then stop the container before attempting removal or force remove"
				}
				return fault.New(fault.Conflict, "You cannot remove a %s container %s. %s", s, rec.ID, verb)
			}
			if err := endLocked(ctx, e, l, rec, l.Stopped); err != nil {
				return err
			}
		}
		return removeLocked(ctx, e, l, rec, r.Volumes || facts.RemovingVolumes || facts.Unfinished)
	})
	if fault.Is(err, fault.NotFound) { // or what a killed command left of it
		e.sweep(ctx)
	}
	return err
}

// endLocked kills a running container and settles it; its restart policy rests,
// as note says.
func endLocked(ctx context.Context, e *Engine, l *container.Locked, rec *container.Record, note func() error) error {
	if err := note(); err != nil && !full(err) {
		return err
	}
	facts, err := l.Facts()
	if err != nil {
		return err
	}
	if facts.State().Live() {
		w, err := watch(e, rec.ID)
		if err != nil {
			return err
		}
		if w != nil {
			defer w.Close()
		}
		if err := killAll(ctx, e, rec.ID, facts); err != nil {
			return err
		}
		if err := awaitEnd(ctx, e, rec.ID, w); err != nil {
			return err
		}
	}
	if _, err := settleLocked(ctx, e, l); err != nil && !full(err) {
		return err
	}
	if facts.State() == container.StateRestarting {
		dismiss(e.Containers.RunDir(rec.ID), 200*time.Millisecond)
	}
	return nil
}

// dismiss ends a monitor that waits to start its container again. One whose word
// is at work already waits for the lock that the caller has, so it is not waited
// for long: the word finds that it is not wanted any more.
func dismiss(runDir string, limit time.Duration) {
	conn, err := monitor.Dial(runDir)
	if err != nil {
		return
	}
	defer conn.Close()
	_ = conn.Hold() // the ports are free whether it goes now or later
	_ = conn.Dismiss(limit)
}

// full tells that there is no room. A removal goes on without what it cannot write
// down: it gives room.
func full(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// removeLocked removes a container that does not run. It can be repeated after
// a crash at any point.
func removeLocked(ctx context.Context, e *Engine, l *container.Locked, rec *container.Record, volumes bool) error {
	return removePassing(ctx, e, l, rec, volumes, &passing{e: e})
}

// removePassing is removeLocked of a container whose files may be going already.
func removePassing(ctx context.Context, e *Engine, l *container.Locked, rec *container.Record, volumes bool, p *passing) (err error) {
	defer func() { err = cmp.Or(err, p.wait()) }()
	if err := l.Removing(volumes); err != nil && !full(err) {
		return err
	}
	if err := bequeath(ctx, e, rec); err != nil {
		return err
	}
	if err := release(ctx, e, rec, nil, e.Networks.Release); err != nil {
		return err
	}
	if err := files.Hide(e.Containers.MountPoint(rec.ID), true); err != nil {
		return err
	}
	p.begin(ctx, rec)
	for i := range rec.Mounts {
		if rec.Mounts[i].Kind == config.MountImage {
			if err := e.Writables.Remove(ctx, imageKey(rec, i)); err != nil {
				return err
			}
		}
	}
	if volumes {
		if err := removeAnonymous(ctx, e, rec); err != nil {
			return err // the record stays: it alone knows their names
		}
	}
	if err := p.wait(); err != nil {
		return err // so does it: without one, nobody would look for what is left of them
	}
	if err := l.Remove(); err != nil {
		return err
	}
	if err := cmp.Or(givePart(ctx, e, rec), giveLevel(e, rec)); err != nil {
		return err
	}
	e.tell(rec, "destroy", nil)
	return nil
}

// removeAnonymous removes the anonymous volumes of a container, but those that
// others use, too.
func removeAnonymous(ctx context.Context, e *Engine, rec *container.Record) error {
	var failed error
	for _, m := range rec.Mounts {
		if m.Kind != config.MountVolume || !m.Anonymous {
			continue
		}
		err := e.Volumes.Remove(ctx, m.Name, e.volumeUsersBut(ctx, rec.ID))
		if err != nil && !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Conflict) {
			failed = cmp.Or(failed, err)
		}
	}
	return failed
}

// dropHalf takes away what a start that was killed before it was written down has
// left: a first process that waits, and its monitor. The monitor of the last run,
// whose word may be at work, is not waited for.
func dropHalf(ctx context.Context, e *Engine, id container.ID) error {
	dismiss(e.Containers.RunDir(id), 0)
	if _, err := os.Lstat(filepath.Join(e.Runtime.Root, string(id))); err != nil {
		return nil
	}
	return e.Runtime.Delete(ctx, string(id), true)
}
