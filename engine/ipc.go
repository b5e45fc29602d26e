package engine

import (
	"context"
	"fmt"
	"os"
	"strings"

	"berth/base/fault"
	"berth/container"
	"berth/container/config"
	"berth/runtime"
)

// sharedMemory is the /dev/shm of the container whose IPC another joins, nil for
// one that joins none. joinPaths has found that it runs.
func sharedMemory(ctx context.Context, e *Engine, c *config.Config) (*os.File, error) {
	id, ok := strings.CutPrefix(c.Namespaces.IPC, "container:")
	if !ok {
		return nil, nil
	}
	facts, err := e.Containers.Facts(ctx, container.ID(id))
	if err != nil {
		return nil, err
	}
	if !facts.State().Live() {
		return nil, notRunning("ipc", id)
	}
	shm, err := runtime.TreeOf(facts.Started.PID, "/dev/shm")
	if err != nil {
		return nil, fmt.Errorf("can't join IPC of container %s: %w", id, err)
	}
	return shm, nil
}

// sharesIPC refuses, in docker's words, a container that keeps its IPC to itself.
func sharesIPC(ctx context.Context, e *Engine, id string) error {
	rec, err := e.Containers.Get(ctx, id)
	if err != nil {
		return err
	}
	mode := rec.Config.IPCMode()
	if mode == "private" || mode == "none" {
		return fault.New(fault.Conflict, "can't join IPC of container %s: non-shareable IPC (hint: use IpcMode:shareable for the donor container)", id)
	}
	return nil
}

func notRunning(kind, id string) error {
	return fault.New(fault.Conflict, "cannot join %s of a non running container: %s", kind, id)
}
