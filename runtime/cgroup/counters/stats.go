// Package counters reads what the kernel counted for one cgroup (time, memory,
// block I/O, pressure) into one shape for v1 and v2. Row 2, below
// runtime/cgroup and only for it.
//
// It opens nothing: its caller hands it the text of files. It prints nothing;
// the JSON of `events --stats` is the command line's.
package counters

import (
	"errors"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Stats is what the kernel counted for one container, in v1's terms whatever
// the layout, so that `events --stats` prints the same fields everywhere. What
// a kernel or layout does not count is zero or nil.
type Stats struct {
	CPU     CPUStats
	CPUSet  CPUSetStats
	Memory  MemoryStats
	Pids    PidsStats
	Blkio   BlkioStats
	Hugetlb map[string]HugetlbStats // by page size: "2MB"
	Rdma    []RdmaStats
}

// CPUStats is the use of processors; times are nanoseconds.
type CPUStats struct {
	Total, Kernel, User                  uint64
	PerCPU, PerCPUKernel, PerCPUUser     []uint64
	Periods, ThrottledPeriods, Throttled uint64
	Bursts, BurstTime                    uint64
	PSI                                  *PSI
}

// CPUSetStats are v1's cpuset files.
type CPUSetStats struct {
	CPUs, Mems                                        []uint16
	CPUExclusive, MemExclusive, MemHardwall           uint64
	MemoryMigrate, MemorySpreadPage, MemorySpreadSlab uint64
	MemoryPressure, SchedLoadBalance                  uint64
	SchedRelaxDomainLevel                             int64
}

// MemoryData is one kind of memory in bytes; Failcnt counts refusals. The largest number is no limit.
type MemoryData struct {
	Usage, MaxUsage, Failcnt, Limit uint64
}

// MemoryStats is the use of memory: Swap is memory and swap together, SwapOnly swap alone. Raw is
// memory.stat.
type MemoryStats struct {
	Cache                                    uint64
	Usage, Swap, SwapOnly, Kernel, KernelTCP MemoryData
	UseHierarchy                             bool
	NUMA                                     map[string]NUMAStats // "total", "hierarchical_anon", …: pages
	Raw                                      map[string]uint64
	PSI                                      *PSI
}

// NUMAStats are pages in all and by node.
type NUMAStats struct {
	Total uint64
	Nodes map[uint8]uint64
}

// PidsStats counts processes; Limit 0 is none.
type PidsStats struct{ Current, Limit uint64 }

// BlkioEntry is one number of one block device.
type BlkioEntry struct {
	Major, Minor uint64
	Op           string
	Value        uint64
}

// BlkioStats has runc's names; all are recursive.
type BlkioStats struct {
	ServiceBytes, Serviced, Queued, ServiceTime, WaitTime, Merged, Time, Sectors []BlkioEntry
	PSI                                                                          *PSI
}

// HugetlbStats is the use of huge pages in bytes.
type HugetlbStats struct{ Usage, Max, Failcnt uint64 }

// RdmaStats is one device; the largest number is no limit.
type RdmaStats struct {
	Device                   string
	HcaHandles, HcaObjects   uint64
	HandlesLimit, ObjectsMax uint64
}

// PSI is pressure stall information (accounting/psi.rst): shares of time in
// percent, Total in microseconds.
type PSI struct{ Some, Full PSIData }

// PSIData is one line of PSI.
type PSIData struct {
	Avg10, Avg60, Avg300 float64
	Total                uint64
}

// Source reads one file of one cgroup directory. Errors: ENOENT, ENODEV and
// EOPNOTSUPP mean that the kernel does not have it.
type Source func(file string) (string, error)

// Read fills in what the directory of one controller tells; controllers without
// counters are no error. v2 says that the directory is a unified one.
func (s *Stats) Read(controller string, v2 bool, src Source) error {
	r := &reader{src: src}
	for i := range parsers {
		p := &parsers[i]
		f := p.v1
		if v2 {
			f = p.v2
		}
		if p.controller == controller && f != nil {
			f(r, s)
		}
	}
	return r.err
}

// ReadUnified fills in what every v2 directory has, also without controllers.
// cpu says that CPU time is to be taken from there.
func (s *Stats) ReadUnified(cpu bool, src Source) error {
	r := &reader{src: src}
	s.CPU.PSI, s.Memory.PSI, s.Blkio.PSI = r.psi("cpu.pressure"), r.psi("memory.pressure"), r.psi("io.pressure")
	if cpu {
		cpuStatsV2(r, s)
	}
	return r.err
}

// Controllers lists what Read knows.
var Controllers = []string{"cpu", "cpuacct", "cpuset", "memory", "pids", "blkio", "io", "hugetlb", "rdma"}

var parsers = []struct {
	controller string
	v1, v2     func(*reader, *Stats)
}{
	{"cpu", cpuStatsV1, cpuStatsV2},
	{"cpuacct", cpuacctStats, nil},
	{"cpuset", cpusetStats, nil},
	{"memory", memoryStatsV1, memoryStatsV2},
	{"pids", pidsStats, pidsStats},
	{"blkio", blkioStatsV1, nil},
	{"io", nil, ioStatsV2},
	{"hugetlb", hugetlbStatsV1, hugetlbStatsV2},
	{"rdma", rdmaStats, rdmaStats},
}

// reader reads files of one directory and keeps the first real error.
type reader struct {
	src Source
	err error
}

// text returns a file, "" when there is none or when the kernel has it
// switched off.
func (r *reader) text(file string) string {
	s, err := r.src(file)
	if err != nil && r.err == nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.EOPNOTSUPP) {
		r.err = err
	}
	if err != nil {
		return ""
	}
	return s
}

