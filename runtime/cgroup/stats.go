package cgroup

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"berth/runtime/cgroup/counters"
)

// Stats is what the kernel counted for one container, in v1's terms whatever
// the layout, so that `events --stats` prints the same fields everywhere.
type Stats = counters.Stats

// Stats reads the counters of all controllers. Files that this kernel lacks
// are left out. Errors: the cgroup is gone or unreadable.
func (c *Cgroup) Stats() (*Stats, error) {
	if c.none != "" {
		return nil, fmt.Errorf("read statistics: the container has no cgroup: %s", c.none)
	}
	if !c.Exists() {
		return nil, fmt.Errorf("read statistics: the container's cgroup is gone: %w", unix.ENOENT)
	}
	s := &Stats{}
	var errs []error
	for _, name := range counters.Controllers {
		if p := c.at(name); p != nil {
			errs = append(errs, s.Read(name, p.h == c.l.v2, p.source()))
		}
	}
	if p := c.v2(); p != nil {
		errs = append(errs, s.ReadUnified(c.at("cpu") == nil && c.at("cpuacct") == nil, p.source()))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("read statistics: %w", err)
	}
	return s, nil
}

func (p *place) source() counters.Source {
	return func(file string) (string, error) {
		s, err := p.h.readString(p.rel, file)
		if err != nil {
			err = fmt.Errorf("%s/%s/%s: %w", p.h.mount, p.rel, file, err)
		}
		return s, err
	}
}
