package cgroup

//lint:file-ignore SA1019 kernel memory limits are deprecated, and v1 kernels have them

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/runtime/cgroup/counters"
)

const mib = 1 << 20

func TestLimitsReachTheKernel(t *testing.T) {
	l := machine(t)
	c := create(t, l, Config{Resources: &specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: ptr(int64(64 * mib)), Swap: ptr(int64(96 * mib)), Reservation: ptr(int64(32 * mib))},
		CPU:    &specs.LinuxCPU{Shares: ptr(uint64(512)), Quota: ptr(int64(50000)), Period: ptr(uint64(100000)), Burst: ptr(uint64(10000)), Cpus: "0", Mems: "0"},
		Pids:   &specs.LinuxPids{Limit: ptr(int64(37))},
	}})
	want := [][3]string{
		{"memory", "memory.limit_in_bytes", "67108864"}, {"memory", "memory.memsw.limit_in_bytes", "100663296"},
		{"memory", "memory.soft_limit_in_bytes", "33554432"}, {"cpu", "cpu.shares", "512"}, {"cpu", "cpu.cfs_quota_us", "50000"},
		{"cpu", "cpu.cfs_period_us", "100000"}, {"cpu", "cpu.cfs_burst_us", "10000"},
		{"cpuset", "cpuset.cpus", "0"}, {"cpuset", "cpuset.mems", "0"}, {"pids", "pids.max", "37"},
	}
	if l.Mode == V2 {
		want = [][3]string{
			{"", "memory.max", "67108864"}, {"", "memory.swap.max", "33554432"}, {"", "memory.low", "33554432"}, {"", "cpu.weight", "59"},
			{"", "cpu.max", "50000 100000"}, {"", "cpu.max.burst", "10000"}, {"", "cpuset.cpus", "0"}, {"", "cpuset.mems", "0"}, {"", "pids.max", "37"},
		}
	}
	for _, w := range want {
		if got := c.file(t, w[0], w[1]); got != w[2] {
			t.Errorf("%s = %s, want %s", w[1], got, w[2])
		}
	}
}

func TestV1OnlyMemory(t *testing.T) {
	l := machine(t)
	if l.find("memory") == nil {
		t.Skip("cgroup layout that this kernel lacks: v1 memory")
	}
	c := create(t, l, Config{Resources: &specs.LinuxResources{Memory: &specs.LinuxMemory{
		Kernel: ptr(int64(64 * mib)), KernelTCP: ptr(int64(mib)), Swappiness: ptr(uint64(7)), DisableOOMKiller: ptr(true), UseHierarchy: ptr(true),
	}}})
	for file, want := range map[string]string{"memory.kmem.tcp.limit_in_bytes": "1048576", "memory.swappiness": "7"} {
		if got := c.file(t, "memory", file); got != want {
			t.Errorf("%s = %s, want %s", file, got, want)
		}
	}
	if got := c.file(t, "memory", "memory.oom_control"); !strings.Contains(got, "oom_kill_disable 1") {
		t.Errorf("memory.oom_control = %s", got)
	}
}

// Up and down in both orders: the kernel wants limit ≤ memsw after each write.
func TestUpdateMemoryAndSwapInEitherDirection(t *testing.T) {
	l := machine(t)
	needs(t, l, "memory")
	c := create(t, l, Config{})
	for _, v := range [][2]int64{{64, 96}, {512, 1024}, {32, 32}, {2000, -1}, {16, 24}, {-1, 0}, {48, 48}} {
		m := &specs.LinuxMemory{Limit: ptr(v[0] * mib)}
		if v[0] < 0 {
			m.Limit = ptr(int64(-1))
		}
		switch {
		case v[1] < 0:
			m.Swap = ptr(int64(-1))
		case v[1] > 0:
			m.Swap = ptr(v[1] * mib)
		}
		if err := c.Update(t.Context(), &specs.LinuxResources{Memory: m}, false); err != nil {
			t.Fatalf("to %v MiB: %v", v, err)
		}
		file := "memory.limit_in_bytes"
		if l.Mode == V2 {
			file = "memory.max"
		}
		got := c.file(t, "memory", file)
		if v[0] > 0 && got != fmt.Sprint(v[0]*mib) {
			t.Errorf("to %v MiB: %s = %s", v, file, got)
		}
		if v[0] < 0 && got != "max" && counters.ParseUint(got) < 1<<60 {
			t.Errorf("to %v: %s = %s", v, file, got)
		}
	}
}

