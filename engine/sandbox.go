package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"berth/base/fault"
	"berth/container"
)

// Who shares a container's network leaves its id in the other's run folder, in folder
// sharers: the network of a run lives on with them, and what of it is on a wire is in the
// way of the next.

// sharers is in the run folder of the container whose network is shared.
const sharers = "sharers"

// noteSharer leaves a container's id with the one whose network it shares.
func noteSharer(e *Engine, rec, with *container.Record) error {
	dir := filepath.Join(e.Containers.RunDir(with.ID), sharers)
	err := os.Mkdir(dir, 0o700)
	if err == nil || errors.Is(err, fs.ErrExist) {
		err = os.WriteFile(filepath.Join(dir, string(rec.ID)), nil, 0o600)
	}
	if err != nil {
		return fmt.Errorf("share the network of container %s: %w", with.Name, err)
	}
	return nil
}

// vacate takes from those who share the network of a container's last run the links that
// its next run is to have: a wire has each address once.
func (s *start) vacate(ctx context.Context, e *Engine) error {
	if !s.net.OnParent() {
		return nil
	}
	dir := filepath.Join(s.runDir, sharers)
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil // nobody does
	}
	for _, entry := range list {
		f, err := e.Containers.Facts(ctx, container.ID(entry.Name()))
		if err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
		if err != nil || !f.State().Live() || f.Started == nil {
			_ = os.Remove(filepath.Join(dir, entry.Name())) // it is looked at once more, else
			continue
		}
		ns, err := networkOf(f.Started.PID)
		if err != nil {
			continue // it ends
		}
		err = s.net.Vacate(ns)
		ns.Close()
		if err != nil {
			return err
		}
	}
	return nil
}
