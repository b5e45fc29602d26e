package runtime

import (
	"context"
	"errors"
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/base/fault"
)

// Kill sends a signal to the container's first process, or with all to every
// process of its cgroup. It fails with kind Conflict when the container has
// stopped, as the runtime-spec demands; with all that is no error.
func (rt *Runtime) Kill(_ context.Context, id string, sig unix.Signal, all bool) error {
	rt.begin()
	c, err := rt.open(id, false)
	if err != nil {
		return err
	}
	defer c.close()
	if all {
		return c.killAll(sig)
	}
	if st := c.status(); st != specs.StateCreated && st != specs.StateRunning {
		return fault.New(fault.Conflict, "container not running")
	}
	if err := c.rec.signal(sig); err != nil {
		return fmt.Errorf("send signal %d to container %q: %w", sig, id, err)
	}
	if sig == unix.SIGKILL {
		return c.thaw()
	}
	return nil
}

// signal sends to the first process through a pidfd whose identity was checked
// after it was opened, so that a reused pid is never hit.
func (r *record) signal(sig unix.Signal) error {
	fd, err := unix.PidfdOpen(r.PID, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if !r.alive() {
		return unix.ESRCH
	}
	return unix.PidfdSendSignal(fd, sig, nil, 0)
}

func (c *container) killAll(sig unix.Signal) error {
	if c.rec == nil {
		return nil
	}
	cg, err := c.openCgroup()
	if err != nil {
		return err
	}
	if len(cg.Paths()) == 0 { // none: an ordinary user's; SIGKILL ends its pid namespace
		err = c.rec.signal(sig)
	} else {
		err = cg.Kill(sig)
	}
	if err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("send signal %d to all of container %q: %w", sig, c.id, err)
	}
	return nil
}

// thaw lets a killed process of a paused container die.
func (c *container) thaw() error {
	cg, err := c.openCgroup()
	if err != nil {
		return err
	}
	frozen, err := cg.Frozen()
	if err != nil || !frozen {
		return nil // the cgroup may be gone already
	}
	return cg.Thaw()
}
