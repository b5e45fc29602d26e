package runtime_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/runtime"
)

// BenchmarkParent measures create, start and the end of /bin/true with an
// overlay root and all namespaces, as the caller's child and as another's, by
// turns: what the detour costs.
func BenchmarkParent(b *testing.B) {
	s := newStage(b)
	ctx := context.Background()
	req := s.request(b, "")
	req.Spec.Process.Args = []string{"/bin/true"}
	var times [2][]time.Duration
	one := func(n int, p runtime.Parent) time.Duration {
		r := req
		r.ID += "-" + strconv.Itoa(n)
		r.Parent = p
		begin := time.Now()
		c, err := s.rt.Create(ctx, r)
		must(b, err)
		must(b, s.rt.Start(ctx, r.ID))
		if p == nil {
			_, err = unix.Wait4(c.PID, nil, 0, nil)
			for err == unix.EINTR {
				_, err = unix.Wait4(c.PID, nil, 0, nil)
			}
			if err != unix.ECHILD { // the leak snapshot's reaper was faster
				must(b, err)
			}
		} else {
			s.parent.wait(b, c.PID)
		}
		took := time.Since(begin)
		must(b, s.rt.Delete(ctx, r.ID, false))
		return took
	}
	for n := 0; b.Loop(); n++ {
		times[0] = append(times[0], one(2*n, nil))
		times[1] = append(times[1], one(2*n+1, s.parent))
	}
	for i, name := range []string{"self-µs", "parent-µs"} {
		slices.Sort(times[i])
		b.ReportMetric(float64(times[i][len(times[i])/2].Microseconds()), name)
		b.ReportMetric(float64(times[i][len(times[i])/10].Microseconds()), "p10-"+name)
	}
}

// BenchmarkParentAsked measures one question to the parent, of which a start
// has two: what a detour costs, also as CPU time of both processes.
func BenchmarkParentAsked(b *testing.B) {
	s := newStage(b)
	begin := cpuTime(b, os.Getpid()) + cpuTime(b, s.parent.pid)
	for b.Loop() {
		must(b, s.parent.Spoken(0))
	}
	used := cpuTime(b, os.Getpid()) + cpuTime(b, s.parent.pid) - begin
	b.ReportMetric(float64(used.Microseconds())/float64(b.N), "cpu-µs/op")
}

// cpuTime is what the threads of a process have used: proc/schedstat of the
// kernel's Documentation/scheduler/sched-stats.
func cpuTime(b *testing.B, pid int) time.Duration {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	must(b, err)
	var all time.Duration
	for _, path := range tasks {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		var ns int64
		_, err = fmt.Sscan(string(text), &ns)
		must(b, err)
		all += time.Duration(ns)
	}
	return all
}
