package engine

import (
	"cmp"
	"context"
	"strconv"
	"time"

	"berth/base/fault"
	"berth/container"
	"berth/container/config"
	"berth/volume"
)

// Again says that a container is started anew after some time.
type Again struct{ After time.Duration }

// Exited does what follows the end of a container's first process: what the
// runtime, the networks and the id ranges hold for it is given back, and a
// container with --rm goes. It tells whether the restart policy wants it again.
// It may be called by several at once, and for a container that is gone.
func Exited(ctx context.Context, e *Engine, id container.ID) (*Again, error) {
	l, err := e.Containers.Lock(ctx, id)
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer l.Unlock()
	p := passing{e: e}
	settled, err := settle(ctx, e, l, &p)
	if err != nil || settled == nil {
		return nil, cmp.Or(err, p.wait())
	}
	if settled.Again != nil {
		return &Again{settled.Again.Delay}, nil
	}
	if settled.Goes {
		return nil, removePassing(ctx, e, l, settled.Record, true, &p)
	}
	return nil, nil
}

// passing is the removal of a container's files under way.
type passing struct {
	e    *Engine
	done chan error // nil before it has begun
}

// begin begins it, once.
func (p *passing) begin(ctx context.Context, rec *container.Record) {
	if p.done != nil {
		return
	}
	done := make(chan error, 1)
	p.done = done
	go func() {
		defer close(done)
		done <- p.e.Writables.Remove(context.WithoutCancel(ctx), rec.Snapshot)
	}()
}

// wait waits for its end, if it has begun.
func (p *passing) wait() error {
	if p.done == nil {
		return nil
	}
	return <-p.done
}

// settleLocked gives back what an ended run held. It returns nil for a container
// that runs, or never ran.
func settleLocked(ctx context.Context, e *Engine, l *container.Locked) (*container.Settled, error) {
	return settle(ctx, e, l, nil)
}

// settle is settleLocked. With p it begins to remove the files of a container with
// --rm, beside the rest, when no process can be left in them.
func settle(ctx context.Context, e *Engine, l *container.Locked, p *passing) (*container.Settled, error) {
	facts, err := l.Facts()
	if err != nil {
		return nil, err
	}
	if facts.Forgotten {
		if err := thaw(ctx, e, l); err != nil {
			return nil, err
		}
		if facts, err = l.Facts(); err != nil {
			return nil, err
		}
	}
	if facts.Orphaned {
		if facts, err = replaceMonitor(ctx, e, l, facts); err != nil {
			return nil, err
		}
	}
	if facts.State().Live() || facts.Started == nil {
		return nil, nil
	}
	settled, err := l.Settle(p != nil)
	if err != nil || !settled.First {
		return settled, err
	}
	rec := settled.Record
	if p != nil && settled.Goes && rec.Config.Namespaces.PID == "" {
		p.begin(ctx, rec)
	}
	if err := release(ctx, e, rec, facts.Started.Range, e.Networks.Detach); err != nil {
		return nil, err
	}
	if settled.Again == nil {
		letGo(e.Containers.RunDir(rec.ID), facts.Started)
	}
	if settled.Exit.OOM {
		e.tell(rec, "oom", nil)
	}
	e.tell(rec, "die", map[string]string{"exitCode": strconv.Itoa(settled.Exit.Code)})
	tellOfNetworks(e, rec, "disconnect")
	return settled, nil
}

// release gives back what a run held besides its files. ids are those it had,
// nil if that is not known; leave is how it leaves its networks.
func release(ctx context.Context, e *Engine, rec *container.Record, ids *container.Range, leave func(context.Context, container.ID) error) error {
	ctx = context.WithoutCancel(ctx)
	if err := e.Runtime.Delete(ctx, string(rec.ID), true); err != nil {
		return err
	}
	if err := leave(ctx, rec.ID); err != nil {
		return err
	}
	if err := detachVolumes(ctx, e, rec); err != nil {
		return err
	}
	if err := dropSecrets(e, rec); err != nil {
		return err
	}
	if others, _, err := sharersOf(ctx, e, rec.ID); err != nil || len(others) > 0 {
		return err // who live on with those ids
	}
	return e.Ranges.Give(string(rec.ID), ids)
}

// detachVolumes lets go of the volumes that startMounts attached.
func detachVolumes(ctx context.Context, e *Engine, rec *container.Record) error {
	for _, m := range rec.Mounts {
		if m.Kind != config.MountVolume {
			continue
		}
		if err := e.Volumes.Detach(ctx, m.Name, e.volumeRunners(ctx, rec.ID)); err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
	}
	return nil
}

// volumeRunners tells which running containers use a volume, besides one.
func (e *Engine) volumeRunners(ctx context.Context, but container.ID) volume.InUse {
	return e.usersOfVolume(ctx, but, func(s *container.Summary) bool { return s.State().Live() })
}
