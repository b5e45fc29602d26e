package cgroup

import (
	"context"
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/runtime/cgroup/devfilter"
)

const devField = resField + "devices"

// deviceRules is what the container may open, and its v1 form.
type deviceRules struct {
	rules []devfilter.Rule
	set   devfilter.Set
	p     *place
}

// setDevices prepares the device rules: v1 files where the devices controller
// is mounted, else a program on the v2 directory. An ordinary user gets none:
// the kernel lets only root set them, and a user makes no device nodes.
func (c *Cgroup) setDevices(list []specs.LinuxDeviceCgroup, defaults bool) error {
	if len(list) > deviceCap {
		return fmt.Errorf("%s: more than %d rules", devField, deviceCap)
	}
	rules, err := devfilter.Parse(devField, list)
	if err != nil || c.user || (len(rules) == 0 && !defaults) {
		return err
	}
	if defaults {
		rules = append(rules, devfilter.Default()...)
	}
	d := &deviceRules{rules: rules, p: c.at("devices")}
	if d.p != nil && d.p.h != c.l.v2 {
		if d.set, err = devfilter.NewSet(rules); err != nil {
			return fmt.Errorf("%s: %w", devField, err)
		}
		c.rules = d
		return nil
	}
	if d.p = c.v2(); d.p == nil {
		return fmt.Errorf("%s: the cgroup controller devices is %w here (cgroup %s)", devField, errNotAvailable, c.l.Mode)
	}
	c.rules, c.bpf = d, true
	return nil
}

func (c *Cgroup) planDevices() []string {
	if c.rules == nil {
		return nil
	}
	var out []string
	if c.bpf {
		start, rest := devfilter.Reduce(c.rules.rules)
		word := map[bool]string{true: "allow", false: "deny"}
		out = append(out, fmt.Sprintf("bpf %s:%s a *:* rwm", v2Label, word[start]))
		for _, r := range rest {
			out = append(out, fmt.Sprintf("bpf %s:%s %s", v2Label, word[r.Allow], r))
		}
		return out
	}
	for _, op := range c.rules.set.Fresh() {
		out = append(out, fmt.Sprintf("write %s:%s %s", c.rules.p.h.label, opFile(op), op.Line))
	}
	return out
}

func opFile(op devfilter.Op) string {
	if op.Allow {
		return "devices.allow"
	}
	return "devices.deny"
}

// applyDevices sets the rules on a cgroup that was just made.
func (c *Cgroup) applyDevices() error {
	switch {
	case c.rules == nil:
		return nil
	case c.bpf:
		return c.attach(devfilter.AttachFresh)
	}
	return c.writeOps(c.rules.p, c.rules.set.Fresh())
}

func (c *Cgroup) attach(f func(int, []devfilter.Rule) error) error {
	p := c.rules.p
	fd, err := p.h.openAt(p.rel, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return fmt.Errorf("%s: open %s/%s: %w", devField, p.h.mount, p.rel, err)
	}
	defer unix.Close(fd)
	if err := f(fd, c.rules.rules); err != nil {
		return fmt.Errorf("%s: %w", devField, err)
	}
	return nil
}

// writeOps writes runs of lines for the same file through one descriptor.
func (c *Cgroup) writeOps(p *place, ops []devfilter.Op) error {
	for len(ops) > 0 {
		w := write{ctrl: "devices", file: opFile(ops[0]), field: devField, p: p}
		n := 0
		for n < len(ops) && ops[n].Allow == ops[0].Allow {
			w.vals = append(w.vals, ops[n].Line)
			n++
		}
		if err := w.do(); err != nil {
			return err
		}
		ops = ops[n:]
	}
	return nil
}

// updateDevices changes the rules of a running container.
func (c *Cgroup) updateDevices(ctx context.Context) error {
	if c.rules == nil {
		return nil
	}
	if c.bpf {
		return c.attach(devfilter.Attach)
	}
	p := c.rules.p
	text, err := p.h.read(p.rel, "devices.list", 1<<20)
	if err != nil {
		return fmt.Errorf("%s: read %s:devices.list: %w", devField, p.h.label, err)
	}
	from, err := devfilter.ParseList(text)
	if err != nil {
		return fmt.Errorf("%s: %w", devField, err)
	}
	ops, frozen := c.rules.set.Change(from)
	if len(ops) == 0 {
		return nil
	}
	if !frozen {
		return c.writeOps(p, ops)
	}
	return c.whileFrozen(ctx, func() error { return c.writeOps(p, ops) })
}
