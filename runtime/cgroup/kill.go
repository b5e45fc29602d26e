package cgroup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// killWait bounds how long Kill waits for processes to go where the kernel has
// no cgroup.kill.
const killWait = 10 * time.Second

// Kill sends sig to every process inside, nested cgroups included. SIGKILL
// reaches all of them, also those that fork meanwhile and those of a frozen
// container, which it thaws: by cgroup.kill (Linux 5.14) in the unified
// hierarchy, else by freezing, signalling and thawing until none is left.
// Other signals are sent once to each process that is there. A container that
// is gone is no error.
func (c *Cgroup) Kill(sig unix.Signal) error {
	if c.none != "" {
		return fmt.Errorf("signal all processes: the container has no cgroup: %s", c.none)
	}
	if sig != unix.SIGKILL {
		return c.signalAll(sig)
	}
	if p := c.v2(); p != nil {
		_, err := p.h.write(p.rel, "cgroup.kill", "1")
		if err == nil || gone(err) {
			// On hybrid machines somebody may be in v1 alone; whoever is frozen
			// there dies only after the thaw.
			if f, ferr := c.freezer(); ferr == nil && f.h != c.l.v2 {
				if terr := f.thaw(false); terr != nil && !gone(terr) {
					return terr
				}
			}
			return nil
		}
		if !errors.Is(err, unix.EOPNOTSUPP) {
			return fmt.Errorf("write 1 to %s/%s/cgroup.kill: %w", p.h.mount, p.rel, err)
		}
	}
	return c.killLoop()
}

// killLoop ends everything without cgroup.kill.
func (t *tree) killLoop() error {
	ctx, cancel := context.WithTimeout(context.Background(), killWait)
	defer cancel()
	for pause := 200 * time.Microsecond; ; pause = min(2*pause, 50*time.Millisecond) {
		// Frozen, nobody forks away between the list and the signal, and no
		// number of the list is given to a new process. Who cannot be frozen
		// in time is signalled all the same.
		short, stop := context.WithTimeout(ctx, 50*time.Millisecond)
		_ = t.freeze(short)
		stop()
		err := t.signalAll(unix.SIGKILL)
		if terr := t.thaw(); terr != nil && !gone(terr) && !errors.Is(terr, errNoFreezer) {
			err = errors.Join(err, terr)
		}
		if err != nil {
			return err
		}
		left, err := t.list(true)
		if gone(err) || (err == nil && len(left) == 0) {
			return nil
		}
		if err != nil {
			return err
		}
		if serr := sleep(ctx, pause); serr != nil {
			return fmt.Errorf("kill: %d processes are still there after %v", len(left), killWait)
		}
	}
}

// signalAll sends sig once to each.
func (t *tree) signalAll(sig unix.Signal) error {
	pids, err := t.list(true)
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, pid := range pids {
		if e := unix.Kill(pid, sig); e != nil && e != unix.ESRCH {
			err = errors.Join(err, fmt.Errorf("signal %d to process %d: %w", sig, pid, e))
		}
	}
	return err
}
