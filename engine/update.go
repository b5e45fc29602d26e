package engine

import (
	"context"
	"maps"
	"slices"
	"strings"

	"berth/base/fault"
	"berth/base/undo"
	"berth/container"
	"berth/container/config"
	"berth/runtime"
)

// UpdateRequest changes limits and the restart policy of a container.
type UpdateRequest struct {
	Container string
	Resources config.Resources // zero values stay as they are
	Restart   *config.Restart  // nil: as it is
	Meta      Meta
	Shape     Shape
	Ports     Ports
}

// Meta changes what a container is said to be, and its next start's environment.
type Meta struct {
	Labels   map[string]string
	NoLabels []string // keys that go
	Env      []string // KEY=value; a bare KEY takes it away
}

// apply changes a record.
func (m *Meta) apply(rec *container.Record) {
	for _, labels := range []*map[string]string{&rec.Config.Labels, &rec.Resolved.Labels} {
		for _, key := range m.NoLabels {
			delete(*labels, key)
		}
		if *labels == nil && len(m.Labels) > 0 {
			*labels = map[string]string{}
		}
		maps.Copy(*labels, m.Labels)
	}
	for _, e := range m.Env {
		rec.Resolved.Env = container.SetEnv(rec.Resolved.Env, e)
		asked := container.SetEnv(rec.Config.Process.Env, e)
		if !strings.Contains(e, "=") {
			asked = append(asked, e) // the image's stays away, too
		}
		rec.Config.Process.Env = asked
	}
}

// Update changes a container, live if it runs.
func Update(ctx context.Context, e *Engine, r UpdateRequest) error {
	if r.Restart != nil {
		if err := r.Restart.Check(); err != nil {
			return err
		}
	}
	return change(ctx, e, r.Container, func(l *container.Locked, rec *container.Record, f *container.Facts) (err error) {
		var u undo.Stack
		shaping := &reshaping{e: e, rec: rec, u: &u}
		if f.State().Live() && !r.Shape.empty() {
			if shaping.in, err = runtime.Enter(e.Runtime, string(rec.ID)); err != nil {
				return err
			}
			defer shaping.in.Close()
			shaping.ids = f.Started.Range
		}
		defer u.Unwind(&err)
		if err := clashes(rec.ID, &rec.Config.Resources.CPU, &r.Resources.CPU); err != nil {
			return err
		}
		if r.Restart != nil && rec.Config.Life.Remove && r.Restart.Wanted() {
			return fault.New(fault.Conflict, "Restart policy cannot be updated because AutoRemove is enabled for the container")
		}
		if e.host().NoCgroup {
			if err := noLimits(&r.Resources); err != nil {
				return err
			}
		}
		merged := rec.Config.Resources
		mergeResources(&merged, &r.Resources)
		had := *rec
		if err := reshape(ctx, shaping, &r.Shape); err != nil {
			return err
		}
		if err := r.Ports.republish(ctx, e, l, rec, f, &u); err != nil {
			return err
		}
		if err := limit(ctx, e, rec, &merged, f.State().Live(), r.Shape.ofDevices()); err != nil {
			return err
		}
		err = l.Update(func(now *container.Record) error {
			now.Config.Resources = merged
			now.Mounts, now.Config.Mounts, now.Config.Devices.Add = rec.Mounts, rec.Config.Mounts, rec.Config.Devices.Add
			now.Config.Network.Publish, now.Config.Network.PublishAll = rec.Config.Network.Publish, rec.Config.Network.PublishAll
			if r.Restart != nil {
				now.Config.Restart = *r.Restart
			}
			r.Meta.apply(now)
			return nil
		})
		if err != nil {
			return err
		}
		u.Release()
		e.tell(rec, "update", nil)
		if !r.Ports.empty() {
			err = e.Networks.Confirm(rec.ID)
		}
		if shaping.in == nil || err != nil {
			return err
		}
		return dropVolumes(ctx, e, &had, rec)
	})
}

// limit checks limits, and gives them to a container that runs; devices says that
// the rules for devices are to be written again.
func limit(ctx context.Context, e *Engine, rec *container.Record, r *config.Resources, live, devices bool) error {
	c := rec.Config
	c.Resources = *r // the devices of the new limits are looked up, too
	found, err := container.Devices(&c)
	if err != nil {
		return err
	}
	limits, err := container.Limits(r, found, e.host())
	if err != nil || !live {
		return err
	}
	if devices && !e.host().NoCgroup {
		limits.Devices = container.DeviceRules(&c, found)
	}
	return e.Runtime.Update(ctx, string(rec.ID), limits)
}

// clashes refuses what Docker does: --cpus and the quota in microseconds do not
// go together, whichever came first.
func clashes(id container.ID, have, asked *config.CPU) error {
	not := func(what, since string) error {
		return fault.New(fault.Conflict, "Cannot update container %s: Conflicting options: %s cannot be updated as %s", id, what, since)
	}
	switch {
	case asked.Nano != 0 && have.Period != 0:
		return not("Nano CPUs", "CPU Period has already been set")
	case asked.Nano != 0 && have.Quota != 0:
		return not("Nano CPUs", "CPU Quota has already been set")
	case asked.Quota != 0 && have.Nano != 0:
		return not("CPU Quota", "NanoCPUs has already been set")
	case asked.Period != 0 && have.Nano != 0:
		return not("CPU Period", "NanoCPUs has already been set")
	}
	return nil
}

// mergeResources lays what was asked for over what there is.
func mergeResources(into, from *config.Resources) {
	override(&into.Memory.Limit, from.Memory.Limit)
	override(&into.Memory.Reservation, from.Memory.Reservation)
	override(&into.Memory.Swap, from.Memory.Swap)
	override(&into.Memory.Kernel, from.Memory.Kernel)
	override(&into.Memory.Swappiness, from.Memory.Swappiness)
	c, d := &into.CPU, &from.CPU
	override(&c.Nano, d.Nano)
	override(&c.Shares, d.Shares)
	override(&c.Quota, d.Quota)
	override(&c.Period, d.Period)
	override(&c.RealtimeRuntime, d.RealtimeRuntime)
	override(&c.RealtimePeriod, d.RealtimePeriod)
	override(&c.Cpus, d.Cpus)
	override(&c.Mems, d.Mems)
	override(&into.Block.Weight, from.Block.Weight)
	b, n := &into.Block, &from.Block
	mergeDevices(&b.DeviceWeight, n.DeviceWeight)
	mergeDevices(&b.ReadBps, n.ReadBps)
	mergeDevices(&b.WriteBps, n.WriteBps)
	mergeDevices(&b.ReadIOps, n.ReadIOps)
	mergeDevices(&b.WriteIOps, n.WriteIOps)
	override(&into.Pids, from.Pids)
	if len(from.Unified) > 0 {
		unified := maps.Clone(into.Unified)
		if unified == nil {
			unified = map[string]string{}
		}
		maps.Copy(unified, from.Unified)
		into.Unified = unified
	}
}

// mergeDevices lets a number for a device take the place of the one before it.
func mergeDevices(into *[]config.DeviceNumber, from []config.DeviceNumber) {
	for _, n := range from {
		*into = append(slices.DeleteFunc(slices.Clone(*into), func(o config.DeviceNumber) bool { return o.Path == n.Path }), n)
	}
}

func override[T comparable](into *T, value T) {
	var zero T
	if value != zero {
		*into = value
	}
}