// num returns a file with one number; "max" is the largest, none is 0.
func (r *reader) num(file string) uint64 {
	s := r.text(file)
	if s == "" {
		return 0
	}
	return ParseUint(s)
}

// nums returns a file of blank-separated numbers.
func (r *reader) nums(file string) []uint64 {
	var out []uint64
	for _, f := range strings.Fields(r.text(file)) {
		out = append(out, ParseUint(f))
	}
	return out
}

func (r *reader) flat(file string) map[string]uint64 { return Flat(r.text(file)) }

func (r *reader) psi(file string) *PSI {
	s := r.text(file)
	if s == "" {
		return nil
	}
	return parsePSI(s)
}

func parsePSI(s string) *PSI {
	p := &PSI{}
	for line := range strings.SplitSeq(s, "\n") {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		d := &p.Some
		if f[0] == "full" {
			d = &p.Full
		}
		for _, kv := range f[1:] {
			k, v, _ := strings.Cut(kv, "=")
			n, _ := strconv.ParseFloat(v, 64)
			switch k {
			case "avg10":
				d.Avg10 = n
			case "avg60":
				d.Avg60 = n
			case "avg300":
				d.Avg300 = n
			case "total":
				d.Total = ParseUint(v)
			}
		}
	}
	return p
}

// parseList reads the kernel's list format "0-3,8" (at most 4096 numbers).
func parseList(s string) []uint16 {
	var out []uint16
	for part := range strings.SplitSeq(s, ",") {
		lo, hi, ok := strings.Cut(strings.TrimSpace(part), "-")
		if !ok {
			hi = lo
		}
		a, err := strconv.ParseUint(lo, 10, 16)
		b, err2 := strconv.ParseUint(hi, 10, 16)
		if err != nil || err2 != nil {
			continue
		}
		for ; a <= b && len(out) < 4096; a++ {
			out = append(out, uint16(a))
		}
	}
	return out
}

// Flat reads "key number" lines; others are left out.
func Flat(s string) map[string]uint64 {
	out := map[string]uint64{}
	for line := range strings.SplitSeq(s, "\n") {
		k, v, ok := strings.Cut(line, " ")
		if !ok {
			continue
		}
		v = strings.TrimSpace(v)
		if n := ParseUint(v); n != ^uint64(0) || v == "max" {
			out[k] = n
		}
	}
	return out
}

// ParseUint reads a decimal number; "max", an empty and a bad one give the
// largest.
func ParseUint(s string) uint64 {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return ^uint64(0)
	}
	return n
}
