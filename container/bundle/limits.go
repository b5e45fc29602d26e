package bundle

//lint:file-ignore SA1019 kernel memory limits are deprecated, and v1 kernels have them

import (
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/base/fault"
	"berth/container/config"
)

// defaultPids is the limit on processes that a container gets without being asked.
const defaultPids = 4096

// minMemory is Docker's floor, in bytes: below it not even the first process fits.
const minMemory = 6 << 20

func ptr[T any](v T) *T { return &v }

// given makes a pointer to what is not zero.
func given[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

func (m *maker) resources() error {
	if err := CheckResources(&m.c.Resources, m.in.Host.CPUs); err != nil {
		return err
	}
	res, err := Limits(&m.c.Resources, m.in.Devices, &m.in.Host)
	m.spec.Linux.Resources = res
	return err
}

// Limits translates resource limits; update uses it, too. dev may be nil if no
// block device is named.
func Limits(r *config.Resources, dev *HostDevices, host *Host) (*specs.LinuxResources, error) {
	out := &specs.LinuxResources{Memory: memoryLimits(r, host), CPU: cpuLimits(&r.CPU), Pids: pidsLimit(r, host), Unified: r.Unified}
	var err error
	out.BlockIO, err = blockLimits(&r.Block, dev)
	return out, err
}

func pidsLimit(r *config.Resources, host *Host) *specs.LinuxPids {
	n := int64(defaultPids)
	switch {
	case r.Pids == nil && host != nil && host.NoCgroup:
		return nil
	case r.Pids != nil && *r.Pids <= 0:
		n = -1
	case r.Pids != nil:
		n = *r.Pids
	}
	return &specs.LinuxPids{Limit: &n}
}

func memoryLimits(r *config.Resources, host *Host) *specs.LinuxMemory {
	l := r.Memory
	swap := l.Swap
	switch {
	case host != nil && host.NoSwapLimit:
		swap = 0 // Docker warns and goes on
	case l.Limit > 0 && swap == 0:
		swap = 2 * l.Limit
	}
	m := &specs.LinuxMemory{
		Limit: given(l.Limit), Reservation: given(l.Reservation), Swap: given(swap), Kernel: given(l.Kernel),
		Swappiness: l.Swappiness,
	}
	if r.OOMKillDisable {
		m.DisableOOMKiller = ptr(true)
	}
	if *m == (specs.LinuxMemory{}) {
		return nil
	}
	return m
}

func cpuLimits(l *config.CPU) *specs.LinuxCPU {
	c := &specs.LinuxCPU{
		Shares: given(l.Shares), Quota: given(l.Quota), Period: given(l.Period),
		RealtimeRuntime: given(l.RealtimeRuntime), RealtimePeriod: given(l.RealtimePeriod), Cpus: l.Cpus, Mems: l.Mems,
	}
	if l.Nano > 0 {
		const period = 100_000 // microseconds
		c.Period, c.Quota = ptr[uint64](period), ptr(l.Nano*period/1e9)
	}
	if *c == (specs.LinuxCPU{}) {
		return nil
	}
	return c
}

func blockLimits(l *config.Block, dev *HostDevices) (*specs.LinuxBlockIO, error) {
	b := &specs.LinuxBlockIO{Weight: given(l.Weight)}
	id := func(path string) (DeviceID, error) {
		if dev != nil {
			if d, ok := dev.Block[path]; ok {
				return d, nil
			}
		}
		return DeviceID{}, fault.New(fault.Invalid, "device %.300q of a block limit was not looked up", path)
	}
	for _, w := range l.DeviceWeight {
		d, err := id(w.Path)
		if err != nil {
			return nil, err
		}
		wd := specs.LinuxWeightDevice{Weight: ptr(uint16(w.Value))}
		wd.Major, wd.Minor = d.Major, d.Minor
		b.WeightDevice = append(b.WeightDevice, wd)
	}
	for _, t := range []struct {
		list []config.DeviceNumber
		into *[]specs.LinuxThrottleDevice
	}{
		{l.ReadBps, &b.ThrottleReadBpsDevice}, {l.WriteBps, &b.ThrottleWriteBpsDevice},
		{l.ReadIOps, &b.ThrottleReadIOPSDevice}, {l.WriteIOps, &b.ThrottleWriteIOPSDevice},
	} {
		for _, n := range t.list {
			d, err := id(n.Path)
			if err != nil {
				return nil, err
			}
			td := specs.LinuxThrottleDevice{Rate: n.Value}
			td.Major, td.Minor = d.Major, d.Minor
			*t.into = append(*t.into, td)
		}
	}
	if b.Weight == nil && len(b.WeightDevice)+len(b.ThrottleReadBpsDevice)+len(b.ThrottleWriteBpsDevice)+len(b.ThrottleReadIOPSDevice)+len(b.ThrottleWriteIOPSDevice) == 0 {
		return nil, nil
	}
	return b, nil
}

// CheckResources refuses limits that make no sense, in Docker's words. cpus is
// how many processors there are, 0 unknown. It is for create and update.
func CheckResources(r *config.Resources, cpus int) error {
	say := func(format string, args ...any) error { return fault.New(fault.Invalid, format, args...) }
	mem, cpu := &r.Memory, &r.CPU
	switch {
	case mem.Limit > 0 && mem.Limit < minMemory:
		return say("Minimum memory limit allowed is 6MB")
	case mem.Limit > 0 && mem.Swap > 0 && mem.Swap < mem.Limit:
		return say("Minimum memoryswap limit should be larger than memory limit, see usage")
	case mem.Limit == 0 && mem.Swap > 0:
		return say("You should always set the Memory limit when using Memoryswap limit, see usage")
	case mem.Swappiness != nil && *mem.Swappiness > 100:
		return say("Invalid value: %d, valid memory swappiness range is 0-100", *mem.Swappiness)
	case mem.Reservation > 0 && mem.Reservation < minMemory:
		return say("Minimum memory reservation allowed is 6MB")
	case mem.Limit > 0 && mem.Reservation > mem.Limit:
		return say("Minimum memory limit can not be less than memory reservation limit, see usage")
	case cpu.Nano > 0 && cpu.Period > 0:
		return say("Conflicting options: Nano CPUs and CPU Period cannot both be set")
	case cpu.Nano > 0 && cpu.Quota > 0:
		return say("Conflicting options: Nano CPUs and CPU Quota cannot both be set")
	case cpu.Nano < 0 || cpus > 0 && cpu.Nano > int64(cpus)*1e9:
		return say("Range of CPUs is from 0.01 to %d.00, as there are only %d CPUs available", cpus, cpus)
	case cpu.Period != 0 && (cpu.Period < 1000 || cpu.Period > 1000000):
		return say("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
	case cpu.Quota > 0 && cpu.Quota < 1000:
		return say("CPU cfs quota can not be less than 1ms (i.e. 1000)")
	case r.Block.Weight != 0 && (r.Block.Weight < 10 || r.Block.Weight > 1000):
		return say("Range of blkio weight is from 10 to 1000")
	}
	return nil
}
