package engine

import (
	"context"
	"fmt"

	"berth/base/fault"
	"berth/container"
	"berth/files"
)

// ContainerMount shows a container's files, read-only and without what is mounted in
// it, below the run folder in the caller's mount namespace, and gives the path.
func ContainerMount(ctx context.Context, e *Engine, name string) (path string, err error) {
	if e.Defaults.Rootless {
		return "", fault.New(fault.Unsupported, "mount container %s: an ordinary user's mounts show in the command's own namespace alone: use cp or export", name)
	}
	err = change(ctx, e, name, func(_ *container.Locked, rec *container.Record, facts *container.Facts) error {
		path = e.Containers.MountPoint(rec.ID)
		if files.Shown(path) {
			return nil
		}
		if facts.State() == container.StateRemoving {
			return fault.New(fault.Conflict, "container %s is being removed", rec.Name)
		}
		l, err := rootLayers(ctx, e, rec)
		if err != nil {
			return err
		}
		if err := files.Show(l, path); err != nil {
			return fmt.Errorf("mount container %s: %w", rec.Name, err)
		}
		return nil
	})
	return path, err
}

// ContainerUnmount takes that away; one that is not shown is no error.
func ContainerUnmount(ctx context.Context, e *Engine, name string, force bool) error {
	return change(ctx, e, name, func(_ *container.Locked, rec *container.Record, _ *container.Facts) error {
		if err := files.Hide(e.Containers.MountPoint(rec.ID), force); err != nil {
			return fmt.Errorf("unmount container %s: %w", rec.Name, err)
		}
		return nil
	})
}

// ContainerMounts gives the paths of those that are shown, by id.
func ContainerMounts(ctx context.Context, e *Engine) (map[string]string, error) {
	all, err := e.Containers.List(ctx)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for i := range all {
		if path := e.Containers.MountPoint(all[i].ID); files.Shown(path) {
			out[string(all[i].ID)] = path
		}
	}
	return out, nil
}
