package cgroup

import (
	"fmt"
	"os"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestParseLayouts(t *testing.T) {
	for name, want := range map[string]string{
		"v1":        "v1 name=systemd net_cls,net_prio cpu,cpuacct memory cpuset pids hugetlb blkio devices rdma freezer",
		"hybrid":    "hybrid cpu cpuacct cpuset memory devices freezer blkio pids name=systemd unified",
		"v2":        "v2 unified",
		"container": "v1 name=systemd cpu,cpuacct memory pids",
	} {
		l := fixture(t, name)
		got := l.Mode.String()
		for _, h := range l.v1 {
			got += " " + h.label
		}
		if l.v2 != nil {
			got += " " + l.v2.label
		}
		if got != want {
			t.Errorf("%s: %s\nwant %s", name, got, want)
		}
	}
	if h := fixture(t, "container").find("memory"); h.mount != "/sys/fs/cgroup/memory" || h.root != "/docker/0a1b" {
		t.Errorf("container: memory at %s, root %s", h.mount, h.root)
	}
}

// Both ways to find the layout agree on the machine that runs the test.
func TestDetectAgreesWithMountinfo(t *testing.T) {
	fast, err := detectDir(standardMount)
	if err != nil {
		t.Skipf("cgroup layout that this kernel lacks: %v", err)
	}
	defer fast.Close()
	text, err := readCapped("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	slow, err := Parse(text, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := slow.open(); err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	if fast.Mode != slow.Mode || len(fast.v1) != len(slow.v1) || (fast.v2 == nil) != (slow.v2 == nil) {
		t.Fatalf("%s with %d and %s with %d", fast.Mode, len(fast.v1), slow.Mode, len(slow.v1))
	}
	for _, h := range slow.v1 {
		for _, c := range h.controllers {
			if f := fast.find(c); f == nil || f.mount != h.mount {
				t.Errorf("%s is at %s, Detect says %+v", c, h.mount, f)
			}
		}
	}
}

func TestOwnPath(t *testing.T) {
	l := fixture(t, "container")
	for _, tc := range []struct{ own, label, want string }{
		{"4:memory:/docker/0a1b/x/y\n", "memory", "x/y"},
		{"4:memory:/docker/0a1b\n", "memory", ""},
		{"4:memory:/docker/0a1bc\n", "memory", "error"},
		{"4:memory:/../..\n", "memory", "error"},
		{"4:pids:/a\n", "memory", "error"},
		{"4:memory:/docker/0a1b/a:b (deleted)\n", "memory", "a:b"},
	} {
		var err error
		if l.own, err = parseProcCgroup([]byte(tc.own)); err != nil {
			t.Fatal(err)
		}
		got, err := l.ownPath(l.find(tc.label))
		if err != nil {
			got = "error"
		}
		if got != tc.want {
			t.Errorf("%q: %q, want %q", tc.own, got, tc.want)
		}
	}
}

func TestPaths(t *testing.T) {
	own := "0::/user.slice/user-7.slice/user@7.service/app.scope\n"
	for _, tc := range []struct {
		cfg  Config
		want string
	}{
		{Config{ID: "x"}, "x"},
		{Config{ID: "x", Path: "a/b"}, "a/b"},
		{Config{ID: "x", Path: "/a/b/"}, "a/b"},
		{Config{ID: "x", Path: "../../../etc"}, "etc"},
		{Config{ID: "x", Path: "/a/../../b"}, "b"},
		{Config{ID: "x", Rootless: true}, "user.slice/user-7.slice/user@7.service/x"},
		{Config{ID: "x", Path: "a", Rootless: true}, "user.slice/user-7.slice/user@7.service/a"},
		{Config{ID: "x", Path: "/a", Rootless: true}, "a"},
		{Config{ID: "x", Path: "/"}, "error"},
		{Config{ID: "x", Path: "a/.."}, "error"},
		{Config{ID: ".."}, "error"},
		{Config{ID: "a/b"}, "error"},
		{Config{ID: "x", Path: "a\nb"}, "error"},
		{Config{ID: "x", Path: "a\x00b"}, "error"},
		{Config{ID: "x", Path: strings.Repeat("a/", 2000)}, "error"},
		{Config{ID: "x", Path: strings.Repeat("a", 300)}, "error"},
	} {
		l := fixture(t, "v2")
		l.own, _ = parseProcCgroup([]byte(own))
		got := "error"
		c, err := New(l, tc.cfg)
		if err == nil {
			got = c.places[0].rel
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%.40q: more than one line: %v", tc.cfg.Path, err)
		}
		if got != tc.want {
			t.Errorf("%.40q %v: %q (%v), want %q", tc.cfg.Path, tc.cfg.Rootless, got, err, tc.want)
		}
	}
}

// Every refusal names its field, in one line.
func TestRefusalsNameTheField(t *testing.T) {
	dev := specs.LinuxBlockIODevice{Major: 8}
	for _, tc := range []struct {
		field string
		res   specs.LinuxResources
	}{
		{"memory.limit", specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(-2))}}},
		{"memory.swap", specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(20)), Swap: ptr(int64(10))}}},
		{"memory.swap", specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(-1)), Swap: ptr(int64(10))}}},
		{"memory.swappiness", specs.LinuxResources{Memory: &specs.LinuxMemory{Swappiness: ptr(uint64(101))}}},
		{"cpu.idle", specs.LinuxResources{CPU: &specs.LinuxCPU{Idle: ptr(int64(2))}}},
		{"cpu.period", specs.LinuxResources{CPU: &specs.LinuxCPU{Period: ptr(uint64(10))}}},
		{"cpu.shares", specs.LinuxResources{CPU: &specs.LinuxCPU{Shares: ptr(uint64(1))}}},
		{"cpu.cpus", specs.LinuxResources{CPU: &specs.LinuxCPU{Cpus: "0;1"}}},
		{"cpu.mems", specs.LinuxResources{CPU: &specs.LinuxCPU{Mems: strings.Repeat("0,", 4000)}}},
		{"blockIO.weight", specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{Weight: ptr(uint16(9))}}},
		{"blockIO.weightDevice[0]", specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{WeightDevice: []specs.LinuxWeightDevice{{LinuxBlockIODevice: specs.LinuxBlockIODevice{Major: -1}}}}}},
		{"blockIO.weightDevice[0].weight", specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{WeightDevice: []specs.LinuxWeightDevice{{LinuxBlockIODevice: dev, Weight: ptr(uint16(1001))}}}}},
		{"blockIO.throttleReadBpsDevice[0]", specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{ThrottleReadBpsDevice: []specs.LinuxThrottleDevice{{LinuxBlockIODevice: specs.LinuxBlockIODevice{Minor: 1 << 20}}}}}},
		{"blockIO", specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{ThrottleReadBpsDevice: make([]specs.LinuxThrottleDevice, 5000)}}},
		{"hugepageLimits[0].pageSize", specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "../2MB"}}}},
		{"hugepageLimits[0].pageSize", specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MBMB"}}}},
		{"network.priorities[0].name", specs.LinuxResources{Network: &specs.LinuxNetwork{Priorities: []specs.LinuxInterfacePriority{{Name: "a b"}}}}},
		{"rdma", specs.LinuxResources{Rdma: map[string]specs.LinuxRdma{"a\nb": {}}}},
		{"unified", specs.LinuxResources{Unified: map[string]string{"../memory.max": "1"}}},
		{"unified", specs.LinuxResources{Unified: map[string]string{"cgroup.procs": "1"}}},
		{"unified", specs.LinuxResources{Unified: map[string]string{"cgroup.subtree_control": "-memory"}}},
		{"unified", specs.LinuxResources{Unified: map[string]string{"memory": "1"}}},
		{"unified.memory.max", specs.LinuxResources{Unified: map[string]string{"memory.max": "1\x00"}}},
		{"devices[0].type", specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Type: "x"}}}},
		{"devices", specs.LinuxResources{Devices: make([]specs.LinuxDeviceCgroup, 2000)}},
	} {
		for _, layout := range []string{"v1", "hybrid", "v2"} {
			if tc.field == "cpu.shares" && layout == "v2" {
				continue // v2's weight has room for it
			}
			_, err := New(fixture(t, layout), Config{ID: "x", Resources: &tc.res})
			if err == nil || !strings.HasPrefix(err.Error(), resField+tc.field+":") || strings.Contains(err.Error(), "\n") || len(err.Error()) > 300 {
				t.Errorf("%s: %s: %v", layout, tc.field, err)
			}
		}
	}
}

