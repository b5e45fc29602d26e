package engine

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"berth/base/atomicfile"
	"berth/base/fault"
	"berth/container"
	"berth/runtime"
)

// Reading is one look at a container's use of the machine.
type Reading struct {
	ID    container.ID
	Name  string
	At    time.Time
	Up    time.Duration
	Stats *runtime.Stats // nil: it does not run
	// In and Out are bytes on its network devices.
	In, Out uint64
}

// ReadStats looks at one container once.
func ReadStats(ctx context.Context, e *Engine, id container.ID) (*Reading, error) {
	rec, err := e.Containers.Get(ctx, string(id))
	if err != nil {
		return nil, err
	}
	facts, err := e.facts(ctx, id)
	if err != nil {
		return nil, err
	}
	r := &Reading{ID: id, Name: rec.Name, At: time.Now()}
	if !facts.State().Live() {
		return r, nil
	}
	r.Up = r.At.Sub(facts.Started.At)
	stats, err := e.Runtime.Stats(string(id))
	if err != nil && e.host().NoCgroup {
		return nil, fault.New(fault.Unsupported, "stats of container %s: %s", rec.Name, needCgroup)
	}
	if err != nil {
		return r, nil // it ended meanwhile
	}
	r.Stats = stats
	r.In, r.Out = traffic(facts.Started.PID)
	return r, nil
}

// traffic sums what the network devices of a process's namespace have carried,
// lo left out: /proc/PID/net/dev, see proc_pid_net(5).
func traffic(pid int) (in, out uint64) {
	b, err := atomicfile.ReadCapped(fmt.Sprintf("/proc/%d/net/dev", pid), 1<<20)
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(b)) {
		name, rest, ok := strings.Cut(line, ":")
		f := strings.Fields(rest)
		if !ok || len(f) < 9 || strings.TrimSpace(name) == "lo" {
			continue
		}
		received, _ := strconv.ParseUint(f[0], 10, 64)
		sent, _ := strconv.ParseUint(f[8], 10, 64)
		in, out = in+received, out+sent
	}
	return in, out
}

// MachineMemory is how much memory the machine has, in bytes: what no limit means.
func MachineMemory() uint64 {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return 1<<64 - 1
	}
	return uint64(info.Totalram) * uint64(info.Unit)
}
