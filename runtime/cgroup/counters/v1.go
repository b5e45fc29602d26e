package counters

import (
	"os"
	"strconv"
	"strings"
	"sync"
)

// tick is one unit of cpuacct.stat: USER_HZ is 100 on every architecture Go
// runs on.
const tick = 1e7 // nanoseconds

func cpuStatsV1(r *reader, s *Stats) {
	m := r.flat("cpu.stat")
	s.CPU.Periods, s.CPU.ThrottledPeriods, s.CPU.Throttled = m["nr_periods"], m["nr_throttled"], m["throttled_time"]
	s.CPU.Bursts, s.CPU.BurstTime = m["nr_bursts"], m["burst_time"]
}

func cpuacctStats(r *reader, s *Stats) {
	m := r.flat("cpuacct.stat")
	s.CPU.User, s.CPU.Kernel = m["user"]*tick, m["system"]*tick
	s.CPU.Total = r.num("cpuacct.usage")
	s.CPU.PerCPU = r.nums("cpuacct.usage_percpu")
	for i, line := range strings.Split(r.text("cpuacct.usage_all"), "\n") {
		if f := strings.Fields(line); i > 0 && len(f) == 3 { // "cpu user system"
			s.CPU.PerCPUUser = append(s.CPU.PerCPUUser, ParseUint(f[1]))
			s.CPU.PerCPUKernel = append(s.CPU.PerCPUKernel, ParseUint(f[2]))
		}
	}
}

func cpusetStats(r *reader, s *Stats) {
	c := &s.CPUSet
	c.CPUs, c.Mems = parseList(r.text("cpuset.cpus")), parseList(r.text("cpuset.mems"))
	for _, f := range []struct {
		file string
		to   *uint64
	}{
		{"cpu_exclusive", &c.CPUExclusive}, {"mem_exclusive", &c.MemExclusive}, {"mem_hardwall", &c.MemHardwall},
		{"memory_migrate", &c.MemoryMigrate}, {"memory_spread_page", &c.MemorySpreadPage},
		{"memory_spread_slab", &c.MemorySpreadSlab}, {"memory_pressure", &c.MemoryPressure},
		{"sched_load_balance", &c.SchedLoadBalance},
	} {
		*f.to = r.num("cpuset." + f.file)
	}
	c.SchedRelaxDomainLevel, _ = strconv.ParseInt(r.text("cpuset.sched_relax_domain_level"), 10, 64)
}

func memoryStatsV1(r *reader, s *Stats) {
	m := &s.Memory
	m.Raw = r.flat("memory.stat")
	m.Cache = m.Raw["cache"]
	data := func(pre string) MemoryData {
		d := MemoryData{Usage: r.num(pre + "usage_in_bytes"), MaxUsage: r.num(pre + "max_usage_in_bytes")}
		d.Failcnt, d.Limit = r.num(pre+"failcnt"), r.num(pre+"limit_in_bytes")
		return d
	}
	m.Usage, m.Swap = data("memory."), data("memory.memsw.")
	m.Kernel, m.KernelTCP = data("memory.kmem."), data("memory.kmem.tcp.")
	// The two are not read at the same instant.
	m.SwapOnly.Usage = m.Swap.Usage - min(m.Usage.Usage, m.Swap.Usage)
	m.SwapOnly.Failcnt = m.Swap.Failcnt - min(m.Usage.Failcnt, m.Swap.Failcnt)
	m.UseHierarchy = r.num("memory.use_hierarchy") == 1
	m.NUMA = parseNUMA(r.text("memory.numa_stat"))
}

// parseNUMA reads "total=44 N0=40 N1=4" lines.
func parseNUMA(s string) map[string]NUMAStats {
	out := map[string]NUMAStats{}
	for line := range strings.SplitSeq(s, "\n") {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		name, total, ok := strings.Cut(f[0], "=")
		if !ok {
			continue
		}
		n := NUMAStats{Total: ParseUint(total), Nodes: map[uint8]uint64{}}
		for _, kv := range f[1:] {
			k, v, ok := strings.Cut(kv, "=")
			if id, err := strconv.ParseUint(strings.TrimPrefix(k, "N"), 10, 8); ok && err == nil {
				n.Nodes[uint8(id)] = ParseUint(v)
			}
		}
		out[name] = n
	}
	return out
}

func pidsStats(r *reader, s *Stats) {
	s.Pids.Current = r.num("pids.current")
	if n := r.num("pids.max"); n != ^uint64(0) {
		s.Pids.Limit = n
	}
}

