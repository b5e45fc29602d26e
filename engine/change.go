package engine

import (
	"context"
	"time"
)

// waitChange waits a moment before another look at what no event tells of.
func waitChange(ctx context.Context) error {
	t := time.NewTimer(50 * time.Millisecond)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// warn tells the person of what went wrong besides.
func (e *Engine) warn(err error) {
	if e.Warn != nil {
		e.Warn(err)
	}
}
