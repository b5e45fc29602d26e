package wire

import "berth/container/config"

// resources are the limits and devices that were asked for.
func resources(c *config.Config) Resources {
	r := &c.Resources
	out := Resources{
		CPUShares: int64(r.CPU.Shares), Memory: r.Memory.Limit, NanoCPUs: r.CPU.Nano, CgroupParent: r.CgroupParent,
		BlkioWeight: r.Block.Weight, BlkioWeightDevice: []WeightDevice{},
		BlkioDeviceReadBps: throttles(r.Block.ReadBps), BlkioDeviceWriteBps: throttles(r.Block.WriteBps),
		BlkioDeviceReadIOps: throttles(r.Block.ReadIOps), BlkioDeviceWriteIOps: throttles(r.Block.WriteIOps),
		CPUPeriod: int64(r.CPU.Period), CPUQuota: r.CPU.Quota, CPURealtimePeriod: int64(r.CPU.RealtimePeriod),
		CPURealtimeRuntime: r.CPU.RealtimeRuntime, CpusetCpus: r.CPU.Cpus, CpusetMems: r.CPU.Mems, Devices: []Device{},
		DeviceCgroupRules: c.Devices.Rules, KernelMemory: r.Memory.Kernel, MemoryReservation: r.Memory.Reservation,
		MemorySwap: swap(r.Memory), OomKillDisable: &r.OOMKillDisable, PidsLimit: r.Pids,
	}
	for _, d := range r.Block.DeviceWeight {
		out.BlkioWeightDevice = append(out.BlkioWeightDevice, WeightDevice{Path: d.Path, Weight: uint16(d.Value)})
	}
	for _, d := range c.Devices.Add {
		out.Devices = append(out.Devices, Device{PathOnHost: d.Host, PathInContainer: d.Container, CgroupPermissions: d.Permissions})
	}
	for _, g := range c.Devices.GPUs {
		out.DeviceRequests = append(out.DeviceRequests, DeviceRequest{Driver: g.Driver, Count: g.Count, DeviceIDs: g.IDs, Capabilities: g.Capabilities, Options: g.Options})
	}
	for _, u := range r.Ulimits {
		out.Ulimits = append(out.Ulimits, Ulimit{Name: u.Name, Hard: u.Hard, Soft: u.Soft})
	}
	if s := r.Memory.Swappiness; s != nil {
		n := int64(*s)
		out.MemorySwappiness = &n
	}
	return out
}

// swap is the limit of memory and swap together: twice the memory's where
// nothing is said.
func swap(m config.Memory) int64 {
	if m.Limit > 0 && m.Swap == 0 {
		return 2 * m.Limit
	}
	return m.Swap
}

func throttles(list []config.DeviceNumber) []ThrottleDevice {
	var out []ThrottleDevice
	for _, d := range list {
		out = append(out, ThrottleDevice{Path: d.Path, Rate: d.Value})
	}
	return out
}
