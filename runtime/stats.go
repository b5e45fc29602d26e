package runtime

import (
	"berth/base/fault"
	"berth/runtime/cgroup"
)

// Stats reads the use of resources of a container that has not stopped.
func (rt *Runtime) Stats(id string) (*cgroup.Stats, error) {
	cg, err := rt.liveCgroup(id)
	if err != nil {
		return nil, err
	}
	return cg.Stats()
}

// WatchOOM listens for processes of the container that the kernel ends for want
// of memory. The caller closes what it gets.
func (rt *Runtime) WatchOOM(id string) (*cgroup.OOM, error) {
	cg, err := rt.liveCgroup(id)
	if err != nil {
		return nil, err
	}
	return cg.WatchOOM()
}

// PIDs lists the processes in the container's cgroup and below, in the
// caller's pid namespace.
func (rt *Runtime) PIDs(id string) ([]int, error) {
	cg, err := rt.liveCgroup(id)
	if err != nil {
		return nil, err
	}
	return cg.PIDs(true)
}

// liveCgroup opens the cgroup of a container that has not stopped.
func (rt *Runtime) liveCgroup(id string) (*cgroup.Cgroup, error) {
	rt.begin()
	c, err := rt.open(id, false)
	if err != nil {
		return nil, err
	}
	defer c.close()
	if c.rec == nil || !c.alive() {
		return nil, fault.New(fault.Conflict, "container %q is not running", id)
	}
	return c.openCgroup()
}
