package counters

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// dir is a cgroup directory as text.
func dir(files map[string]string) Source {
	return func(name string) (string, error) {
		s, ok := files[name]
		if !ok {
			return "", fmt.Errorf("%s: %w", name, unix.ENOENT)
		}
		return strings.TrimSpace(s), nil
	}
}

func read(t *testing.T, v2 bool, files map[string]string) *Stats {
	t.Helper()
	s := &Stats{}
	for _, c := range Controllers {
		if err := s.Read(c, v2, dir(files)); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); g != w {
		t.Errorf("%s:\n%s\nwant\n%s", what, g, w)
	}
}

func TestV1(t *testing.T) {
	s := read(t, false, map[string]string{
		"cpu.stat":                                  "nr_periods 5\nnr_throttled 2\nthrottled_time 700\nnr_bursts 1\nburst_time 9\n",
		"cpuacct.stat":                              "user 3\nsystem 4\n",
		"cpuacct.usage":                             "71000000\n",
		"cpuacct.usage_percpu":                      "40000000 31000000 \n",
		"cpuacct.usage_all":                         "cpu user system\n0 10 20\n1 30 40\n",
		"cpuset.cpus":                               "0-1,4\n",
		"cpuset.mems":                               "0\n",
		"cpuset.cpu_exclusive":                      "1\n",
		"cpuset.sched_relax_domain_level":           "-1\n",
		"memory.stat":                               "cache 4096\nrss 8192\n",
		"memory.usage_in_bytes":                     "100",
		"memory.max_usage_in_bytes":                 "150",
		"memory.failcnt":                            "3",
		"memory.limit_in_bytes":                     "9223372036854771712",
		"memory.memsw.usage_in_bytes":               "130",
		"memory.memsw.failcnt":                      "5",
		"memory.use_hierarchy":                      "1",
		"memory.numa_stat":                          "total=7 N0=4 N1=3\nhierarchical_total=9 N0=9\nnuma_locality 0 0\n",
		"pids.current":                              "6",
		"pids.max":                                  "max",
		"blkio.throttle.io_serviced_recursive":      "8:0 Read 1\n8:0 Total 1\nTotal 1\n",
		"blkio.throttle.io_service_bytes_recursive": "8:16 Write 512\n",
		"rdma.current":                              "mlx4_0 hca_handle=1 hca_object=20\n",
		"rdma.max":                                  "mlx4_0 hca_handle=2 hca_object=max\n",
	})
	same(t, "cpu", s.CPU, CPUStats{Total: 71000000, Kernel: 4e7, User: 3e7, PerCPU: []uint64{40000000, 31000000}, PerCPUKernel: []uint64{20, 40},
		PerCPUUser: []uint64{10, 30}, Periods: 5, ThrottledPeriods: 2, Throttled: 700, Bursts: 1, BurstTime: 9})
	same(t, "cpuset", s.CPUSet, CPUSetStats{CPUs: []uint16{0, 1, 4}, Mems: []uint16{0}, CPUExclusive: 1, SchedRelaxDomainLevel: -1})
	same(t, "memory", s.Memory.Usage, MemoryData{Usage: 100, MaxUsage: 150, Failcnt: 3, Limit: 9223372036854771712})
	same(t, "swap", s.Memory.SwapOnly, MemoryData{Usage: 30, Failcnt: 2})
	same(t, "raw", s.Memory.Raw, map[string]uint64{"cache": 4096, "rss": 8192})
	same(t, "numa", s.Memory.NUMA, map[string]NUMAStats{"total": {7, map[uint8]uint64{0: 4, 1: 3}}, "hierarchical_total": {9, map[uint8]uint64{0: 9}}})
	same(t, "pids", s.Pids, PidsStats{Current: 6})
	same(t, "blkio", s.Blkio.Serviced, []BlkioEntry{{8, 0, "Read", 1}, {8, 0, "Total", 1}})
	same(t, "blkio", s.Blkio.ServiceBytes, []BlkioEntry{{8, 16, "Write", 512}})
	same(t, "rdma", s.Rdma, []RdmaStats{{"mlx4_0", 1, 20, 2, ^uint64(0)}})
}

func TestV2(t *testing.T) {
	files := map[string]string{
		"cpu.stat":            "usage_usec 10\nuser_usec 4\nsystem_usec 6\nnr_periods 5\nnr_throttled 2\nthrottled_usec 7\nnr_bursts 1\nburst_usec 3\n",
		"memory.stat":         "anon 1\nfile 4096\nkernel 77\n",
		"memory.current":      "100",
		"memory.peak":         "150",
		"memory.max":          "1000",
		"memory.events":       "low 0\nmax 8\noom_kill 1\n",
		"memory.swap.current": "30",
		"memory.swap.max":     "500",
		"pids.current":        "6",
		"pids.max":            "99",
		"io.stat":             "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n",
		"cpu.pressure":        "some avg10=1.50 avg60=0.25 avg300=0.00 total=123\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=4\n",
	}
	s := read(t, true, files)
	if err := s.ReadUnified(false, dir(files)); err != nil {
		t.Fatal(err)
	}
	same(t, "psi", *s.CPU.PSI, PSI{Some: PSIData{1.5, 0.25, 0, 123}, Full: PSIData{Total: 4}})
	s.CPU.PSI = nil
	same(t, "cpu", s.CPU, CPUStats{Total: 10000, User: 4000, Kernel: 6000, Periods: 5, ThrottledPeriods: 2, Throttled: 7000, Bursts: 1, BurstTime: 3000})
	same(t, "memory", s.Memory.Usage, MemoryData{100, 150, 8, 1000})
	same(t, "swap", s.Memory.Swap, MemoryData{Usage: 130, Limit: 1500})
	same(t, "cache", s.Memory.Cache, 4096)
	same(t, "pids", s.Pids, PidsStats{6, 99})
	same(t, "bytes", s.Blkio.ServiceBytes, []BlkioEntry{{8, 0, "Read", 1}, {8, 0, "Write", 2}})
	same(t, "ios", s.Blkio.Serviced, []BlkioEntry{{8, 0, "Read", 3}, {8, 0, "Write", 4}})
	if s.Memory.PSI != nil {
		t.Error("pressure out of nothing")
	}
}

func TestErrors(t *testing.T) {
	for err, want := range map[error]bool{unix.ENOENT: false, unix.ENODEV: false, unix.EOPNOTSUPP: false, unix.EACCES: true, unix.EIO: true} {
		s := &Stats{}
		if got := s.Read("memory", true, func(string) (string, error) { return "", err }); (got != nil) != want || (want && !errors.Is(got, err)) {
			t.Errorf("%v gives %v", err, got)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add("usage_usec 10\n8:0 rbytes=1\nsome avg10=x total=\n")
	f.Add("total=7 N0=4\n0-4095,9-2\n= = =\n:: 1 2 3")
	f.Fuzz(func(t *testing.T, text string) {
		for _, v2 := range []bool{false, true} {
			s := &Stats{}
			src := func(string) (string, error) { return text, nil }
			for _, c := range Controllers {
				if err := s.Read(c, v2, src); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.ReadUnified(true, src); err != nil {
				t.Fatal(err)
			}
		}
	})
}
