package process

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/runtime/initproc"
	"berth/runtime/plan"
)

// scheduling plans CPU affinity, scheduler and I/O priority.
func scheduling(b *plan.Builder, p *specs.Process, o *Options) error {
	affinity := &initproc.Affinity{}
	if a := p.ExecCPUAffinity; a != nil && o.Exec {
		if _, err := ParseList(a.Initial, maxCPUs); a.Initial != "" && err != nil {
			return invalid("process.execCPUAffinity.initial", "%v", err)
		}
		if a.Final != "" {
			mask, err := ParseList(a.Final, maxCPUs)
			if err != nil {
				return invalid("process.execCPUAffinity.final", "%v", err)
			}
			affinity.Mask = mask
		}
	}
	sched, err := scheduler(p.Scheduler)
	if err != nil {
		return err
	}
	io, err := ioPriority(p.IOPriority)
	if err != nil {
		return err
	}
	// The kernel refuses deadline tasks that are confined to some CPUs, so
	// affinity comes first.
	b.Add(affinity)
	if sched != nil && (!o.foreignUser() || sched.Policy == unix.SCHED_DEADLINE) {
		b.Add(sched)
	}
	if io != nil && !o.foreignUser() {
		b.Add(io)
	}
	return nil
}

// scheduleOutside gives a process in its own user namespace what takes
// CAP_SYS_NICE on the machine.
func scheduleOutside(pid int, p *specs.Process) error {
	sched, err := scheduler(p.Scheduler)
	if err != nil {
		return err
	}
	// A deadline task may not fork, so the helper itself takes that policy.
	if sched != nil && sched.Policy != unix.SCHED_DEADLINE {
		if err := sched.Apply(pid); err != nil {
			return fmt.Errorf("process.scheduler: set %s for process %d: %w", p.Scheduler.Policy, pid, err)
		}
	}
	io, err := ioPriority(p.IOPriority)
	if err != nil || io == nil {
		return err
	}
	if err := io.Apply(pid); err != nil {
		return fmt.Errorf("process.ioPriority: set %s for process %d: %w", p.IOPriority.Class, pid, err)
	}
	return nil
}

func scheduler(s *specs.Scheduler) (*initproc.Scheduler, error) {
	if s == nil {
		return nil, nil
	}
	const field = "process.scheduler"
	step := &initproc.Scheduler{
		Nice: s.Nice, Priority: uint32(s.Priority),
		Runtime: s.Runtime, Deadline: s.Deadline, Period: s.Period,
	}
	realtime, nice := false, false
	switch s.Policy {
	case specs.SchedOther:
		step.Policy, nice = unix.SCHED_NORMAL, true
	case specs.SchedBatch:
		step.Policy, nice = unix.SCHED_BATCH, true
	case specs.SchedIdle:
		step.Policy, nice = unix.SCHED_IDLE, true
	case specs.SchedFIFO:
		step.Policy, realtime = unix.SCHED_FIFO, true
	case specs.SchedRR:
		step.Policy, realtime = unix.SCHED_RR, true
	case specs.SchedDeadline:
		step.Policy = unix.SCHED_DEADLINE
	case specs.SchedISO:
		return nil, invalid(field+".policy", "Linux never implemented %s", s.Policy)
	default:
		return nil, invalid(field+".policy", "unknown policy %q", clip(string(s.Policy)))
	}
	switch {
	case s.Nice < -20 || s.Nice > 19:
		return nil, invalid(field+".nice", "%d is not between -20 and 19", s.Nice)
	case s.Nice != 0 && !nice:
		return nil, invalid(field+".nice", "%s knows no nice value", s.Policy)
	case realtime && (s.Priority < 1 || s.Priority > 99):
		return nil, invalid(field+".priority", "%d is not between 1 and 99, as %s needs", s.Priority, s.Policy)
	case !realtime && s.Priority != 0:
		return nil, invalid(field+".priority", "only SCHED_FIFO and SCHED_RR have a priority")
	case step.Policy == unix.SCHED_DEADLINE && (s.Runtime == 0 || s.Deadline < s.Runtime || s.Period != 0 && s.Period < s.Deadline):
		return nil, invalid(field, "SCHED_DEADLINE needs 0 < runtime <= deadline <= period")
	case step.Policy != unix.SCHED_DEADLINE && (s.Runtime|s.Deadline|s.Period) != 0:
		return nil, invalid(field, "only SCHED_DEADLINE has runtime, deadline and period")
	}
	for i, f := range s.Flags {
		bit, err := schedulerFlag(f)
		if err != nil {
			return nil, invalid(fmt.Sprintf("%s.flags[%d]", field, i), "%v", err)
		}
		step.Flags |= bit
	}
	return step, nil
}

func schedulerFlag(f specs.LinuxSchedulerFlag) (uint64, error) {
	switch f {
	case specs.SchedFlagResetOnFork:
		return unix.SCHED_FLAG_RESET_ON_FORK, nil
	case specs.SchedFlagReclaim:
		return unix.SCHED_FLAG_RECLAIM, nil
	case specs.SchedFlagDLOverrun:
		return unix.SCHED_FLAG_DL_OVERRUN, nil
	case specs.SchedFlagKeepPolicy:
		return unix.SCHED_FLAG_KEEP_POLICY, nil
	case specs.SchedFlagKeepParams:
		return unix.SCHED_FLAG_KEEP_PARAMS, nil
	case specs.SchedFlagUtilClampMin:
		return unix.SCHED_FLAG_UTIL_CLAMP_MIN, nil
	case specs.SchedFlagUtilClampMax:
		return unix.SCHED_FLAG_UTIL_CLAMP_MAX, nil
	}
	return 0, fmt.Errorf("unknown flag %q", clip(string(f)))
}

