package runtime

import (
	"context"

	"berth/base/fault"
	"berth/runtime/cgroup"
)

// Stats reads the use of resources of a container that has not stopped.
func (rt *Runtime) Stats(id string) (*Stats, error) {
	cg, err := rt.liveCgroup(id)
	if err != nil {
		return nil, err
	}
	defer cg.Close()
	return cg.Stats()
}

// OOMEvents sends a value each time the kernel ends a process of the container
// for want of memory. The channel closes when ctx ends or the cgroup goes.
func (rt *Runtime) OOMEvents(ctx context.Context, id string) (<-chan struct{}, error) {
	cg, err := rt.liveCgroup(id)
	if err != nil {
		return nil, err
	}
	watch, err := cg.WatchOOM()
	if err != nil {
		cg.Close()
		return nil, err
	}
	events := make(chan struct{})
	go func() {
		defer close(events)
		defer cg.Close()
		defer watch.Close()
		for watch.Wait(ctx) == nil {
			select {
			case events <- struct{}{}:
			case <-ctx.Done():
				return
			}
		}
	}()
	return events, nil
}

// PIDs lists the processes in the container's cgroup and below, in the
// caller's pid namespace. It fails with kind Unsupported without a cgroup.
func (rt *Runtime) PIDs(id string) ([]int, error) {
	cg, err := rt.liveCgroup(id)
	if err != nil {
		return nil, err
	}
	defer cg.Close()
	if len(cg.Paths()) == 0 {
		return nil, fault.New(fault.Unsupported, "list the processes of container %q: it has no cgroup", id)
	}
	return cg.PIDs(true)
}

// liveCgroup opens the cgroup of a container that has not stopped, which the
// caller closes.
func (rt *Runtime) liveCgroup(id string) (*cgroup.Cgroup, error) {
	rt.begin()
	c, err := rt.open(id, false)
	if err != nil {
		return nil, err
	}
	defer c.close()
	if c.rec == nil || !c.rec.alive() {
		return nil, fault.New(fault.Conflict, "container with id %s is not running", id)
	}
	cg, err := c.openCgroup()
	c.cg = nil
	return cg, err
}
