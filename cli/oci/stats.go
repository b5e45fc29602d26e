package oci

import "berth/runtime"

// statsJSON is runc's form of the use of resources: types/events.go there,
// which containerd and others read.
type statsJSON struct {
	CPU     cpuJSON                `json:"cpu"`
	CPUSet  cpusetJSON             `json:"cpuset"`
	Memory  memoryJSON             `json:"memory"`
	Pids    pidsJSON               `json:"pids"`
	Blkio   blkioJSON              `json:"blkio"`
	Hugetlb map[string]hugetlbJSON `json:"hugetlb"`
	Rdt     struct{}               `json:"intel_rdt"`
	// Interfaces would be the network's; runc counts none either.
	Interfaces []struct{} `json:"network_interfaces"`
}

type cpuJSON struct {
	Usage      cpuUsageJSON   `json:"usage"`
	Throttling throttlingJSON `json:"throttling"`
	PSI        *psiJSON       `json:"psi,omitempty"`
}

type cpuUsageJSON struct {
	Total        uint64   `json:"total,omitempty"`
	Percpu       []uint64 `json:"percpu,omitempty"`
	PercpuKernel []uint64 `json:"percpu_kernel,omitempty"`
	PercpuUser   []uint64 `json:"percpu_user,omitempty"`
	Kernel       uint64   `json:"kernel"`
	User         uint64   `json:"user"`
}

type throttlingJSON struct {
	Periods          uint64 `json:"periods,omitempty"`
	ThrottledPeriods uint64 `json:"throttledPeriods,omitempty"`
	ThrottledTime    uint64 `json:"throttledTime,omitempty"`
}

type cpusetJSON struct {
	CPUs                  []uint16 `json:"cpus,omitempty"`
	CPUExclusive          uint64   `json:"cpu_exclusive"`
	Mems                  []uint16 `json:"mems,omitempty"`
	MemHardwall           uint64   `json:"mem_hardwall"`
	MemExclusive          uint64   `json:"mem_exclusive"`
	MemoryMigrate         uint64   `json:"memory_migrate"`
	MemorySpreadPage      uint64   `json:"memory_spread_page"`
	MemorySpreadSlab      uint64   `json:"memory_spread_slab"`
	MemoryPressure        uint64   `json:"memory_pressure"`
	SchedLoadBalance      uint64   `json:"sched_load_balance"`
	SchedRelaxDomainLevel int64    `json:"sched_relax_domain_level"`
}

type memoryJSON struct {
	Cache     uint64            `json:"cache,omitempty"`
	Usage     memoryDataJSON    `json:"usage"`
	Swap      memoryDataJSON    `json:"swap"`
	Kernel    memoryDataJSON    `json:"kernel"`
	KernelTCP memoryDataJSON    `json:"kernelTCP"`
	Raw       map[string]uint64 `json:"raw,omitempty"`
	PSI       *psiJSON          `json:"psi,omitempty"`
}

type memoryDataJSON struct {
	Limit   uint64 `json:"limit"`
	Usage   uint64 `json:"usage,omitempty"`
	Max     uint64 `json:"max,omitempty"`
	Failcnt uint64 `json:"failcnt"`
}

type pidsJSON struct {
	Current uint64 `json:"current,omitempty"`
	Limit   uint64 `json:"limit,omitempty"`
}

type blkioJSON struct {
	ServiceBytes []blkioEntryJSON `json:"ioServiceBytesRecursive,omitempty"`
	Serviced     []blkioEntryJSON `json:"ioServicedRecursive,omitempty"`
	Queued       []blkioEntryJSON `json:"ioQueueRecursive,omitempty"`
	ServiceTime  []blkioEntryJSON `json:"ioServiceTimeRecursive,omitempty"`
	WaitTime     []blkioEntryJSON `json:"ioWaitTimeRecursive,omitempty"`
	Merged       []blkioEntryJSON `json:"ioMergedRecursive,omitempty"`
	Time         []blkioEntryJSON `json:"ioTimeRecursive,omitempty"`
	Sectors      []blkioEntryJSON `json:"sectorsRecursive,omitempty"`
	PSI          *psiJSON         `json:"psi,omitempty"`
}

