package engine

import (
	"context"
	"fmt"
	"strings"

	"berth/container"
	"berth/image"
)

// Check verifies the whole store; with repair it mends what it can.
func Check(ctx context.Context, e *Engine, repair bool) ([]image.Finding, error) {
	var found []image.Finding
	if e.Containers != nil {
		var err error
		if found, err = checkContainers(ctx, e, repair); err != nil {
			return found, err
		}
	}
	images, err := e.Images.Check(ctx, repair)
	return append(found, images...), err
}

// checkContainers looks at containers, and at what other rooms have for them.
func checkContainers(ctx context.Context, e *Engine, repair bool) ([]image.Finding, error) {
	var out []image.Finding
	add := func(object, trouble string, harm, repaired bool) {
		f := image.Finding{Object: object, Trouble: trouble, Harm: harm}
		if repaired {
			f.Repaired = "done"
		}
		out = append(out, f)
	}
	var drop func(container.ID, container.Intent) error
	if repair {
		drop = e.dropper(ctx)
	}
	found, err := e.Containers.Check(ctx, drop)
	for _, f := range found {
		add("container store, "+f.Path, f.Problem, f.Harm, f.Repaired)
	}
	if err != nil {
		return out, err
	}
	all, err := e.Containers.List(ctx)
	if err != nil {
		return out, err
	}
	for i := range all {
		if trouble := stuck(ctx, e, &all[i]); trouble != "" {
			repaired := false
			if repair {
				e.relook(ctx, &all[i])
				repaired = stuck(ctx, e, &all[i]) == ""
			}
			add("container "+all[i].Name, trouble, false, repaired)
		}
	}
	volumes, err := e.Volumes.Check(repair)
	for _, f := range volumes {
		add("volume store, "+f.Path, f.Problem, f.Harm, f.Repaired)
	}
	if err != nil {
		return out, err
	}
	networks, err := e.Networks.Check(ctx, repair)
	for _, f := range networks {
		add("network, "+f.Path, f.Problem, false, f.Repaired)
	}
	if err != nil {
		return out, err
	}
	return out, checkTrees(ctx, e, repair, add)
}

// stuck says what a killed verb left to be done with a container, "" nothing.
func stuck(ctx context.Context, e *Engine, s *container.Summary) string {
	l, err := e.Containers.TryLock(ctx, s.ID)
	if err != nil {
		return "" // at work, or gone
	}
	defer l.Unlock()
	f, err := l.Facts()
	switch {
	case err != nil:
		return err.Error()
	case f.Unfinished:
		return "its create was not finished"
	case f.Removing:
		return "its removal was not finished"
	case f.Unheld:
		return "the restart that it waits for was killed"
	case f.Forgotten:
		return "it is still paused for a command that was killed"
	case f.Orphaned:
		return "its monitor was killed"
	}
	return ""
}

// checkTrees looks for writable trees of containers that went with the last boot.
// One of this boot may belong to a container in another run folder.
func checkTrees(ctx context.Context, e *Engine, repair bool, add func(object, trouble string, harm, repaired bool)) error {
	keys, err := e.Writables.Old(ctx)
	if err != nil {
		return err
	}
	for _, key := range keys {
		id, _, _ := strings.Cut(strings.TrimPrefix(key, snapshotPrefix), "-")
		if !strings.HasPrefix(key, snapshotPrefix) || e.Containers.Exists(container.ID(id)) {
			continue
		}
		add("files of container "+id, "it is gone since the machine was started", false, repair && e.Writables.Remove(ctx, key) == nil)
	}
	limits, err := e.Writables.SweepLimits(repair)
	if limits > 0 {
		add("project quotas of the store's file system", fmt.Sprintf("%d limits of containers and volumes that are gone", limits), false, repair && err == nil)
	}
	return err
}
