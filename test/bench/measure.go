package main

import (
	"fmt"

	"path/filepath"
	"time"
)

// alternate measures two things in turn, ours first in even pairs.
func alternate(pairs int, ours, peers func() (cost, error)) (a, b []cost, err error) {
	for i := range pairs + 2 { // two pairs to warm up
		first, second := ours, peers
		if i%2 == 1 {
			first, second = peers, ours
		}
		x, err := first()
		if err != nil {
			return nil, nil, err
		}
		y, err := second()
		if err != nil {
			return nil, nil, err
		}
		if i%2 == 1 {
			x, y = y, x
		}
		if i >= 2 {
			a, b = append(a, x), append(b, y)
		}
	}
	return a, b, nil
}

func (s *stage) runOurs() (cost, error) {
	return s.measure(s.ours, s.oursArgs("run", "--bundle", s.dir, s.id())...)
}

func (s *stage) runCrun() (c cost, err error) {
	s.inPeer(func() { c, err = s.measure(s.crun, s.crunArgs("run", "--bundle", s.dir, s.id())...) })
	return c, err
}

// runs compares `run` of a static program with crun's and with the floor.
func (s *stage) runs(t *table, pairs int) error {
	a, b, err := alternate(pairs, s.runOurs, s.runCrun)
	if err != nil {
		return err
	}
	t.pairs("run of a static true, against crun", a, b, 1.0, 1.1)
	overlay := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", s.dir+"/rootfs", s.dir+"/upper", s.dir+"/work")
	floor := func() (cost, error) { return s.measure(s.floor, overlay, s.dir+"/merged", "/true") }
	a, b, err = alternate(pairs, s.runOurs, floor)
	if err != nil {
		return err
	}
	t.pairs("the same, against the floor", a, b, 1.35, 1.35)
	for i := len(t.rows) - 2; i < len(t.rows); i++ {
		t.rows[i].aim = true
	}
	return nil
}

// execs compares `exec` of the same program in a running container.
func (s *stage) execs(t *table, pairs int) error {
	sleeper := filepath.Join(s.dir, "sleeper")
	ours, crun := s.id(), s.id()
	if _, err := s.measure(s.ours, s.oursArgs("run", "-d", "--bundle", sleeper, ours)...); err != nil {
		return err
	}
	defer func() { _, _ = s.measure(s.ours, s.oursArgs("delete", "-f", ours)...) }()
	var err error
	s.inPeer(func() { _, err = s.measure(s.crun, s.crunArgs("run", "-d", "--bundle", sleeper, crun)...) })
	if err != nil {
		return err
	}
	defer s.inPeer(func() { _, _ = s.measure(s.crun, s.crunArgs("delete", "-f", crun)...) })
	a, b, err := alternate(pairs,
		func() (cost, error) { return s.measure(s.ours, s.oursArgs("exec", ours, "/true")...) },
		func() (c cost, err error) {
			s.inPeer(func() { c, err = s.measure(s.crun, s.crunArgs("exec", crun, "/true")...) })
			return c, err
		})
	if err != nil {
		return err
	}
	t.pairs("exec of a static true, against crun", a, b, 1.0, 1.1)
	return nil
}

// crowd compares the total of 100 runs, 10 at a time.
func (s *stage) crowd(t *table, rounds int) error {
	const total, width = 100, 10
	r := row{name: "100 runs, 10 at a time, against crun, wall", goal: 1.0}
	for range rounds {
		ours, err := s.together(total, width, s.ours, s.oursArgs)
		if err != nil {
			return err
		}
		var crun time.Duration
		s.inPeer(func() { crun, err = s.together(total, width, s.crun, s.crunArgs) })
		if err != nil {
			return err
		}
		r.ours, r.peers = append(r.ours, ours), append(r.peers, crun)
	}
	t.rows = append(t.rows, r)
	return nil
}