type blkioEntryJSON struct {
	Major uint64 `json:"major,omitempty"`
	Minor uint64 `json:"minor,omitempty"`
	Op    string `json:"op,omitempty"`
	Value uint64 `json:"value,omitempty"`
}

type hugetlbJSON struct {
	Usage   uint64 `json:"usage,omitempty"`
	Max     uint64 `json:"max,omitempty"`
	Failcnt uint64 `json:"failcnt"`
}

type psiJSON struct {
	Some psiLineJSON `json:"some"`
	Full psiLineJSON `json:"full"`
}

type psiLineJSON struct {
	Avg10  float64 `json:"avg10"`
	Avg60  float64 `json:"avg60"`
	Avg300 float64 `json:"avg300"`
	Total  uint64  `json:"total"`
}

func newStatsJSON(s *runtime.Stats) *statsJSON {
	out := &statsJSON{
		CPU: cpuJSON{
			Usage: cpuUsageJSON{
				Total: s.CPU.Total, Kernel: s.CPU.Kernel, User: s.CPU.User,
				Percpu: s.CPU.PerCPU, PercpuKernel: s.CPU.PerCPUKernel, PercpuUser: s.CPU.PerCPUUser,
			},
			Throttling: throttlingJSON{s.CPU.Periods, s.CPU.ThrottledPeriods, s.CPU.Throttled},
			PSI:        newPSI(s.CPU.PSI),
		},
		CPUSet: cpusetJSON{
			CPUs: s.CPUSet.CPUs, CPUExclusive: s.CPUSet.CPUExclusive, Mems: s.CPUSet.Mems,
			MemHardwall: s.CPUSet.MemHardwall, MemExclusive: s.CPUSet.MemExclusive, MemoryMigrate: s.CPUSet.MemoryMigrate,
			MemorySpreadPage: s.CPUSet.MemorySpreadPage, MemorySpreadSlab: s.CPUSet.MemorySpreadSlab,
			MemoryPressure: s.CPUSet.MemoryPressure, SchedLoadBalance: s.CPUSet.SchedLoadBalance,
			SchedRelaxDomainLevel: s.CPUSet.SchedRelaxDomainLevel,
		},
		Memory: memoryJSON{
			Cache: s.Memory.Cache, Usage: newMemoryData(s.Memory.Usage), Swap: newMemoryData(s.Memory.Swap),
			Kernel: newMemoryData(s.Memory.Kernel), KernelTCP: newMemoryData(s.Memory.KernelTCP),
			Raw: s.Memory.Raw, PSI: newPSI(s.Memory.PSI),
		},
		Pids: pidsJSON{Current: s.Pids.Current, Limit: s.Pids.Limit},
		Blkio: blkioJSON{
			ServiceBytes: newBlkio(s.Blkio.ServiceBytes), Serviced: newBlkio(s.Blkio.Serviced), Queued: newBlkio(s.Blkio.Queued),
			ServiceTime: newBlkio(s.Blkio.ServiceTime), WaitTime: newBlkio(s.Blkio.WaitTime), Merged: newBlkio(s.Blkio.Merged),
			Time: newBlkio(s.Blkio.Time), Sectors: newBlkio(s.Blkio.Sectors), PSI: newPSI(s.Blkio.PSI),
		},
		Hugetlb: make(map[string]hugetlbJSON, len(s.Hugetlb)),
	}
	for size, h := range s.Hugetlb {
		out.Hugetlb[size] = hugetlbJSON(h)
	}
	return out
}

func newMemoryData(d runtime.MemoryData) memoryDataJSON {
	return memoryDataJSON{Limit: d.Limit, Usage: d.Usage, Max: d.MaxUsage, Failcnt: d.Failcnt}
}

func newBlkio(list []runtime.BlkioEntry) []blkioEntryJSON {
	var out []blkioEntryJSON
	for _, e := range list {
		out = append(out, blkioEntryJSON(e))
	}
	return out
}

func newPSI(p *runtime.PSI) *psiJSON {
	if p == nil {
		return nil
	}
	return &psiJSON{Some: psiLineJSON(p.Some), Full: psiLineJSON(p.Full)}
}