func ioPriority(p *specs.LinuxIOPriority) (*initproc.IOPriority, error) {
	if p == nil {
		return nil, nil
	}
	step := &initproc.IOPriority{Level: p.Priority}
	switch p.Class {
	case specs.IOPRIO_CLASS_RT:
		step.Class = 1
	case specs.IOPRIO_CLASS_BE:
		step.Class = 2
	case specs.IOPRIO_CLASS_IDLE:
		step.Class = 3
	default:
		return nil, invalid("process.ioPriority.class", "unknown class %q", clip(string(p.Class)))
	}
	if p.Priority < 0 || p.Priority > 7 {
		return nil, invalid("process.ioPriority.priority", "%d is not between 0 and 7", p.Priority)
	}
	return step, nil
}

// personality plans linux.personality: PER_LINUX and PER_LINUX32 of
// personality(2).
func personality(b *plan.Builder, p *specs.LinuxPersonality) error {
	if p == nil {
		return nil
	}
	step := &initproc.Personality{}
	switch p.Domain {
	case specs.PerLinux:
	case specs.PerLinux32:
		step.Value = 8
	default:
		return invalid("linux.personality.domain", "unknown domain %q", clip(string(p.Domain)))
	}
	if len(p.Flags) != 0 {
		return invalid("linux.personality.flags", "the specification defines none, found %q", clip(string(p.Flags[0])))
	}
	b.Add(step)
	return nil
}

// memoryPolicy plans linux.memoryPolicy.
func memoryPolicy(b *plan.Builder, p *specs.LinuxMemoryPolicy) error {
	if p == nil {
		return nil
	}
	const field = "linux.memoryPolicy"
	step := &initproc.MemoryPolicy{}
	needsNodes := true
	switch p.Mode {
	case specs.MpolDefault:
		step.Mode, needsNodes = unix.MPOL_DEFAULT, false
	case specs.MpolLocal:
		step.Mode, needsNodes = unix.MPOL_LOCAL, false
	case specs.MpolPreferred:
		step.Mode = unix.MPOL_PREFERRED
	case specs.MpolBind:
		step.Mode = unix.MPOL_BIND
	case specs.MpolInterleave:
		step.Mode = unix.MPOL_INTERLEAVE
	case specs.MpolPreferredMany:
		step.Mode = unix.MPOL_PREFERRED_MANY
	case specs.MpolWeightedInterleave:
		step.Mode = unix.MPOL_WEIGHTED_INTERLEAVE
	default:
		return invalid(field+".mode", "unknown mode %q", clip(string(p.Mode)))
	}
	switch {
	case p.Nodes != "":
		if !needsNodes {
			return invalid(field+".nodes", "%s takes no nodes", p.Mode)
		}
		nodes, err := ParseList(p.Nodes, maxNodes)
		if err != nil {
			return invalid(field+".nodes", "%v", err)
		}
		step.Nodes = nodes
	case needsNodes && p.Mode != specs.MpolPreferred:
		return invalid(field+".nodes", "%s needs nodes", p.Mode)
	}
	for i, f := range p.Flags {
		bit, err := memoryFlag(f)
		if err != nil {
			return invalid(fmt.Sprintf("%s.flags[%d]", field, i), "%v", err)
		}
		step.Mode |= bit
	}
	b.Add(step)
	return nil
}

func memoryFlag(f specs.MemoryPolicyFlagType) (uint32, error) {
	switch f {
	case specs.MpolFNumaBalancing:
		return unix.MPOL_F_NUMA_BALANCING, nil
	case specs.MpolFRelativeNodes:
		return unix.MPOL_F_RELATIVE_NODES, nil
	case specs.MpolFStaticNodes:
		return unix.MPOL_F_STATIC_NODES, nil
	}
	return 0, fmt.Errorf("unknown flag %q", clip(string(f)))
}

// The largest numbers that the kernel is built for (CONFIG_NR_CPUS,
// CONFIG_NODES_SHIFT).
const (
	maxCPUs  = 8192
	maxNodes = 1024
)

// ParseList reads a list such as "0-3,7" into a bit mask: the list format of
// cpuset(7). It fails on an empty list and on numbers from limit on.
func ParseList(list string, limit int) ([]uint64, error) {
	if len(list) > math.MaxUint16 {
		return nil, fmt.Errorf("a list of %d bytes is too long", len(list))
	}
	var mask []uint64
	for _, item := range strings.Split(list, ",") {
		first, last, ranged := strings.Cut(strings.TrimSpace(item), "-")
		if !ranged {
			last = first
		}
		lo, err1 := strconv.ParseUint(first, 10, 31)
		hi, err2 := strconv.ParseUint(last, 10, 31)
		if err1 != nil || err2 != nil || lo > hi {
			return nil, fmt.Errorf("%q is not a number or range", clip(item))
		}
		if hi >= uint64(limit) {
			return nil, fmt.Errorf("%d is above %d", hi, limit-1)
		}
		for int(hi/64) >= len(mask) {
			mask = append(mask, 0)
		}
		for n := lo; n <= hi; n++ {
			mask[n/64] |= 1 << (n % 64)
		}
	}
	return mask, nil
}
