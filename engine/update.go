package engine

import (
	"context"

	"berth/base/fault"
	"berth/container"
	"berth/container/config"
)

// UpdateRequest changes limits and the restart policy of a container.
type UpdateRequest struct {
	Container string
	Resources config.Resources // zero values stay as they are
	Restart   *config.Restart  // nil: as it is
}

// Update changes a container, live if it runs.
func Update(ctx context.Context, e *Engine, r UpdateRequest) error {
	return change(ctx, e, r.Container, func(l *container.Locked, rec *container.Record, f *container.Facts) error {
		if r.Restart != nil && rec.Config.Life.Remove && r.Restart.Policy != "" && r.Restart.Policy != "no" {
			return fault.New(fault.Conflict, "Restart policy cannot be updated because AutoRemove is enabled for the container")
		}
		if e.host().NoCgroup {
			if err := noLimits(&r.Resources); err != nil {
				return err
			}
		}
		merged := rec.Config.Resources
		mergeResources(&merged, &r.Resources)
		devices, err := container.Devices(&rec.Config)
		if err != nil {
			return err
		}
		limits, err := container.Limits(&merged, devices, e.host())
		if err != nil {
			return err
		}
		if f.State().Live() {
			if err := e.Runtime.Update(ctx, string(rec.ID), limits); err != nil {
				return err
			}
		}
		err = l.Update(func(rec *container.Record) error {
			rec.Config.Resources = merged
			if r.Restart != nil {
				rec.Config.Restart = *r.Restart
			}
			return nil
		})
		if err != nil {
			return err
		}
		e.tell(rec, "update", nil)
		return nil
	})
}

// mergeResources lays what was asked for over what there is.
func mergeResources(into, from *config.Resources) {
	override(&into.Memory.Limit, from.Memory.Limit)
	override(&into.Memory.Reservation, from.Memory.Reservation)
	override(&into.Memory.Swap, from.Memory.Swap)
	override(&into.Memory.Kernel, from.Memory.Kernel)
	override(&into.Memory.Swappiness, from.Memory.Swappiness)
	c, d := &into.CPU, &from.CPU
	if d.Nano != 0 { // --cpus and --cpu-quota exclude each other
		c.Quota, c.Period = 0, 0
	} else if d.Quota != 0 || d.Period != 0 {
		c.Nano = 0
	}
	override(&c.Nano, d.Nano)
	override(&c.Shares, d.Shares)
	override(&c.Quota, d.Quota)
	override(&c.Period, d.Period)
	override(&c.RealtimeRuntime, d.RealtimeRuntime)
	override(&c.RealtimePeriod, d.RealtimePeriod)
	override(&c.Cpus, d.Cpus)
	override(&c.Mems, d.Mems)
	override(&into.Block.Weight, from.Block.Weight)
	override(&into.Pids, from.Pids)
}

func override[T comparable](into *T, value T) {
	var zero T
	if value != zero {
		*into = value
	}
}
