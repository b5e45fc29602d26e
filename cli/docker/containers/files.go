package containers

import (
	"context"
	"io"

	"berth/cli/docker/transfer"
	"berth/engine"
)

// files is Files on the engine of this machine.
type files struct{ e *engine.Engine }

func (f files) Copy(ctx context.Context, r transfer.Request) error {
	return transfer.Copy(ctx, &r, func(ctx context.Context, name string, write bool) (transfer.Far, error) {
		return engine.OpenFiles(ctx, f.e, engine.FilesRequest{Container: name, Write: write})
	})
}

func (f files) Export(ctx context.Context, name string, w io.Writer) error {
	return engine.ContainerExport(ctx, f.e, name, w)
}

func (f files) Mount(ctx context.Context, name string) (string, error) {
	return engine.ContainerMount(ctx, f.e, name)
}

func (f files) Unmount(ctx context.Context, name string, force bool) error {
	return engine.ContainerUnmount(ctx, f.e, name, force)
}

func (f files) Mounts(ctx context.Context) (map[string]string, error) {
	return engine.ContainerMounts(ctx, f.e)
}
