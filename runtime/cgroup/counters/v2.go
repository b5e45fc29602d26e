package counters

import "strings"

func cpuStatsV2(r *reader, s *Stats) {
	m := r.flat("cpu.stat")
	c := &s.CPU
	c.Total, c.User, c.Kernel = m["usage_usec"]*1000, m["user_usec"]*1000, m["system_usec"]*1000
	c.Periods, c.ThrottledPeriods, c.Throttled = m["nr_periods"], m["nr_throttled"], m["throttled_usec"]*1000
	c.Bursts, c.BurstTime = m["nr_bursts"], m["burst_usec"]*1000
}

func memoryStatsV2(r *reader, s *Stats) {
	m := &s.Memory
	m.Raw = r.flat("memory.stat")
	m.Cache = m.Raw["file"]
	m.UseHierarchy = true
	m.Usage = MemoryData{Usage: r.num("memory.current"), MaxUsage: r.num("memory.peak"), Limit: r.num("memory.max")}
	m.Usage.Failcnt = r.flat("memory.events")["max"]
	// v1 counts memory and swap together.
	m.SwapOnly = MemoryData{Usage: r.num("memory.swap.current"), MaxUsage: r.num("memory.swap.peak"), Limit: r.num("memory.swap.max")}
	m.Swap.Usage = m.Usage.Usage + m.SwapOnly.Usage
	m.Swap.Limit = m.SwapOnly.Limit
	if none := ^uint64(0); m.SwapOnly.Limit != none {
		if m.Usage.Limit == none {
			m.Swap.Limit = none
		} else {
			m.Swap.Limit += m.Usage.Limit
		}
	}
	m.Kernel.Usage = m.Raw["kernel"]
	m.NUMA = nil // memory.numa_stat of v2 has other rows, in bytes
}

// ioStatsV2 reads "8:0 rbytes=1 wbytes=2 rios=3 wios=4 …" lines.
func ioStatsV2(r *reader, s *Stats) {
	for line := range strings.SplitSeq(r.text("io.stat"), "\n") {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		major, minor, ok := strings.Cut(f[0], ":")
		if !ok {
			continue
		}
		e := BlkioEntry{Major: ParseUint(major), Minor: ParseUint(minor)}
		for _, kv := range f[1:] {
			k, v, _ := strings.Cut(kv, "=")
			e.Value = ParseUint(v)
			switch k {
			case "rbytes", "rios":
				e.Op = "Read"
			case "wbytes", "wios":
				e.Op = "Write"
			default:
				continue
			}
			if strings.HasSuffix(k, "bytes") {
				s.Blkio.ServiceBytes = append(s.Blkio.ServiceBytes, e)
			} else {
				s.Blkio.Serviced = append(s.Blkio.Serviced, e)
			}
		}
	}
}

func hugetlbStatsV2(r *reader, s *Stats) {
	s.Hugetlb = map[string]HugetlbStats{}
	for _, size := range pageSizes() {
		pre := "hugetlb." + size
		usage := pre + ".rsvd.current"
		if r.text(usage) == "" {
			usage = pre + ".current"
		}
		s.Hugetlb[size] = HugetlbStats{Usage: r.num(usage), Failcnt: r.flat(pre + ".events")["max"]}
	}
}
