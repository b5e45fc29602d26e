package runtime

import (
	"context"
	"errors"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/runtime/hook"
)

// Run creates a container and starts it. Attached, it waits for the process,
// passes signals on, removes the container and returns the exit code: the
// process's own, or 128+n when signal n ended it.
func (rt *Runtime) Run(ctx context.Context, req RunRequest) (exit int, err error) {
	if req.Parent != nil {
		return -1, fault.New(fault.Invalid, "run container %q: the exit code of another's child cannot be had", req.ID)
	}
	signals, err := catchSignals(req.Detach)
	if err != nil {
		return -1, err
	}
	defer signals.close()
	att := &attached{detach: req.Detach}
	defer att.close()
	c, ch, err := rt.create(ctx, req.CreateRequest, att)
	if err != nil {
		return -1, err
	}
	defer c.close()
	defer ch.close()
	hooks, err := hooksOf(c)
	if err != nil {
		return -1, errors.Join(err, c.destroy(ctx, hooks))
	}
	if err := c.poststart(ctx, hooks); err != nil {
		_ = ch.kill()
		return -1, errors.Join(err, c.destroy(ctx, hooks))
	}
	if req.Detach {
		return 0, nil
	}
	c.unlock() // others may pause, update or exec while we wait
	exit, err = att.wait(ch, signals)
	if req.Keep {
		return exit, err
	}
	if mine, e := c.lock(); e != nil || !mine { // not mine: another deleted it
		return exit, errors.Join(err, e)
	}
	return exit, errors.Join(err, c.destroy(ctx, hooks))
}

// poststart runs the poststart hooks; a failure ends the start (runtime.md,
// "Lifecycle", step 9: with runc the container is stopped).
func (c *container) poststart(ctx context.Context, h *specs.Hooks) error {
	if len(h.Poststart) == 0 {
		return nil
	}
	return hook.Run(ctx, "poststart", h.Poststart, c.state(specs.StateRunning))
}

// exitCode is a wait status in the shell's convention.
func exitCode(ws unix.WaitStatus) int {
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}