func TestConversions(t *testing.T) {
	for in, want := range map[uint64]uint64{1: 1, 2: 1, 1024: 100, 262144: 10000, 1 << 40: 10000} {
		if got := weightOfShares(in); got != want {
			t.Errorf("shares %d → weight %d, want %d", in, got, want)
		}
	}
	for s, last := uint64(2), uint64(0); s <= 262144; s += 13 {
		w := weightOfShares(s)
		if w < last || w < 1 || w > 10000 {
			t.Fatalf("shares %d → weight %d after %d", s, w, last)
		}
		last = w
	}
	for in, want := range map[uint16]uint64{10: 1, 1000: 10000, 500: 4950} {
		if got := weightOfBlkio(in); got != want {
			t.Errorf("blkio %d → %d, want %d", in, got, want)
		}
	}
	for in, want := range map[[2]int64]string{
		{0, 0}: "0 false false", {100, 0}: "0 false false", {100, 150}: "50 true false", {100, 100}: "0 true false",
		{100, -1}: "-1 true false", {0, 50}: "0 false true", {-1, 0}: "-1 true false",
	} {
		v, ok, bad := swapOf(in[0], in[1])
		if got := fmt.Sprint(v, ok, bad); got != want {
			t.Errorf("limit %d, swap %d: %s, want %s", in[0], in[1], got, want)
		}
	}
}