func TestUpdateIsAllOrNothing(t *testing.T) {
	l := machine(t)
	c := create(t, l, Config{Resources: &specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: ptr(int64(64 * mib)), Swap: ptr(int64(96 * mib))},
		CPU:    &specs.LinuxCPU{Shares: ptr(uint64(512)), Quota: ptr(int64(50000)), Period: ptr(uint64(100000)), Cpus: "0"},
		Pids:   &specs.LinuxPids{Limit: ptr(int64(37))},
	}})
	files := [][2]string{{"memory", "memory.limit_in_bytes"}, {"memory", "memory.memsw.limit_in_bytes"}, {"cpu", "cpu.shares"},
		{"cpu", "cpu.cfs_quota_us"}, {"cpu", "cpu.cfs_period_us"}, {"cpuset", "cpuset.cpus"}, {"pids", "pids.max"}}
	if l.Mode == V2 {
		files = [][2]string{{"", "memory.max"}, {"", "memory.swap.max"}, {"", "cpu.weight"}, {"", "cpu.max"}, {"", "cpuset.cpus"}, {"", "pids.max"}}
	}
	snapshot := func() (s string) {
		for _, f := range files {
			s += f[1] + "=" + c.file(t, f[0], f[1]) + "\n"
		}
		return s
	}
	before := snapshot()
	err := c.Update(t.Context(), &specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: ptr(int64(512 * mib)), Swap: ptr(int64(1024 * mib))},
		CPU:    &specs.LinuxCPU{Shares: ptr(uint64(1024)), Quota: ptr(int64(20000)), Period: ptr(uint64(50000)), Cpus: "0-1"},
		Pids:   &specs.LinuxPids{Limit: ptr(int64(99))},
		BlockIO: &specs.LinuxBlockIO{ThrottleReadBpsDevice: []specs.LinuxThrottleDevice{
			{LinuxBlockIODevice: specs.LinuxBlockIODevice{Major: 4000, Minor: 7}, Rate: 1}}},
	}, false)
	if err == nil || !strings.Contains(err.Error(), "throttleReadBpsDevice") || strings.Contains(err.Error(), "\n") {
		t.Errorf("Update = %v", err)
	}
	if after := snapshot(); after != before {
		t.Errorf("the refused update changed\n%sto\n%s", before, after)
	}
}

func TestUpdatePeriodAloneKeepsQuota(t *testing.T) {
	l := machine(t)
	needs(t, l, "cpu")
	c := create(t, l, Config{Resources: &specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: ptr(int64(20000)), Period: ptr(uint64(50000))}}})
	for _, u := range []specs.LinuxCPU{{Period: ptr(uint64(100000))}, {Quota: ptr(int64(30000))}, {Quota: ptr(int64(-1))}, {Quota: ptr(int64(2000)), Period: ptr(uint64(2000))}} {
		if err := c.Update(t.Context(), &specs.LinuxResources{CPU: &u}, false); err != nil {
			t.Fatal(err)
		}
		got := ""
		if l.Mode == V2 {
			got = c.file(t, "", "cpu.max")
		} else {
			got = c.file(t, "cpu", "cpu.cfs_quota_us") + " " + c.file(t, "cpu", "cpu.cfs_period_us")
		}
		want := "20000 100000"
		switch {
		case value(u.Quota) == 30000:
			want = "30000 100000"
		case value(u.Quota) == -1 && l.Mode == V2:
			want = "max 100000"
		case value(u.Quota) == -1:
			want = "-1 100000"
		case value(u.Quota) == 2000:
			want = "2000 2000"
		}
		if got != want {
			t.Errorf("quota and period = %s, want %s", got, want)
		}
	}
}

