package initproc

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Scheduler sets policy and parameters of the CPU scheduler: sched_setattr(2).
type Scheduler struct {
	Policy                    uint32
	Nice                      int32
	Priority                  uint32
	Flags                     uint64
	Runtime, Deadline, Period uint64 // nanoseconds
}

func (s *Scheduler) Name() string { return "set scheduler" }
func (s *Scheduler) op() op       { return opScheduler }
func (s *Scheduler) wire(c *coder) {
	c.U32(&s.Policy)
	nice := int64(s.Nice)
	c.I64(&nice)
	s.Nice = int32(nice)
	c.U32(&s.Priority)
	c.U64(&s.Flags)
	c.U64(&s.Runtime)
	c.U64(&s.Deadline)
	c.U64(&s.Period)
}

func (s *Scheduler) do(*process) error { return s.Apply(0) }

// Apply gives the scheduling attributes to the main thread of a process, 0 for
// the calling thread.
func (s *Scheduler) Apply(pid int) error {
	return unix.SchedSetAttr(pid, &unix.SchedAttr{
		Size:   unix.SizeofSchedAttr,
		Policy: s.Policy, Flags: s.Flags, Nice: s.Nice, Priority: s.Priority,
		Runtime: s.Runtime, Deadline: s.Deadline, Period: s.Period,
	}, 0)
}

// IOPriority sets the I/O scheduling class and level: ioprio_set(2).
type IOPriority struct {
	Class int // 1 real-time, 2 best effort, 3 idle
	Level int // 0 (highest) to 7
}

const (
	ioprioWhoProcess = 1
	ioprioClassShift = 13
)

func (s *IOPriority) Name() string  { return "set I/O priority" }
func (s *IOPriority) op() op        { return opIOPriority }
func (s *IOPriority) wire(c *coder) { c.Int(&s.Class); c.Int(&s.Level) }

func (s *IOPriority) do(*process) error { return s.Apply(0) }

// Apply gives the priority to the main thread of a process, 0 for the calling
// thread.
func (s *IOPriority) Apply(pid int) error {
	value := s.Class<<ioprioClassShift | s.Level
	_, _, e := unix.Syscall(unix.SYS_IOPRIO_SET, ioprioWhoProcess, uintptr(pid), uintptr(value))
	if e != 0 {
		return e
	}
	return nil
}

// Personality sets the execution domain: personality(2).
type Personality struct{ Value uint32 }

func (s *Personality) Name() string  { return "set personality" }
func (s *Personality) op() op        { return opPersonality }
func (s *Personality) wire(c *coder) { c.U32(&s.Value) }

func (s *Personality) do(*process) error {
	_, _, e := unix.Syscall(unix.SYS_PERSONALITY, uintptr(s.Value), 0, 0)
	if e != 0 {
		return e
	}
	return nil
}

// Affinity confines the process to CPUs; an empty mask gives it all that its
// cpuset allows, whatever the caller was confined to: sched_setaffinity(2).
type Affinity struct{ Mask []uint64 }

// maxCPUs is what the kernel accepts at most (CONFIG_NR_CPUS).
const maxCPUs = 8192

func (s *Affinity) Name() string  { return "set CPU affinity" }
func (s *Affinity) op() op        { return opAffinity }
func (s *Affinity) wire(c *coder) { c.U64s(&s.Mask) }

func (s *Affinity) do(*process) error { return s.Apply(0) }

// Apply confines the main thread of a process, 0 for the calling thread.
func (s *Affinity) Apply(pid int) error {
	mask := s.Mask
	if len(mask) == 0 {
		var all [maxCPUs / 64]uint64
		for i := range all {
			all[i] = ^uint64(0)
		}
		mask = all[:]
	}
	_, _, e := unix.RawSyscall(unix.SYS_SCHED_SETAFFINITY, uintptr(pid), uintptr(8*len(mask)), uintptr(unsafe.Pointer(&mask[0])))
	if e != 0 && len(s.Mask) != 0 {
		return e
	}
	return nil // undoing the caller's confinement was not asked for by name
}

// MemoryPolicy sets the NUMA policy of later allocations: set_mempolicy(2).
type MemoryPolicy struct {
	Mode  uint32 // MPOL_* with its MPOL_F_* flags
	Nodes []uint64
}

func (s *MemoryPolicy) Name() string  { return "set memory policy" }
func (s *MemoryPolicy) op() op        { return opMemoryPolicy }
func (s *MemoryPolicy) wire(c *coder) { c.U32(&s.Mode); c.U64s(&s.Nodes) }

func (s *MemoryPolicy) do(*process) error {
	var nodes unsafe.Pointer
	bits := 0
	if len(s.Nodes) != 0 {
		nodes = unsafe.Pointer(&s.Nodes[0])
		// The kernel reads one bit less than it is told.
		bits = 64*len(s.Nodes) + 1
	}
	_, _, e := unix.Syscall(unix.SYS_SET_MEMPOLICY, uintptr(s.Mode), uintptr(nodes), uintptr(bits))
	switch e {
	case 0:
		return nil
	case unix.ENOSYS:
		return fail("this kernel has no NUMA memory policies (CONFIG_NUMA)", e)
	}
	return e
}
