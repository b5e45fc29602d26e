package cgroup

//lint:file-ignore SA1019 kernel memory limits are deprecated, and v1 kernels have them

import (
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

const memField = resField + "memory."

// memory takes 0 as not given, -1 as unlimited.
func (b *lowering) memory(res *specs.LinuxResources) error {
	m := res.Memory
	if m == nil {
		return nil
	}
	field := ""
	switch {
	case value(m.Limit) != 0:
		field = "limit"
	case value(m.Swap) != 0:
		field = "swap"
	case value(m.Reservation) != 0:
		field = "reservation"
	case value(m.KernelTCP) != 0:
		field = "kernelTCP"
	case m.Swappiness != nil:
		field = "swappiness"
	case m.DisableOOMKiller != nil && *m.DisableOOMKiller:
		field = "disableOOMKiller"
	case m.UseHierarchy != nil || m.DisableOOMKiller != nil || value(m.Kernel) != 0:
		if b.t.at("memory") == nil {
			return nil // asks for nothing that is not so already
		}
	default:
		return nil
	}
	p, v2, err := b.need("memory", memField+field)
	if err != nil {
		return err
	}
	if v2 {
		return b.memoryV2(p, m)
	}
	b.memoryV1(p, m)
	return nil
}

func (b *lowering) memoryV1(p *place, m *specs.LinuxMemory) {
	put := func(file, name, v string) *write { return b.put(p, "memory", file, memField+name, v) }
	if m.UseHierarchy != nil {
		v := "0"
		if *m.UseHierarchy {
			v = "1"
		}
		put("memory.use_hierarchy", "useHierarchy", v)
	}
	limit, swap := value(m.Limit), value(m.Swap)
	both := limit != 0 && (swap != 0 || limit == -1)
	if limit != 0 {
		// limit ≤ memsw must hold after each of the two writes; which order
		// does depends on the old values, so the refused one goes second.
		w := put("memory.limit_in_bytes", "limit", num(limit))
		w.swap = both
		if m.CheckBeforeUpdate != nil && *m.CheckBeforeUpdate && b.live {
			w.guard = "memory.usage_in_bytes"
		}
	}
	switch {
	case swap != 0:
		// Without swap accounting, unlimited is what the kernel gives.
		put("memory.memsw.limit_in_bytes", "swap", num(swap)).optional = swap == -1
	case both:
		put("memory.memsw.limit_in_bytes", "limit", "-1").optional = true
	}
	if v := value(m.Reservation); v != 0 {
		put("memory.soft_limit_in_bytes", "reservation", num(v))
	}
	if v := value(m.Kernel); v != 0 {
		// The spec lets a runtime ignore it; kernels do since 5.4.
		w := put("memory.kmem.limit_in_bytes", "kernel", num(v))
		w.optional, w.gone = true, true
	}
	if v := value(m.KernelTCP); v != 0 {
		put("memory.kmem.tcp.limit_in_bytes", "kernelTCP", num(v))
	}
	if m.Swappiness != nil {
		put("memory.swappiness", "swappiness", num(*m.Swappiness))
	}
	if m.DisableOOMKiller != nil && (*m.DisableOOMKiller || b.live) {
		v := "0"
		if *m.DisableOOMKiller {
			v = "1"
		}
		put("memory.oom_control", "disableOOMKiller", v)
	}
}

func (b *lowering) memoryV2(p *place, m *specs.LinuxMemory) error {
	switch {
	case m.UseHierarchy != nil && !*m.UseHierarchy:
		return noV2(memField+"useHierarchy", ": it always counts hierarchically")
	case m.DisableOOMKiller != nil && *m.DisableOOMKiller:
		return noV2(memField+"disableOOMKiller", "")
	case m.Swappiness != nil:
		return noV2(memField+"swappiness", " for one container")
	case value(m.KernelTCP) != 0:
		return noV2(memField+"kernelTCP", ": it counts in memory.limit")
	}
	limit := value(m.Limit)
	v, ok, bad := swapOf(limit, value(m.Swap))
	if bad {
		return fmt.Errorf("%sswap: cgroup v2 limits swap alone; the difference needs memory.limit too", memField)
	}
	if ok {
		// Where the kernel has no swap accounting, no swap is what it gives.
		b.put(p, "memory", "memory.swap.max", memField+"swap", orMax(v)).optional = v <= 0
	}
	if limit != 0 {
		w := b.put(p, "memory", "memory.max", memField+"limit", orMax(limit))
		if m.CheckBeforeUpdate != nil && *m.CheckBeforeUpdate && b.live {
			w.guard = "memory.current"
		}
	}
	if r := value(m.Reservation); r != 0 {
		b.put(p, "memory", "memory.low", memField+"reservation", orMax(r))
	}
	return nil
}