func TestCheckBeforeUpdate(t *testing.T) {
	l := machine(t)
	needs(t, l, "memory")
	c := create(t, l, Config{})
	run(t, c, "x=$(head -c 20000000 /dev/zero | tr '\\0' x); read y")
	usage := "memory.usage_in_bytes"
	if l.Mode == V2 {
		usage = "memory.current"
	}
	eventually(t, "uses memory", func() bool { return counters.ParseUint(c.file(t, "memory", usage)) > 18*mib })
	err := c.Update(t.Context(), &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(8 * mib)), CheckBeforeUpdate: ptr(true)}}, false)
	if err == nil || !strings.Contains(err.Error(), "are in use") || !strings.HasPrefix(err.Error(), "linux.resources.memory.limit") {
		t.Errorf("Update = %v", err)
	}
	if p, _ := c.PIDs(true); len(p) == 0 {
		t.Error("the refused update killed")
	}
}

func TestOOM(t *testing.T) {
	l := machine(t)
	needs(t, l, "memory")
	c := create(t, l, Config{Resources: &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(16 * mib)), Swap: ptr(int64(16 * mib))}}})
	o, err := c.WatchOOM()
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := o.Wait(ctx); err != context.DeadlineExceeded {
		t.Fatalf("Wait without an event = %v", err)
	}

	out, code := output(t, c, "x=$(head -c 60000000 /dev/zero | tr '\\0' x); echo ${#x}")
	ctx2, cancel2 := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel2()
	if err := o.Wait(ctx2); err != nil {
		t.Errorf("Wait = %v (shell: %s, %d)", err, out, code)
	}
	if n, err := c.OOMKills(); err != nil || n == 0 {
		t.Errorf("OOMKills = %d, %v", n, err)
	}
	if err := c.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	for {
		if err := o.Wait(ctx2); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("Wait after Remove = %v", err)
		}
	}
}

func TestStats(t *testing.T) {
	l := machine(t)
	c := create(t, l, Config{Resources: &specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: ptr(int64(64 * mib))}, Pids: &specs.LinuxPids{Limit: ptr(int64(37))},
		CPU: &specs.LinuxCPU{Cpus: "0", Quota: ptr(int64(20000)), Period: ptr(uint64(100000))}}})
	run(t, c, "x=$(head -c 1500000 /dev/zero | tr '\\0' x); while :; do :; done")
	var s *Stats
	eventually(t, "counted", func() bool {
		var err error
		if s, err = c.Stats(); err != nil {
			t.Fatal(err)
		}
		return s.CPU.Total > 20e6 && s.Memory.Usage.Usage > mib && s.CPU.ThrottledPeriods > 0
	})
	if s.Memory.Usage.Limit != 64*mib || s.Memory.Usage.MaxUsage == 0 || len(s.Memory.Raw) < 10 {
		t.Errorf("memory: %+v", s.Memory.Usage)
	}
	if s.Pids.Current == 0 || s.Pids.Limit != 37 {
		t.Errorf("pids: %+v", s.Pids)
	}
	if l.find("cpuset") != nil && (len(s.CPUSet.CPUs) != 1 || len(s.CPUSet.Mems) == 0) {
		t.Errorf("cpuset: %+v", s.CPUSet)
	}
	if l.find("cpuacct") != nil && len(s.CPU.PerCPU) == 0 {
		t.Errorf("cpu: %+v", s.CPU)
	}
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := c.Remove(short); err == nil {
		t.Error("removed with a process inside")
	}
	if err := c.Kill(unix.SIGKILL); err != nil {
		t.Error(err)
	}
	if err := c.Remove(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := c.Stats(); err == nil || !strings.Contains(err.Error(), "gone") {
		t.Errorf("Stats of a removed one = %v", err)
	}
}