// blkioStatsV1 takes the first family of files that has anything: BFQ's, CFQ's
// (before Linux 5.0), or the throttling layer's.
func blkioStatsV1(r *reader, s *Stats) {
	b := &s.Blkio
	for _, f := range []struct{ pre, suf string }{
		{"blkio.bfq.", "_recursive"}, {"blkio.", "_recursive"}, {"blkio.throttle.", "_recursive"}, {"blkio.throttle.", ""},
	} {
		b.Serviced = parseBlkio(r.text(f.pre + "io_serviced" + f.suf))
		b.ServiceBytes = parseBlkio(r.text(f.pre + "io_service_bytes" + f.suf))
		if len(b.Serviced) == 0 && len(b.ServiceBytes) == 0 {
			continue
		}
		if f.pre != "blkio.throttle." {
			b.Sectors = parseBlkio(r.text(f.pre + "sectors" + f.suf))
			b.ServiceTime = parseBlkio(r.text(f.pre + "io_service_time" + f.suf))
			b.WaitTime = parseBlkio(r.text(f.pre + "io_wait_time" + f.suf))
			b.Merged = parseBlkio(r.text(f.pre + "io_merged" + f.suf))
			b.Queued = parseBlkio(r.text(f.pre + "io_queued" + f.suf))
			b.Time = parseBlkio(r.text(f.pre + "time" + f.suf))
		}
		return
	}
}

// parseBlkio reads "8:0 Read 4096" and "8:0 4096" lines; "Total n" is left out.
func parseBlkio(s string) []BlkioEntry {
	var out []BlkioEntry
	for line := range strings.SplitSeq(s, "\n") {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		major, minor, ok := strings.Cut(f[0], ":")
		if !ok {
			continue
		}
		e := BlkioEntry{Major: ParseUint(major), Minor: ParseUint(minor), Value: ParseUint(f[len(f)-1])}
		if len(f) > 2 {
			e.Op = f[1]
		}
		out = append(out, e)
	}
	return out
}

func hugetlbStatsV1(r *reader, s *Stats) {
	s.Hugetlb = map[string]HugetlbStats{}
	for _, size := range pageSizes() {
		pre := "hugetlb." + size + ".rsvd."
		if r.text(pre+"usage_in_bytes") == "" {
			pre = "hugetlb." + size + "."
		}
		s.Hugetlb[size] = HugetlbStats{
			Usage: r.num(pre + "usage_in_bytes"), Max: r.num(pre + "max_usage_in_bytes"), Failcnt: r.num(pre + "failcnt"),
		}
	}
}

// pageSizes lists the machine's huge page sizes in cgroup's spelling.
var pageSizes = sync.OnceValue(func() []string {
	entries, _ := os.ReadDir("/sys/kernel/mm/hugepages") // none without huge pages
	var out []string
	for _, e := range entries {
		kb, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimPrefix(e.Name(), "hugepages-"), "kB"), 10, 40)
		switch {
		case err != nil:
		case kb >= 1<<20:
			out = append(out, strconv.FormatUint(kb>>20, 10)+"GB")
		case kb >= 1<<10:
			out = append(out, strconv.FormatUint(kb>>10, 10)+"MB")
		default:
			out = append(out, strconv.FormatUint(kb, 10)+"KB")
		}
	}
	return out
})

func rdmaStats(r *reader, s *Stats) {
	for _, file := range []string{"rdma.current", "rdma.max"} {
		for line := range strings.SplitSeq(r.text(file), "\n") {
			f := strings.Fields(line) // mlx4_0 hca_handle=1 hca_object=20
			if len(f) != 3 {
				continue
			}
			_, handles, _ := strings.Cut(f[1], "=")
			_, objects, _ := strings.Cut(f[2], "=")
			d := s.rdma(f[0])
			if file == "rdma.max" {
				d.HandlesLimit, d.ObjectsMax = ParseUint(handles), ParseUint(objects)
			} else {
				d.HcaHandles, d.HcaObjects = ParseUint(handles), ParseUint(objects)
			}
		}
	}
}

func (s *Stats) rdma(name string) *RdmaStats {
	for i := range s.Rdma {
		if s.Rdma[i].Device == name {
			return &s.Rdma[i]
		}
	}
	s.Rdma = append(s.Rdma, RdmaStats{Device: name})
	return &s.Rdma[len(s.Rdma)-1]
}
