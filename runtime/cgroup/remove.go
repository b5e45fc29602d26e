package cgroup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// removeWait is how long Remove waits for processes that are just ending, when
// ctx allows more.
const removeWait = 10 * time.Second

// Remove deletes the container's cgroup and all nested ones in every
// hierarchy. Just ended processes keep a directory busy for a moment, so EBUSY
// is tried again, for at most 10 s or until ctx ends. Directories above stay.
// What is already gone is no error. Errors: processes are still inside.
func (c *Cgroup) Remove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, removeWait)
	defer cancel()
	var errs []error
	if c.scope != nil && c.none == "" {
		errs = append(errs, c.scope.Stop(ctx))
	}
	for i := len(c.places) - 1; i >= 0; i-- {
		errs = append(errs, c.places[i].remove(ctx))
	}
	return errors.Join(errs...)
}

func (p *place) remove(ctx context.Context) error {
	for pause := 50 * time.Microsecond; ; pause = min(2*pause, 100*time.Millisecond) {
		err := p.h.rmdir(p.rel)
		if err == nil || gone(err) {
			return nil
		}
		if errors.Is(err, unix.EBUSY) {
			// Nested ones, or processes.
			if p.removeNested() {
				if err = p.h.rmdir(p.rel); err == nil || gone(err) {
					return nil
				}
			}
		}
		if !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.ENOTEMPTY) {
			return fmt.Errorf("rmdir %s/%s: %w", p.h.mount, p.rel, err)
		}
		if sleep(ctx, pause) != nil {
			n, _ := p.h.pids(p.rel, true)
			return fmt.Errorf("rmdir %s/%s: %w (%d processes inside)", p.h.mount, p.rel, err, len(n))
		}
	}
}

// removeNested removes what lies below, deepest first, and says whether there
// was anything.
func (p *place) removeNested() bool {
	var rels []string
	if err := p.h.walk(p.rel, true, 0, func(rel string) error {
		rels = append(rels, rel)
		return nil
	}); err != nil || len(rels) < 2 {
		return false
	}
	slices.Reverse(rels)
	for _, rel := range rels[:len(rels)-1] {
		_ = p.h.rmdir(rel) // a busy one keeps its parents, which is tried again
	}
	return true
}

// Exists says whether any of the directories is there.
func (c *Cgroup) Exists() bool {
	for i := range c.places {
		if fd, err := c.places[i].h.openAt(c.places[i].rel, unix.O_PATH|unix.O_DIRECTORY); err == nil {
			unix.Close(fd)
			return true
		}
	}
	return false
}
