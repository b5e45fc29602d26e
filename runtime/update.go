package runtime

import (
	"context"
	"encoding/json"
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/base/fault"
	"berth/runtime/cgroup"
	"berth/runtime/interior"
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

// Interior is a container that runs, to change what it sees; see package interior.
type Interior = interior.Interior

// Enter opens a container that runs, to change what it sees.
// Errors: kind Conflict for one that has stopped.
func Enter(rt *Runtime, id string) (*Interior, error) {
	rt.begin()
	c, err := rt.open(id, true)
	if err != nil {
		return nil, err
	}
	defer c.close()
	if c.rec == nil || c.status() == specs.StateStopped {
		return nil, fault.New(fault.Conflict, "container not running")
	}
	dir, err := c.rec.procDir()
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	root, err := c.rec.openRoot(nil)
	if err != nil {
		return nil, err
	}
	in, err := interior.Open(dir, root, c.rec.PID)
	if err != nil {
		root.Close()
	}
	return in, err
}