// On this machine hugetlb lives in the unified hierarchy: the one controller
// there that a hybrid machine lets us test.
func TestUnifiedControllerIsEnabled(t *testing.T) {
	l := machine(t)
	if len(l.unified()) == 0 {
		t.Skip("cgroup layout that this kernel lacks: a controller in the unified hierarchy")
	}
	var c *Cgroup
	t.Cleanup(func() {
		for _, p := range c.places {
			_ = p.h.rmdir(strings.Trim(name(t), "/") + "/deep")
			_ = p.h.rmdir(strings.Trim(name(t), "/"))
		}
		clean(l)
	})
	c = create(t, l, Config{Path: name(t) + "/deep/er"})
	got := strings.Fields(c.file(t, "", "cgroup.controllers"))
	if strings.Join(got, " ") != strings.Join(l.unified(), " ") {
		t.Errorf("controllers %v, want %v", got, l.unified())
	}
	// A directory with processes cannot control children: said in one line.
	own := &place{l.v2, strings.Trim(name(t), "/") + "/deep/er"}
	cmd := run(t, c, "read x")
	eventually(t, "joined", func() bool { p, _ := own.h.pids(own.rel, false); return len(p) > 0 })
	ctrl := l.unified()[0]
	if slices.Contains(l.unified(), "memory") {
		ctrl = "memory" // others can be threaded
	}
	inner, err := New(l, Config{ID: "t", Path: "/" + own.rel + "/x", Resources: &specs.LinuxResources{
		Unified: map[string]string{ctrl + ".x": "1"}}})
	if err != nil {
		t.Fatal(err)
	}
	err = inner.Create(t.Context(), 0)
	if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "a cgroup with processes of its own cannot control children") {
		t.Errorf("Create below a used one = %v", err)
	}
	_ = cmd
}

func TestDelegation(t *testing.T) {
	l := machine(t)
	if l.v2 == nil {
		t.Skip("cgroup layout that this kernel lacks: v2")
	}
	c := create(t, l, Config{OwnerUID: 123456})
	dir := c.Paths()[""]
	for file, want := range map[string]uint32{"": 123456, "cgroup.procs": 123456, "cgroup.subtree_control": 123456, "cgroup.threads": 123456,
		"cgroup.freeze": 0, "cgroup.kill": 0, "cgroup.max.depth": 0} {
		var st unix.Stat_t
		if err := unix.Stat(dir+"/"+file, &st); err != nil {
			t.Fatal(err)
		}
		if st.Uid != want {
			t.Errorf("%s belongs to %d, want %d", file, st.Uid, want)
		}
	}
	for _, p := range c.places {
		var st unix.Stat_t
		if p.h != l.v2 {
			if err := unix.Stat(p.h.mount+"/"+p.rel, &st); err != nil || st.Uid != 0 {
				t.Errorf("v1 %s belongs to %d, %v", p.h.label, st.Uid, err)
			}
		}
	}
}

// As an ordinary user: without limits no cgroup, with limits a refusal that
// says why. Done by a child with another uid, as threads share nothing else.
func TestOrdinaryUser(t *testing.T) {
	l := machine(t)
	for _, tc := range []struct {
		res  *specs.LinuxResources
		want string
	}{
		{nil, ""},
		{&specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Access: "rwm"}}}, ""},
		{&specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(5))}}, "linux.resources.pids.limit: cgroup limits for an ordinary user need cgroup v2 delegation"},
	} {
		c, err := New(l, Config{ID: fmt.Sprintf("berth-test-%d-user", os.Getpid()), Rootless: true, Resources: tc.res, DefaultDevices: true})
		if err != nil {
			t.Fatal(err)
		}
		err = as(t, 65534, func() error { return c.Create(t.Context(), 0) })
		switch {
		case tc.want == "" && (err != nil || c.Skipped() == ""):
			t.Errorf("Create = %v, Skipped %q", err, c.Skipped())
		case tc.want != "" && (err == nil || !strings.HasPrefix(err.Error(), tc.want) || strings.Contains(err.Error(), "\n")):
			t.Errorf("Create = %v, want %s", err, tc.want)
		}
		if tc.want != "" {
			continue
		}
		if tasks, dir, err := c.JoinFDs(); err != nil || len(tasks) > 0 || dir != nil {
			t.Errorf("JoinFDs without a cgroup = %v %v %v", tasks, dir, err)
		}
		again, err := Open(l, c.State())
		if err != nil || again.Skipped() == "" || len(again.Paths()) > 0 {
			t.Errorf("Open(%+v) = %v", c.State(), err)
		}
		if err := again.Update(t.Context(), &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(5))}}, false); err == nil {
			t.Error("Update without a cgroup took a limit")
		}
		if err := again.Remove(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
