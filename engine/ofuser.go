package engine

import (
	"berth/base/fault"
	"berth/container/config"
)

// ofUser refuses what an ordinary user's container cannot be but was asked for by name.
func ofUser(c *config.Config, noCgroup bool) error {
	not := func(format string, args ...any) error { return fault.New(fault.Unsupported, format, args...) }
	if noCgroup && len(c.Devices.Rules) > 0 {
		return not("--device-cgroup-rule: %s", needCgroup)
	}
	if noCgroup {
		return noLimits(&c.Resources)
	}
	return nil
}

// noLimits refuses limits for whoever has no cgroup, by the flag that asks.
func noLimits(r *config.Resources) error {
	m, cpu, b := &r.Memory, &r.CPU, &r.Block
	for _, one := range []struct {
		flag  string
		asked bool
	}{
		{"--memory", m.Limit != 0}, {"--memory-reservation", m.Reservation != 0}, {"--memory-swap", m.Swap != 0}, {"--kernel-memory", m.Kernel != 0},
		{"--memory-swappiness", m.Swappiness != nil}, {"--oom-kill-disable", r.OOMKillDisable}, {"--pids-limit", r.Pids != nil && *r.Pids > 0},
		{"--cpus", cpu.Nano != 0}, {"--cpu-shares", cpu.Shares != 0}, {"--cpu-quota", cpu.Quota != 0}, {"--cpu-period", cpu.Period != 0},
		{"--cpu-rt-runtime", cpu.RealtimeRuntime != 0}, {"--cpu-rt-period", cpu.RealtimePeriod != 0},
		{"--cpuset-cpus", cpu.Cpus != ""}, {"--cpuset-mems", cpu.Mems != ""},
		{"--blkio-weight", b.Weight != 0}, {"--blkio-weight-device", len(b.DeviceWeight) > 0},
		{"--device-read-bps", len(b.ReadBps) > 0}, {"--device-write-bps", len(b.WriteBps) > 0},
		{"--device-read-iops", len(b.ReadIOps) > 0}, {"--device-write-iops", len(b.WriteIOps) > 0},
		{"--cgroup-conf", len(r.Unified) > 0}, {"--cgroup-parent", r.CgroupParent != ""},
	} {
		if one.asked {
			return fault.New(fault.Unsupported, "%s: %s", one.flag, needCgroup)
		}
	}
	return nil
}

const needCgroup = "it takes a cgroup, and an ordinary user has those only with cgroup v2 and a systemd user session (log in, or loginctl enable-linger)"
