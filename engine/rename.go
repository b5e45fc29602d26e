package engine

import (
	"context"
	"strings"

	"berth/container"
)

// Rename gives a container another name.
func Rename(ctx context.Context, e *Engine, name, to string) error {
	return change(ctx, e, name, func(l *container.Locked, rec *container.Record, _ *container.Facts) error {
		old := rec.Name
		to = strings.TrimPrefix(to, "/")
		if err := l.Rename(to); err != nil {
			return err
		}
		if err := e.Networks.Rename(rec.ID, to); err != nil {
			return err
		}
		rec.Name = to
		e.tell(rec, "rename", map[string]string{"oldName": "/" + old})
		return nil
	})
}
