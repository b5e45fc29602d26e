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
	bpf   bool // a program on the v2 directory
}

// devices prepares the device rules: v1 files where the devices controller
// is mounted, else a program on the v2 directory. An ordinary user gets none:
// the kernel lets only root set them, and a user makes no device nodes.
func (t *tree) devices(list []specs.LinuxDeviceCgroup, defaults bool) (*deviceRules, error) {
	if len(list) > deviceCap {
		return nil, fmt.Errorf("%s: more than %d rules", devField, deviceCap)
	}
	rules, err := devfilter.Parse(devField, list)
	if err != nil || t.user || (len(rules) == 0 && !defaults) {
		return nil, err
	}
	if defaults {
		rules = append(rules, devfilter.Default()...)
	}
	d := &deviceRules{rules: rules, p: t.at("devices")}
	if d.p != nil && d.p.h != t.l.v2 {
		if d.set, err = devfilter.NewSet(rules); err != nil {
			return nil, fmt.Errorf("%s: %w", devField, err)
		}
		return d, nil
	}
	if d.p = t.v2(); d.p == nil {
		return nil, fmt.Errorf("%s: the cgroup controller devices is %w here (cgroup %s)", devField, errNotAvailable, t.l.Mode)
	}
	d.bpf = true
	return d, nil
}

func (d *deviceRules) plan() []string {
	if d == nil {
		return nil
	}
	var out []string
	if d.bpf {
		start, rest := devfilter.Reduce(d.rules)
		word := map[bool]string{true: "allow", false: "deny"}
		out = append(out, fmt.Sprintf("bpf %s:%s a *:* rwm", v2Label, word[start]))
		for _, r := range rest {
			out = append(out, fmt.Sprintf("bpf %s:%s %s", v2Label, word[r.Allow], r))
		}
		return out
	}
	for _, op := range d.set.Fresh() {
		out = append(out, fmt.Sprintf("write %s:%s %s", d.p.h.label, opFile(op), op.Line))
	}
	return out
}

func opFile(op devfilter.Op) string {
	if op.Allow {
		return "devices.allow"
	}
	return "devices.deny"
}

// apply sets the rules on a cgroup without processes; in one that existed, a
// program may still be attached.
func (d *deviceRules) apply(existed bool) error {
	switch {
	case d == nil:
		return nil
	case d.bpf && existed:
		return d.attach(devfilter.Attach)
	case d.bpf:
		return d.attach(devfilter.AttachFresh)
	}
	return writeOps(d.p, d.set.Fresh())
}

func (d *deviceRules) attach(f func(int, []devfilter.Rule) error) error {
	p := d.p
	fd, err := p.h.openAt(p.rel, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return fmt.Errorf("%s: open %s/%s: %w", devField, p.h.mount, p.rel, err)
	}
	defer unix.Close(fd)
	if err := f(fd, d.rules); err != nil {
		return fmt.Errorf("%s: %w", devField, err)
	}
	return nil
}

// writeOps writes runs of lines for the same file through one descriptor.
func writeOps(p *place, ops []devfilter.Op) error {
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

// update changes the rules of a running container.
func (d *deviceRules) update(ctx context.Context, t *tree) error {
	if d == nil {
		return nil
	}
	if d.bpf {
		return d.attach(devfilter.Attach)
	}
	p := d.p
	text, err := p.h.read(p.rel, "devices.list", 1<<20)
	if err != nil {
		return fmt.Errorf("%s: read %s:devices.list: %w", devField, p.h.label, err)
	}
	from, err := devfilter.ParseList(text)
	if err != nil {
		return fmt.Errorf("%s: %w", devField, err)
	}
	ops, frozen := d.set.Change(from)
	if len(ops) == 0 {
		return nil
	}
	if !frozen {
		return writeOps(p, ops)
	}
	return t.whileFrozen(ctx, func() error { return writeOps(p, ops) })
}
