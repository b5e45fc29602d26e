package runtime

import (
	"context"
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/base/fault"
	"berth/runtime/cgroup"
)

// Pause freezes all processes of a container.
func (rt *Runtime) Pause(ctx context.Context, id string) error {
	return rt.withRunning(id, func(c *container, cg *cgroup.Cgroup) error {
		if c.status() == specs.StateStopped {
			return fault.New(fault.Conflict, "container not running or created: stopped")
		}
		if c.paused() {
			return fault.New(fault.Conflict, "container not running or created: paused")
		}
		if err := cg.Freeze(ctx); err != nil {
			return fmt.Errorf("pause container %q: %w", id, err)
		}
		return nil
	})
}

// Resume thaws a paused container.
func (rt *Runtime) Resume(_ context.Context, id string) error {
	return rt.withRunning(id, func(c *container, cg *cgroup.Cgroup) error {
		if !c.paused() {
			return fault.New(fault.Conflict, "container not paused")
		}
		if err := cg.Thaw(); err != nil {
			return fmt.Errorf("resume container %q: %w", id, err)
		}
		return nil
	})
}

// withRunning runs f on a finished container under its lock.
func (rt *Runtime) withRunning(id string, f func(*container, *cgroup.Cgroup) error) error {
	rt.begin()
	c, err := rt.open(id, true)
	if err != nil {
		return err
	}
	defer c.close()
	if c.rec == nil {
		return fault.New(fault.Conflict, "container not running")
	}
	cg, err := c.openCgroup()
	if err != nil {
		return err
	}
	return f(c, cg)
}

// paused reports whether the container's cgroup is frozen.
func (c *container) paused() bool {
	cg, err := c.openCgroup()
	if err != nil {
		return false
	}
	frozen, err := cg.Frozen()
	return err == nil && frozen
}
