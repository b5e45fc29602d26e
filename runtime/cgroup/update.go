package cgroup

import (
	"context"
	"errors"
	"fmt"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Update changes the limits of a running container to what res gives; what res
// leaves out stays. Device rules, when res has any, replace the old ones whole
// (defaults adds DefaultDevices' again). All or nothing: when a later write is
// refused, the earlier ones get their old values back. Errors name the field.
func (c *Cgroup) Update(ctx context.Context, res *specs.LinuxResources, defaults bool) error {
	if c.none != "" {
		if limit := firstField(res); limit != "" {
			return fmt.Errorf("%s: the container has no cgroup: %s", limit, c.none)
		}
		return nil
	}
	res, err := check(res)
	if err != nil {
		return err
	}
	b := lowering{t: &c.tree, live: true}
	if err := b.all(res); err != nil {
		return err
	}
	var rules *deviceRules
	if len(res.Devices) > 0 {
		if rules, err = c.devices(res.Devices, defaults); err != nil {
			return err
		}
	}
	undo, err := remember(b.ws)
	if err != nil {
		return err
	}
	if c.scope != nil {
		if err := c.setScope(ctx, request(&c.tree, res, b.ws, rules)); err != nil {
			return err
		}
	}
	touched, err := perform(b.ws)
	if err == nil {
		err = rules.update(ctx, &c.tree)
	}
	if err == nil {
		return nil
	}
	if e := restore(undo, touched); e != nil {
		return errors.Join(err, fmt.Errorf("put the old limits back: %w", e))
	}
	return err
}

// firstField names one thing that res asks for, "" for nothing.
func firstField(res *specs.LinuxResources) string {
	if res == nil {
		return ""
	}
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"memory", res.Memory != nil}, {"cpu", res.CPU != nil}, {"pids", res.Pids != nil}, {"blockIO", res.BlockIO != nil},
		{"hugepageLimits", len(res.HugepageLimits) > 0}, {"network", res.Network != nil}, {"rdma", len(res.Rdma) > 0},
		{"unified", len(res.Unified) > 0}, {"devices", len(res.Devices) > 0},
	} {
		if f.set {
			return resField + f.name
		}
	}
	return ""
}

// remember makes the writes that restore what is set now: one for each of ws,
// in reverse order, without values where there is nothing to restore.
func remember(ws []write) ([]write, error) {
	undo := make([]write, 0, len(ws))
	for i := len(ws) - 1; i >= 0; i-- {
		w := &ws[i]
		file := w.file
		now, err := w.p.h.readString(w.p.rel, file)
		if errors.Is(err, unix.ENOENT) && w.or != nil {
			file = w.or.file
			now, err = w.p.h.readString(w.p.rel, file)
		}
		switch {
		case err == nil:
		case errors.Is(err, unix.ENOENT):
			undo = append(undo, write{}) // the write itself will say so
			continue
		default:
			return nil, fmt.Errorf("%s: read %s:%s: %w", w.field, w.p.h.label, file, err)
		}
		u := write{ctrl: w.ctrl, file: file, field: w.field, p: w.p, vals: oldValues(file, now, w.vals)}
		// Two writes that contradict each other's old value do so backwards too.
		u.swap = i > 0 && ws[i-1].swap
		undo = append(undo, u)
	}
	return undo, nil
}

// oldValues turns what a file shows into what it takes.
func oldValues(file, now string, vals []string) []string {
	switch {
	case file == "memory.oom_control" || file == "rdma.max" || strings.HasSuffix(file, "ifpriomap"):
		return keyed(file, now, vals)
	case strings.HasPrefix(file, "blkio.throttle."), file == "io.max", strings.HasSuffix(file, "weight_device"),
		file == "io.weight", file == "io.bfq.weight":
		return keyed(file, now, vals)
	case strings.Contains(now, "\n"):
		return nil
	}
	return []string{now}
}

// keyed restores files with one line for each device or name.
func keyed(file, now string, vals []string) []string {
	lines := map[string]string{}
	for line := range strings.SplitSeq(now, "\n") {
		k, v, ok := strings.Cut(strings.TrimSpace(line), " ")
		if ok {
			lines[k] = strings.TrimSpace(v)
		}
	}
	if file == "memory.oom_control" {
		return []string{lines["oom_kill_disable"]}
	}
	var out []string
	for _, v := range vals {
		k, _, ok := strings.Cut(v, " ")
		if !ok {
			k = "default" // a weight for all devices
		}
		old := lines[k]
		switch {
		case old != "":
		case file == "io.max":
			old = "rbps=max wbps=max riops=max wiops=max"
		case file == "io.weight" || file == "io.bfq.weight":
			old = "default"
		case file == "rdma.max":
			old = "hca_handle=max hca_object=max"
		default:
			old = "0"
		}
		if k == "default" {
			out = append(out, old)
			continue
		}
		out = append(out, k+" "+old)
	}
	return out
}

// restore writes back what belongs to the first touched writes, all of it even
// if one fails.
func restore(undo []write, touched int) error {
	var errs []error
	for i := len(undo) - touched; i < len(undo); i++ {
		if len(undo[i].vals) == 0 {
			continue
		}
		err := undo[i].do()
		if errors.Is(err, unix.EINVAL) && undo[i].swap && i+1 < len(undo) {
			if e := undo[i+1].do(); e != nil {
				errs = append(errs, e)
			}
			err = undo[i].do()
			i++
		}
		// A list that failed half-way names a device that is not there.
		if err != nil && !errors.Is(err, unix.ENODEV) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
