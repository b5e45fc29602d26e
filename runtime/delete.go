package runtime

import (
	"context"
	"errors"
	"fmt"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/runtime/hook"
)

// killPatience is how long a killed process may take to disappear.
const killPatience = 10 * time.Second

// Delete removes a stopped container: its cgroup, its state, and runs its
// poststop hooks. force kills it first, forgives a missing container and
// clears what a creation that was cut short left behind.
func (rt *Runtime) Delete(ctx context.Context, id string, force bool) error {
	rt.begin()
	c, err := rt.open(id, true)
	if err != nil {
		if force && fault.Is(err, fault.NotFound) {
			return nil
		}
		return err
	}
	defer c.close()
	if c.rec == nil {
		// The lock is ours, so nobody is creating it any more; the first process
		// ended when its parent did.
		if !force {
			return fault.New(fault.Conflict, "container %q was never finished: remove it with delete --force", id)
		}
		return c.clearUnfinished(ctx)
	}
	if st := c.status(); st != specs.StateStopped {
		if !force && st != specs.StateCreated {
			return fault.New(fault.Conflict, "cannot delete container %s that is not stopped: %s", id, st)
		}
		if err := c.end(); err != nil {
			return err
		}
	}
	hooks, err := hooksOf(c)
	if err != nil && !force {
		return err
	}
	return c.destroy(ctx, hooks)
}

// end kills the first process and waits for its end.
func (c *container) end() error {
	fd, err := unix.PidfdOpen(c.rec.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("kill container %q: %w", c.id, err)
	}
	defer unix.Close(fd)
	if !c.rec.alive() {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill container %q: %w", c.id, err)
	}
	if err := c.thaw(); err != nil {
		return err
	}
	deadline := time.Now().Add(killPatience)
	for c.rec.alive() {
		left := time.Until(deadline)
		if left <= 0 {
			return fault.New(fault.Busy, "kill container %q: process %d does not end", c.id, c.rec.PID)
		}
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, int(left.Milliseconds())+1); err != nil && err != unix.EINTR {
			return fmt.Errorf("wait for the end of container %q: %w", c.id, err)
		}
	}
	return nil
}

// leavePatience is how long processes that only share the cgroup may take to end
// by themselves, as those of a pid namespace do whose first process is gone.
const leavePatience = 200 * time.Millisecond

// destroy removes what is left of a container whose first process has ended:
// processes that shared its cgroup only, the cgroup, the state; poststop hooks
// run last and cannot keep it from going (runtime.md, "Lifecycle").
func (c *container) destroy(ctx context.Context, h *specs.Hooks) error {
	cg, err := c.openCgroup()
	if err != nil {
		return fmt.Errorf("remove the container: %w", err)
	}
	soon, cancel := context.WithTimeout(ctx, leavePatience)
	err = cg.Remove(soon)
	cancel()
	if err != nil {
		if e := cg.Kill(unix.SIGKILL); e != nil {
			return errors.Join(err, e)
		}
		if err := cg.Remove(ctx); err != nil {
			return fmt.Errorf("remove the cgroup of container %q: %w", c.id, err)
		}
	}
	if err := c.rec.RDT.Remove(); err != nil {
		return err
	}
	if err := c.remove(); err != nil {
		return err
	}
	if h != nil && len(h.Poststop) > 0 {
		hook.RunAll(ctx, "poststop", h.Poststop, c.state(specs.StateStopped), c.rt.Warn)
	}
	return nil
}

// clearUnfinished removes a container whose creator died: its cgroup is found
// by the rule that creation used.
func (c *container) clearUnfinished(ctx context.Context) error {
	if spec, err := c.spec(); err == nil {
		cg, err := newCgroup(c.rt, c.id, spec, nil)
		if err != nil {
			return err
		}
		defer cg.Close()
		if err := errors.Join(cg.Kill(unix.SIGKILL), cg.Remove(ctx)); err != nil {
			return fmt.Errorf("remove the cgroup of container %q: %w", c.id, err)
		}
	}
	return c.remove()
}
