package engine

import (
	"context"
	"fmt"

	"berth/base/fault"
	"berth/container"
)

// Containers lists all containers, newest first. It changes nothing, but that
// monitors that were lost are replaced.
func Containers(ctx context.Context, e *Engine) ([]container.Summary, error) {
	all, err := e.Containers.List(ctx)
	if err != nil {
		return nil, err
	}
	kept := all[:0]
	for _, s := range all {
		if !s.Facts.Orphaned || e.relook(ctx, &s) {
			kept = append(kept, s)
		}
	}
	return kept, nil
}

// relook replaces the lost monitor of a container in a list, unless another verb
// is at work on it, and tells whether the container is still there.
func (e *Engine) relook(ctx context.Context, s *container.Summary) bool {
	l, err := e.Containers.TryLock(ctx, s.ID)
	if err == nil {
		err = adoptLocked(ctx, e, l)
		_ = l.Unlock()
	}
	if err != nil && !fault.Is(err, fault.Busy) && !fault.Is(err, fault.NotFound) {
		e.warn(fmt.Errorf("replace the monitor of container %s: %w", s.Name, err))
	}
	f, err := e.Containers.Facts(ctx, s.ID)
	if err == nil {
		s.Facts = *f
	}
	return !fault.Is(err, fault.NotFound)
}

// ContainerSize is what a container takes: its own files, and with those of its
// image, in bytes.
func ContainerSize(ctx context.Context, e *Engine, id container.ID) (own, all int64, err error) {
	rec, err := e.Containers.Get(ctx, string(id))
	if err != nil {
		return 0, 0, err
	}
	if own, err = e.Writables.Usage(ctx, rec.Snapshot); err != nil {
		return 0, 0, err
	}
	img, err := e.Images.Find(ctx, rec.Image.ID)
	if isNotFound(err) {
		return own, own, nil
	}
	return own, own + img.Size, err
}
