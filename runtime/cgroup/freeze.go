package cgroup

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

var errNoFreezer = errors.New("neither the v1 freezer nor cgroup v2 is mounted")

// freezer returns the place that freezes: v1's controller, else the unified
// hierarchy, whose every cgroup can.
func (t *tree) freezer() (*place, error) {
	if t.none != "" {
		return nil, fmt.Errorf("the container has no cgroup: %s", t.none)
	}
	if p := t.at("freezer"); p != nil {
		return p, nil
	}
	if p := t.v2(); p != nil {
		return p, nil
	}
	return nil, errNoFreezer
}

// Freeze stops all processes inside, nested cgroups included, and returns when
// they stand still. On error, also when ctx ends, they run again.
func (c *Cgroup) Freeze(ctx context.Context) error {
	err := c.freeze(ctx)
	if err != nil && !errors.Is(err, errNoFreezer) {
		_ = c.thaw()
	}
	if err != nil {
		return fmt.Errorf("freeze: %w", err)
	}
	return nil
}

// Thaw lets the processes run on. Thawing what is not frozen is no error.
func (c *Cgroup) Thaw() error {
	if err := c.thaw(); err != nil {
		return fmt.Errorf("thaw: %w", err)
	}
	return nil
}

// Frozen says whether the container was frozen by Freeze or by somebody else.
// A container without a cgroup or freezer is not.
func (c *Cgroup) Frozen() (bool, error) { return c.frozen() }

func (t *tree) frozen() (bool, error) {
	p, err := t.freezer()
	if err != nil {
		return false, nil
	}
	return p.frozen()
}

// freeze leaves it half frozen on error.
func (t *tree) freeze(ctx context.Context) error {
	p, err := t.freezer()
	if err != nil {
		return err
	}
	return p.freeze(ctx, p.h == t.l.v2)
}

func (t *tree) thaw() error {
	p, err := t.freezer()
	if err != nil {
		return err
	}
	return p.thaw(p.h == t.l.v2)
}

func (p *place) thaw(v2 bool) error {
	file, word := "freezer.state", "THAWED"
	if v2 {
		file, word = "cgroup.freeze", "0"
	}
	_, err := p.h.write(p.rel, file, word)
	if err != nil {
		return fmt.Errorf("write %s to %s/%s/%s: %w", word, p.h.mount, p.rel, file, err)
	}
	return nil
}

// frozen reads the state wanted for this cgroup, which an unfinished freeze
// has as well. Only the freezer's places have the files.
func (p *place) frozen() (bool, error) {
	s, err := p.h.readString(p.rel, "freezer.state")
	if err == nil {
		return s != "THAWED", nil
	}
	if s, err = p.h.readString(p.rel, "cgroup.freeze"); err == nil {
		return s == "1", nil
	}
	return false, fmt.Errorf("read freezer state of %s/%s: %w", p.h.mount, p.rel, err)
}

func (p *place) freeze(ctx context.Context, v2 bool) error {
	if v2 {
		return p.freezeV2(ctx)
	}
	// v1 (freezer-subsystem.rst): a fork or an uninterruptible sleep leaves
	// the state at FREEZING; writing again has the kernel try again.
	for pause := 20 * time.Microsecond; ; pause = min(2*pause, 10*time.Millisecond) {
		if _, err := p.h.write(p.rel, "freezer.state", "FROZEN"); err != nil {
			return fmt.Errorf("write FROZEN to %s/%s/freezer.state: %w", p.h.mount, p.rel, err)
		}
		s, err := p.h.readString(p.rel, "freezer.state")
		if err != nil {
			return err
		}
		if s == "FROZEN" {
			return nil
		}
		if err := sleep(ctx, pause); err != nil {
			return fmt.Errorf("some process of %s/%s does not stop: %w", p.h.mount, p.rel, err)
		}
	}
}

func (p *place) freezeV2(ctx context.Context) error {
	fd, err := p.h.openAt(join(p.rel, "cgroup.events"), unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if _, err := p.h.write(p.rel, "cgroup.freeze", "1"); err != nil {
		return fmt.Errorf("write 1 to %s/%s/cgroup.freeze: %w", p.h.mount, p.rel, err)
	}
	buf := make([]byte, 256)
	for {
		n, err := unix.Pread(fd, buf, 0)
		if err != nil && err != unix.EINTR {
			return err
		}
		if n > 0 && strings.Contains(string(buf[:n]), "frozen 1") {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("some process of %s/%s does not stop: %w", p.h.mount, p.rel, ctx.Err())
		}
		// The file wakes pollers with POLLPRI; the timeout looks at ctx.
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLPRI}}, 10)
	}
}

// whileFrozen runs f with the container standing still, and leaves it as it was.
func (t *tree) whileFrozen(ctx context.Context, f func() error) error {
	was, err := t.frozen()
	if err != nil {
		return err
	}
	if was {
		return f()
	}
	if err := t.freeze(ctx); err != nil {
		return errors.Join(fmt.Errorf("freeze: %w", err), t.thaw())
	}
	return errors.Join(f(), t.thaw())
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
