package engine

import (
	"context"

	"berth/container"
)

// Restart stops a container, if it runs, and starts it.
func Restart(ctx context.Context, e *Engine, r StopRequest) (container.ID, error) {
	r.again = true
	id, err := Stop(ctx, e, r)
	if err != nil {
		return id, err
	}
	if _, err := Start(ctx, e, StartRequest{Container: string(id)}); err != nil {
		return id, err
	}
	return id, change(ctx, e, string(id), func(_ *container.Locked, rec *container.Record, _ *container.Facts) error {
		e.tell(rec, "restart", nil)
		return nil
	})
}
