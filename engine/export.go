package engine

import (
	"context"
	"fmt"
	"io"

	"berth/files"
)

// ContainerExport writes the files of a container as a tar, without what is
// mounted in it: as docker's export.
func ContainerExport(ctx context.Context, e *Engine, name string, w io.Writer) error {
	rec, err := e.Containers.Get(ctx, name)
	if err != nil {
		return err
	}
	layers, err := rootLayers(ctx, e, rec)
	if err != nil {
		return err
	}
	v, err := files.Enter(ctx, &files.Place{Layers: layers, ReadOnly: true})
	if err != nil {
		return fmt.Errorf("export container %s: %w", rec.Name, err)
	}
	defer v.Close()
	if err := v.PackRoot(w); err != nil {
		return fmt.Errorf("export container %s: %w", rec.Name, err)
	}
	e.tell(rec, "export", nil)
	return nil
}
