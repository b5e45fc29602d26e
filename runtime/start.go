package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/base/fault"
)

// Start lets the first process of a created container run the user's program.
// It returns when that has begun, or with the reason why it could not.
func (rt *Runtime) Start(ctx context.Context, id string) error {
	rt.begin()
	c, err := rt.open(id, true)
	if err != nil {
		return err
	}
	defer c.close()
	switch st := c.status(); {
	case st == specs.StateStopped:
		return fault.New(fault.Conflict, "cannot start a container that has stopped")
	case st != specs.StateCreated:
		return fault.New(fault.Conflict, "cannot start an already running container")
	case c.paused(): // its process would not take the byte until somebody resumes it
		return fault.New(fault.Conflict, "cannot start a container in the paused state")
	}
	if err := c.letGo(); err != nil {
		return err
	}
	hooks, err := hooksOf(c)
	if err != nil {
		return err
	}
	return c.poststart(ctx, hooks)
}

// letGo writes the start byte and waits until the helper has become the
// program, which shows as the FIFO's last reader going away.
func (c *container) letGo() error {
	fifo, err := unix.Openat(int(c.dir.Fd()), fifoFile, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open the start FIFO of container %q: %w", c.id, err)
	}
	defer unix.Close(fifo)
	if _, err := unix.Write(fifo, []byte{1}); err != nil {
		return fmt.Errorf("start container %q: its first process is gone: %w", c.id, err)
	}
	// Only now: dead in between, we leave a container that started.
	if err := os.Remove(c.path(fifoFile)); err != nil {
		return fmt.Errorf("remove the start FIFO of container %q: %w", c.id, err)
	}
	for {
		fds := []unix.PollFd{{Fd: int32(fifo)}} // POLLERR: no reader is left
		if _, err := unix.Poll(fds, -1); err == nil {
			break
		} else if err != unix.EINTR {
			return os.NewSyscallError("poll", err)
		}
	}
	return c.lastWords()
}

// lastWords returns the failure that the helper wrote when nobody listened.
func (c *container) lastWords() error {
	b, err := readIn(c.dir, errorFile, maxFrame)
	if errors.Is(err, os.ErrNotExist) || err == nil && len(b) == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read why container %q did not start: %w", c.id, err)
	}
	return helperError(b)
}
