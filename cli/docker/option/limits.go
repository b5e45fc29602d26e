package option

import (
	"fmt"
	"strconv"
	"strings"

	units "github.com/docker/go-units"
	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/container/config"
)

// Limits are the flags of resources, of which update has some too.
type Limits struct {
	r          config.Resources
	swappiness int64
	pids       int64
	shares     int64
	period     int64
	rtPeriod   int64
	score      int
	conf       []string
	flags      *pflag.FlagSet
}

// Flags adds those that a running container's limits can be changed with.
func (l *Limits) Flags(f *pflag.FlagSet) {
	l.flags = f
	r := &l.r
	f.Var(number16(&r.Block.Weight), "blkio-weight", "Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)")
	f.Int64Var(&l.period, "cpu-period", 0, "Limit CPU CFS (Completely Fair Scheduler) period")
	f.Int64Var(&r.CPU.Quota, "cpu-quota", 0, "Limit CPU CFS (Completely Fair Scheduler) quota")
	f.Int64Var(&l.rtPeriod, "cpu-rt-period", 0, "Limit CPU real-time period in microseconds")
	f.Int64Var(&r.CPU.RealtimeRuntime, "cpu-rt-runtime", 0, "Limit CPU real-time runtime in microseconds")
	f.Int64VarP(&l.shares, "cpu-shares", "c", 0, "CPU shares (relative weight)")
	f.Var(decimal(&r.CPU.Nano), "cpus", "Number of CPUs")
	f.StringVar(&r.CPU.Cpus, "cpuset-cpus", "", "CPUs in which to allow execution (0-3, 0,1)")
	f.StringVar(&r.CPU.Mems, "cpuset-mems", "", "MEMs in which to allow execution (0-3, 0,1)")
	f.Var(sized(&r.Memory.Kernel, false), "kernel-memory", "Kernel memory limit")
	f.VarP(sized(&r.Memory.Limit, false), "memory", "m", "Memory limit")
	f.Var(sized(&r.Memory.Reservation, false), "memory-reservation", "Memory soft limit")
	f.Var(sized(&r.Memory.Swap, true), "memory-swap", "Swap limit equal to memory plus swap: '-1' to enable unlimited swap")
	f.Int64Var(&l.pids, "pids-limit", 0, "Tune container pids limit (set -1 for unlimited)")
	f.Var(listed(&l.conf, checkPair), "cgroup-conf", "Write a file of cgroup v2 (key=value)")
	rates := func(p *[]config.DeviceNumber, size bool) *value { return shownEmpty(rate(p, size)) }
	f.Var(rates(&r.Block.ReadBps, true), "device-read-bps", "Limit read rate (bytes per second) from a device")
	f.Var(rates(&r.Block.ReadIOps, false), "device-read-iops", "Limit read rate (IO per second) from a device")
	f.Var(rates(&r.Block.WriteBps, true), "device-write-bps", "Limit write rate (bytes per second) to a device")
	f.Var(rates(&r.Block.WriteIOps, false), "device-write-iops", "Limit write rate (IO per second) to a device")
	f.Var(shownEmpty(weight(&r.Block.DeviceWeight)), "blkio-weight-device", "Block IO weight (relative device weight)")
	command.Extra(f, "cgroup-conf")
}

// createFlags adds those that hold from the start alone.
func (l *Limits) createFlags(f *pflag.FlagSet) {
	r := &l.r
	f.StringVar(&r.CgroupParent, "cgroup-parent", "", "Optional parent cgroup for the container")
	f.Int64Var(&l.swappiness, "memory-swappiness", -1, "Tune container memory swappiness (0 to 100)")
	f.BoolVar(&r.OOMKillDisable, "oom-kill-disable", false, "Disable OOM Killer")
	f.IntVar(&l.score, "oom-score-adj", 0, "Tune host's OOM preferences (-1000 to 1000)")
	f.Var(sized(&r.ShmSize, false), "shm-size", "Size of /dev/shm")
	f.Var(&value{kind: "ulimit", shown: "[]", take: l.addUlimit}, "ulimit", "Ulimit options")
}

