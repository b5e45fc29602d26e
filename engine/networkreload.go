package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"berth/base/fault"
	"berth/container"
)

// NetworkReloadRequest is network reload.
type NetworkReloadRequest struct {
	Containers  []string
	All, Latest bool // those that run, and the newest one, whether it runs or not
}

// NetworkReload makes rules and bridges anew, and what is missing of the devices of
// running containers, after somebody flushed or removed them. done is told of each
// container and of its error.
func NetworkReload(ctx context.Context, e *Engine, r NetworkReloadRequest, done func(id container.ID, err error)) error {
	if err := e.Networks.Reload(ctx); err != nil {
		return err
	}
	names := r.Containers
	if r.All || r.Latest {
		all, err := Containers(ctx, e)
		if err != nil {
			return err
		}
		for i := range all {
			if r.Latest && i == 0 || r.All && all[i].State().Live() {
				names = append(names, string(all[i].ID))
			}
		}
	}
	for _, name := range names {
		id, err := e.Containers.Find(ctx, name)
		if err == nil {
			err = reloaded(ctx, e, id)
		}
		done(id, err)
	}
	return finishRewiring(ctx, e)
}

// reloaded is NetworkReload of one container.
func reloaded(ctx context.Context, e *Engine, id container.ID) error {
	f, err := e.facts(ctx, id)
	if err != nil {
		return err
	}
	if !f.State().Live() {
		return fault.New(fault.Conflict, "cannot reload the networks of container %s: it does not run", id)
	}
	return rewired(ctx, e, string(id))
}

// NetworkMend is NetworkReload of what is not as it was left, and tells what it mended.
func NetworkMend(ctx context.Context, e *Engine) (mended []string, err error) {
	is, err := e.Networks.Mend(ctx)
	if err != nil {
		return nil, err
	}
	if is {
		mended = append(mended, "rules and bridges")
	}
	ids, err := e.Networks.Unplugged()
	if err != nil {
		return mended, err
	}
	var failed []error
	for _, id := range ids {
		is, err := plugged(ctx, e, id)
		if err != nil {
			failed = append(failed, fmt.Errorf("the networks of container %s: %w", id, err))
		}
		if is {
			mended = append(mended, "the devices of container "+string(id))
		}
	}
	return mended, errors.Join(failed...)
}

// plugged makes the missing devices of a container, if it is not coming or going.
func plugged(ctx context.Context, e *Engine, id container.ID) (mended bool, err error) {
	err = change(ctx, e, string(id), func(l *container.Locked, rec *container.Record, f *container.Facts) error {
		still, err := e.Networks.Unplugged()
		if err != nil || !f.State().Live() || !slices.Contains(still, id) {
			return err
		}
		mended = true
		return settleLive(ctx, e, l, rec, f)
	})
	if fault.Is(err, fault.NotFound) { // it went
		err = nil
	}
	return mended && err == nil, err
}
