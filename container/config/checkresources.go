package config

import (
	"strconv"
	"strings"
)

const (
	leastMemory = 6 << 20   // what a runtime needs to start
	leastPeriod = 1000      // microseconds
	mostPeriod  = 1_000_000 // microseconds
	nano        = 1_000_000_000
)

// Check says whether the limits make sense together; update asks it too.
func (r *Resources) Check(m Machine) error {
	if err := r.Memory.check(); err != nil {
		return err
	}
	if s := r.OOMScoreAdj; s != nil && (*s < -1000 || *s > 1000) {
		return invalid("Invalid value %d, range for oom score adj is [-1000, 1000]", *s)
	}
	if r.ShmSize < 0 {
		return invalid("SHM size can not be less than 0")
	}
	if err := r.CPU.check(m); err != nil {
		return err
	}
	return r.Block.check()
}

func (m Memory) check() error {
	switch {
	case m.Limit > 0 && m.Limit < leastMemory:
		return invalid("Minimum memory limit allowed is 6MB")
	case m.Limit > 0 && m.Swap > 0 && m.Swap < m.Limit:
		return invalid("Minimum memoryswap limit should be larger than memory limit, see usage")
	case m.Limit == 0 && m.Swap > 0:
		return invalid("You should always set the Memory limit when using Memoryswap limit, see usage")
	case m.Swappiness != nil && *m.Swappiness > 100:
		return invalid("Invalid value: %d, valid memory swappiness range is 0-100", *m.Swappiness)
	case m.Reservation > 0 && m.Reservation < leastMemory:
		return invalid("Minimum memory reservation allowed is 6MB")
	case m.Limit > 0 && m.Reservation > 0 && m.Limit < m.Reservation:
		return invalid("Minimum memory limit can not be less than memory reservation limit, see usage")
	case m.Kernel > 0 && m.Kernel < leastMemory:
		return invalid("Minimum kernel memory limit allowed is 6MB")
	}
	return nil
}

func (c CPU) check(m Machine) error {
	switch {
	case c.Nano > 0 && c.Period > 0:
		return invalid("Conflicting options: Nano CPUs and CPU Period cannot both be set")
	case c.Nano > 0 && c.Quota > 0:
		return invalid("Conflicting options: Nano CPUs and CPU Quota cannot both be set")
	case c.Nano < 0 || m.CPUs > 0 && c.Nano > int64(m.CPUs)*nano:
		return invalid("Range of CPUs is from 0.01 to %d.00, as there are only %d CPUs available", m.CPUs, m.CPUs)
	case c.Period != 0 && (c.Period < leastPeriod || c.Period > mostPeriod):
		return invalid("CPU cfs period can not be less than 1ms (i.e. %d) or larger than 1s (i.e. %d)", leastPeriod, mostPeriod)
	case c.Quota > 0 && c.Quota < leastPeriod:
		return invalid("CPU cfs quota can not be less than 1ms (i.e. %d)", leastPeriod)
	case c.RealtimeRuntime != 0 && c.RealtimePeriod != 0 && c.RealtimeRuntime > int64(c.RealtimePeriod):
		return invalid("cpu real-time runtime cannot be higher than cpu real-time period")
	}
	if err := checkSet("cpus", "CPUs", c.Cpus, m.CPUs); err != nil {
		return err
	}
	return checkSet("mems", "memory nodes", c.Mems, m.Nodes)
}

// checkSet reads a list of numbers and ranges; count is how many there are, 0
// unknown.
func checkSet(kind, plural, set string, count int) error {
	if set == "" {
		return nil
	}
	bad := invalid("Invalid value %s for cpuset %s: invalid format: %s", set, kind, set)
	for part := range strings.SplitSeq(set, ",") {
		low, high, ranged := strings.Cut(strings.TrimSpace(part), "-")
		if !ranged {
			high = low
		}
		a, errA := strconv.ParseUint(low, 10, 16)
		b, errB := strconv.ParseUint(high, 10, 16)
		if errA != nil || errB != nil || a > b {
			return bad
		}
		if count > 0 && b >= uint64(count) {
			available := "0"
			if count > 1 {
				available = "0-" + strconv.Itoa(count-1)
			}
			return invalid("Requested %s are not available - requested %s, available: %s", plural, set, available)
		}
	}
	return nil
}

func (b Block) check() error {
	if b.Weight > 0 && (b.Weight < 10 || b.Weight > 1000) {
		return invalid("Range of blkio weight is from 10 to 1000")
	}
	return nil
}
