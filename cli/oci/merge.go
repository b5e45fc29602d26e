package oci

import (
	"cmp"
	"maps"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// merge puts what was asked for over the limits that a container has. A nil
// pointer, a 0 and an empty list are not asked for. Devices are never changed:
// update knows none in runc either.
func merge(now, asked *specs.LinuxResources) *specs.LinuxResources {
	out := specs.LinuxResources{}
	if now != nil {
		out = *now
	}
	mergeMemory(&out, asked.Memory)
	mergeCPU(&out, asked.CPU)
	mergeBlockIO(&out, asked.BlockIO)
	if asked.Pids != nil && asked.Pids.Limit != nil && *asked.Pids.Limit != 0 {
		out.Pids = asked.Pids
	}
	out.HugepageLimits = upsert(out.HugepageLimits, asked.HugepageLimits,
		func(h specs.LinuxHugepageLimit) string { return h.Pagesize })
	if asked.Network != nil {
		out.Network = asked.Network
	}
	if len(asked.Rdma) > 0 {
		out.Rdma = cloned(out.Rdma)
		maps.Copy(out.Rdma, asked.Rdma)
	}
	if len(asked.Unified) > 0 {
		out.Unified = cloned(out.Unified)
		maps.Copy(out.Unified, asked.Unified)
	}
	return &out
}

// cloned is a copy of m that can be written to.
func cloned[K comparable, V any](m map[K]V) map[K]V {
	if m == nil {
		return map[K]V{}
	}
	return maps.Clone(m)
}

// given replaces *old by what was asked for.
func given[T comparable](old **T, asked *T) {
	var zero T
	if asked != nil && *asked != zero {
		*old = asked
	}
}

func mergeMemory(out *specs.LinuxResources, asked *specs.LinuxMemory) {
	if asked == nil {
		return
	}
	m := specs.LinuxMemory{}
	if out.Memory != nil {
		m = *out.Memory
	}
	given(&m.Limit, asked.Limit)
	given(&m.Reservation, asked.Reservation)
	given(&m.Swap, asked.Swap)
	given(&m.Swappiness, asked.Swappiness)
	given(&m.DisableOOMKiller, asked.DisableOOMKiller)
	given(&m.CheckBeforeUpdate, asked.CheckBeforeUpdate)
	// A limit of memory and swap together cannot stand without one of memory.
	if asked.Limit != nil && *asked.Limit == -1 && (asked.Swap == nil || *asked.Swap == 0) {
		unlimited := int64(-1)
		m.Swap = &unlimited
	}
	out.Memory = &m
}

func mergeCPU(out *specs.LinuxResources, asked *specs.LinuxCPU) {
	if asked == nil {
		return
	}
	c := specs.LinuxCPU{}
	if out.CPU != nil {
		c = *out.CPU
	}
	given(&c.Shares, asked.Shares)
	given(&c.Quota, asked.Quota)
	given(&c.Period, asked.Period)
	given(&c.RealtimePeriod, asked.RealtimePeriod)
	given(&c.RealtimeRuntime, asked.RealtimeRuntime)
	// 0 means something to these two: no burst, and not idle.
	c.Burst = cmp.Or(asked.Burst, c.Burst)
	c.Idle = cmp.Or(asked.Idle, c.Idle)
	c.Cpus = cmp.Or(asked.Cpus, c.Cpus)
	c.Mems = cmp.Or(asked.Mems, c.Mems)
	out.CPU = &c
}

func mergeBlockIO(out *specs.LinuxResources, asked *specs.LinuxBlockIO) {
	if asked == nil {
		return
	}
	b := specs.LinuxBlockIO{}
	if out.BlockIO != nil {
		b = *out.BlockIO
	}
	given(&b.Weight, asked.Weight)
	given(&b.LeafWeight, asked.LeafWeight)
	type number [2]int64
	b.WeightDevice = upsert(b.WeightDevice, asked.WeightDevice,
		func(d specs.LinuxWeightDevice) number { return number{d.Major, d.Minor} })
	throttle := func(d specs.LinuxThrottleDevice) number { return number{d.Major, d.Minor} }
	b.ThrottleReadBpsDevice = upsert(b.ThrottleReadBpsDevice, asked.ThrottleReadBpsDevice, throttle)
	b.ThrottleWriteBpsDevice = upsert(b.ThrottleWriteBpsDevice, asked.ThrottleWriteBpsDevice, throttle)
	b.ThrottleReadIOPSDevice = upsert(b.ThrottleReadIOPSDevice, asked.ThrottleReadIOPSDevice, throttle)
	b.ThrottleWriteIOPSDevice = upsert(b.ThrottleWriteIOPSDevice, asked.ThrottleWriteIOPSDevice, throttle)
	out.BlockIO = &b
}

// upsert is old with each new item in the place of the one with its key, or at
// the end.
func upsert[T any, K comparable](old, items []T, key func(T) K) []T {
	out := slices.Clone(old)
	for _, item := range items {
		at := slices.IndexFunc(out, func(t T) bool { return key(t) == key(item) })
		if at < 0 {
			out = append(out, item)
		} else {
			out[at] = item
		}
	}
	return out
}