func FuzzParseProcCgroup(f *testing.F) {
	f.Add([]byte("9:name=systemd:/\n4:memory:/a/b\n0::/\n"))
	f.Add([]byte("3:cpu,cpuacct:/../x:y (deleted)\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		own, err := parseProcCgroup(text)
		if err != nil {
			return
		}
		l := fixture(t, "container")
		l.own = own
		for i := range l.v1 {
			p, err := l.ownPath(&l.v1[i])
			if err == nil && (strings.HasPrefix(p, "/") || strings.HasPrefix(p, "..")) {
				t.Fatalf("%q gives %q", text, p)
			}
		}
	})
}

func FuzzParseMountinfo(f *testing.F) {
	for _, name := range []string{"v1", "hybrid", "v2", "container"} {
		text, err := os.ReadFile("testdata/layout/" + name + ".mountinfo")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := Parse(text, nil)
		if err != nil {
			return
		}
		if len(l.v1) == 0 && l.v2 == nil {
			t.Fatal("a layout of nothing")
		}
		for _, h := range l.v1 {
			if !strings.HasPrefix(h.mount, "/") || len(h.controllers) == 0 {
				t.Fatalf("bad hierarchy %+v", h)
			}
		}
	})
}

func FuzzCgroupsPath(f *testing.F) {
	for _, p := range []string{"/a/b", "../..", "a//./b", "machine.slice:libpod:x", "a\nb"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p string) {
		rel, err := cleanPath(p)
		if err != nil {
			return
		}
		for part := range strings.SplitSeq(rel, "/") {
			if part == "" || part == "." || part == ".." || strings.ContainsAny(part, "\n\x00") {
				t.Fatalf("%q gives %q", p, rel)
			}
		}
	})
}
