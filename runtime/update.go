package runtime

import (
	"context"
	"encoding/json"
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/base/fault"
	"berth/runtime/cgroup"
)

// Resources returns the limits that were asked for last: at create, or by the
// newest Update.
func (rt *Runtime) Resources(id string) (*specs.LinuxResources, error) {
	rt.begin()
	c, err := rt.open(id, false)
	if err != nil {
		return nil, err
	}
	defer c.close()
	return c.resources()
}

func (c *container) resources() (*specs.LinuxResources, error) {
	if c.rec != nil && len(c.rec.Resources) > 0 {
		var r specs.LinuxResources
		if err := json.Unmarshal(c.rec.Resources, &r); err != nil {
			return nil, fault.New(fault.Invalid, "read the resources of container %q: %v", c.id, err)
		}
		return &r, nil
	}
	spec, err := c.spec()
	if err != nil {
		return nil, err
	}
	if spec.Linux == nil || spec.Linux.Resources == nil {
		return &specs.LinuxResources{}, nil
	}
	return spec.Linux.Resources, nil
}

// Update changes the limits of a container that has not stopped.
func (rt *Runtime) Update(ctx context.Context, id string, r *specs.LinuxResources) error {
	return rt.withRunning(id, func(c *container, cg *cgroup.Cgroup) error {
		if c.status() == specs.StateStopped {
			return fault.New(fault.Conflict, "container not running")
		}
		if err := cg.Update(ctx, r, true); err != nil {
			return fmt.Errorf("update container %q: %w", id, err)
		}
		b, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("update container %q: %w", id, err)
		}
		c.rec.Resources = b
		return c.save()
	})
}