// UpdateOnly leaves out of Flags what docker's update does not have.
func (l *Limits) UpdateOnly(f *pflag.FlagSet) {
	command.Extra(f, "device-read-bps", "device-read-iops", "device-write-bps", "device-write-iops", "blkio-weight-device")
	f.Lookup("cpu-rt-period").Usage = "Limit the CPU real-time period in microseconds"
	f.Lookup("cpu-rt-runtime").Usage = "Limit the CPU real-time runtime in microseconds"
}

// Resources are the limits that were asked for.
func (l *Limits) Resources() config.Resources {
	r := l.r
	r.CPU.Period, r.CPU.RealtimePeriod = uint64(l.period), uint64(l.rtPeriod)
	r.CPU.Shares = uint64(max(0, l.shares))
	if l.flags.Changed("pids-limit") {
		n := l.pids
		if n <= 0 {
			n = -1
		}
		r.Pids = &n
	}
	if l.flags.Changed("oom-score-adj") {
		n := l.score
		r.OOMScoreAdj = &n
	}
	if l.swappiness >= 0 && l.flags.Lookup("memory-swappiness") != nil {
		n := uint64(l.swappiness)
		r.Memory.Swappiness = &n
	}
	r.Unified = mapOf(l.conf)
	return r
}

func (o *Options) readLimits(Around) error {
	if s := o.limits.swappiness; s != -1 && (s < 0 || s > 100) {
		return command.Line("invalid value: %d. Valid memory swappiness range is 0-100", s)
	}
	o.config.Resources = o.limits.Resources()
	return nil
}

func checkPair(s string) error {
	if k, _, ok := strings.Cut(s, "="); !ok || k == "" {
		return fmt.Errorf("%q is not in the form key=value", s)
	}
	return nil
}

// addUlimit is NAME=SOFT[:HARD]; a name that stands twice has its last limits.
func (l *Limits) addUlimit(s string) error {
	u, err := units.ParseUlimit(s)
	if err != nil {
		return err
	}
	limit := config.Ulimit{Name: u.Name, Soft: u.Soft, Hard: u.Hard}
	for i := range l.r.Ulimits {
		if l.r.Ulimits[i].Name == u.Name {
			l.r.Ulimits[i] = limit
			return nil
		}
	}
	l.r.Ulimits = append(l.r.Ulimits, limit)
	return nil
}

// devicePath parts DEVICE:NUMBER.
func devicePath(s string) (device, number string, err error) {
	device, number, ok := strings.Cut(s, ":")
	switch {
	case !ok || device == "":
		return "", "", fmt.Errorf("bad format: %s", s)
	case !strings.HasPrefix(device, "/dev/"):
		return "", "", fmt.Errorf("bad format for device path: %s", s)
	}
	return device, number, nil
}

// rate is DEVICE:NUMBER, the number with a unit where it counts bytes.
func rate(p *[]config.DeviceNumber, size bool) *value {
	return &value{kind: "list", take: func(s string) error {
		device, number, err := devicePath(s)
		if err != nil {
			return err
		}
		d := config.DeviceNumber{Path: device}
		if size {
			var n int64
			n, err = units.RAMInBytes(number)
			if err != nil || n < 0 {
				return fmt.Errorf("invalid rate for device: %s. The correct format is <device-path>:<number>[<unit>]. "+
					"Number must be a positive integer. Unit is optional and can be kb, mb, or gb", s)
			}
			d.Value = uint64(n)
		} else if d.Value, err = strconv.ParseUint(number, 10, 64); err != nil {
			return fmt.Errorf("invalid rate for device: %s. The correct format is <device-path>:<number>. "+
				"Number must be a positive integer", s)
		}
		*p = append(*p, d)
		return nil
	}}
}

// weight is DEVICE:WEIGHT.
func weight(p *[]config.DeviceNumber) *value {
	return &value{kind: "list", take: func(s string) error {
		device, number, err := devicePath(s)
		if err != nil {
			return err
		}
		n, err := strconv.ParseUint(number, 10, 16)
		if err != nil || n > 0 && (n < 10 || n > 1000) {
			return fmt.Errorf("invalid weight for device: %s", s)
		}
		*p = append(*p, config.DeviceNumber{Path: device, Value: n})
		return nil
	}}
}
