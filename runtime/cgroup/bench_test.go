package cgroup

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// typical is what dockerd asks for by default.
func typical() Config {
	return Config{ID: fmt.Sprintf("berth-test-%d-bench", os.Getpid()), DefaultDevices: true, Resources: &specs.LinuxResources{
		Devices: []specs.LinuxDeviceCgroup{
			{Access: "rwm"}, rule(true, "c", 1, 5, "rwm"), rule(true, "c", 1, 3, "rwm"), rule(true, "c", 1, 9, "rwm"),
			rule(true, "c", 1, 8, "rwm"), rule(true, "c", 5, 0, "rwm"), rule(true, "c", 5, 1, "rwm"), rule(false, "c", 10, 229, "rwm")},
		Memory: &specs.LinuxMemory{Limit: ptr(int64(512 * mib)), Swap: ptr(int64(512 * mib))},
		Pids:   &specs.LinuxPids{Limit: ptr(int64(4096))},
	}}
}

// BenchmarkWhole is all that one run needs of this package, but for the
// child's own writes.
func BenchmarkWhole(b *testing.B) {
	if os.Getuid() != 0 {
		b.Skip("needs root: makes cgroups")
	}
	var spent [4]time.Duration
	for b.Loop() {
		t := time.Now()
		lap := func(i int) {
			spent[i] += time.Since(t)
			t = time.Now()
		}
		l, err := Detect()
		if err != nil {
			b.Fatal(err)
		}
		lap(0)
		c, err := New(l, typical())
		if err != nil {
			b.Fatal(err)
		}
		if err := c.Create(b.Context(), 0); err != nil {
			b.Fatal(err)
		}
		lap(1)
		tasks, dir, err := c.JoinFDs()
		if err != nil {
			b.Fatal(err)
		}
		closeFiles(tasks, dir)
		lap(2)
		if err := c.Remove(b.Context()); err != nil {
			b.Fatal(err)
		}
		l.Close()
		lap(3)
	}
	for i, name := range []string{"detect", "create", "joinfds", "remove"} {
		b.ReportMetric(float64(spent[i].Microseconds())/float64(b.N), name+"-µs/op")
	}
}

// BenchmarkJoin compares the two ways into a v1 cgroup, each after a pause as
// between two containers.
func BenchmarkJoin(b *testing.B) {
	l := machine(b)
	if l.find("pids") == nil {
		b.Skip("cgroup layout that this kernel lacks: v1")
	}
	c := create(b, l, Config{})
	p := c.at("pids")
	b.Run("outside", func(b *testing.B) {
		cmd := exec.Command("sleep", "100")
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
		var spent time.Duration
		n := 0
		for ; n < 10; n++ {
			time.Sleep(200 * time.Millisecond)
			t := time.Now()
			if _, err := p.h.write(p.rel, "cgroup.procs", strconv.Itoa(cmd.Process.Pid)); err != nil {
				b.Fatal(err)
			}
			spent += time.Since(t)
		}
		b.ReportMetric(float64(spent.Microseconds())/float64(n), "cold-µs/join")
		b.ReportMetric(0, "ns/op")
	})
	b.Run("self", func(b *testing.B) {
		var spent time.Duration
		n := 0
		for ; n < 10; n++ {
			time.Sleep(200 * time.Millisecond)
			out, err := exec.Command("/bin/bash", "-c", fmt.Sprintf(
				"a=${EPOCHREALTIME/./}; echo 0 > %s/%s/tasks; echo $((${EPOCHREALTIME/./}-a))", p.h.mount, p.rel)).Output()
			if err != nil {
				b.Fatal(err)
			}
			us, err := strconv.Atoi(string(out[:len(out)-1]))
			if err != nil {
				b.Fatal(err)
			}
			spent += time.Duration(us) * time.Microsecond
		}
		b.ReportMetric(float64(spent.Microseconds())/float64(n), "cold-µs/join")
		b.ReportMetric(0, "ns/op")
	})
}
