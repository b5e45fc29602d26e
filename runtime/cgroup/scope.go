package cgroup

import (
	"context"
	"fmt"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/runtime/cgroup/devfilter"
	"berth/runtime/cgroup/unit"
)

// newScope names the unit; its properties are built when the writes are known.
func newScope(cfg *Config) (*unit.Scope, error) {
	if err := plainText("linux.cgroupsPath", cfg.Path, pathCap); err != nil {
		return nil, err
	}
	return unit.Parse(cfg.Path, cfg.ID, cfg.Rootless)
}

// request says what systemd is to be told of res, whose writes are ws.
func request(t *tree, res *specs.LinuxResources, ws []write, d *deviceRules) *unit.Request {
	q := &unit.Request{V2: t.l.Mode == V2, Resources: res, Writes: map[string]string{}}
	for i := range ws {
		for w := &ws[i]; w != nil; w = w.or {
			if w.p.h == t.l.v2 && len(w.vals) == 1 {
				q.Writes[w.file] = w.vals[0]
			}
		}
	}
	if d != nil {
		q.Devices, q.Rules = true, d.rules
		if wildMinor(q.Rules) {
			text, _ := readCapped("/proc/devices") // without it systemd allows fewer groups
			q.Majors = unit.ParseMajors(text)
		}
	}
	return q
}

// wildMinor says that some rule speaks of a driver, whose name systemd wants.
func wildMinor(rules []devfilter.Rule) bool {
	for _, r := range rules {
		if r.Major != devfilter.Any && r.Minor == devfilter.Any {
			return true
		}
	}
	return false
}

// startScope has systemd make the unit with pid inside, and learns where.
func (c *Cgroup) startScope(ctx context.Context, pid int) error {
	if pid <= 0 && !strings.HasSuffix(c.scope.Name, ".slice") {
		return fmt.Errorf("start unit %s: a scope needs a process", c.scope.Name)
	}
	group, err := c.scope.Start(ctx, pid)
	if err != nil {
		if c.user && c.limits != "" {
			return fmt.Errorf("%s: %w", c.limits, err)
		}
		return err
	}
	rel, err := cleanPath(group)
	if err != nil {
		return fmt.Errorf("start unit %s: %w", c.scope.Name, err)
	}
	for i := range c.places {
		c.places[i].rel = rel
	}
	return nil
}

// setScope tells systemd of a change, so that it does not undo it later.
// systemd rewrites v1 device lists by denying everything first, so the
// container stands still meanwhile.
func (c *Cgroup) setScope(ctx context.Context, q *unit.Request) error {
	props, err := unit.Limits(q)
	if err != nil || len(props) == 0 {
		return err
	}
	set := func() error { return c.scope.Set(ctx, props) }
	if q.Devices && !q.V2 {
		return c.whileFrozen(ctx, set)
	}
	return set()
}

// UserManager reports whether an ordinary user's systemd can make cgroups: on v2,
// where it is delegated some.
func UserManager() bool {
	l, err := Detect()
	if err != nil {
		return false
	}
	defer l.Close()
	return l.Mode == V2 && unit.Reachable(context.Background())
}

// OwnScope has the user's systemd make a scope without limits around a process,
// with annotations as a container's has them.
func OwnScope(ctx context.Context, name string, pid int, annotations map[string]string) error {
	s := &unit.Scope{Name: name + ".scope", Slice: "user.slice", User: true}
	if err := s.Build(&unit.Request{ID: name, V2: true, Annotations: annotations}); err != nil {
		return err
	}
	_, err := s.Start(ctx, pid)
	return err
}
