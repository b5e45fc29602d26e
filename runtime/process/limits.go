package process

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/runtime/initproc"
	"berth/runtime/plan"
	"berth/sys/inherited"
)

// limits reads process.rlimits.
func limits(p *specs.Process) ([]initproc.Rlimit, error) {
	var list []initproc.Rlimit
	for i, l := range p.Rlimits {
		field := fmt.Sprintf("process.rlimits[%d]", i)
		resource, ok := initproc.RlimitByName(l.Type)
		if !ok {
			return nil, invalid(field+".type", "unknown limit %q", clip(l.Type))
		}
		if l.Soft > l.Hard {
			return nil, invalid(field, "%s: soft limit %d is above the hard limit %d", l.Type, l.Soft, l.Hard)
		}
		for _, other := range list {
			if other.Resource == resource {
				return nil, invalid(field+".type", "%s is named twice", l.Type)
			}
		}
		list = append(list, initproc.Rlimit{Resource: resource, Soft: l.Soft, Hard: l.Hard})
	}
	return list, nil
}

func raiseLimits(b *plan.Builder, p *specs.Process, o *Options) error {
	list, err := limits(p)
	if err != nil {
		return err
	}
	if len(list) != 0 && !o.foreignUser() {
		b.Add(&initproc.Rlimits{Limits: list, Raise: true})
	}
	return nil
}

// inheritedFiles is replaced by golden tests.
var inheritedFiles = func() (soft, hard uint64) { return inherited.NOFILE.Soft, inherited.NOFILE.Hard }

// withInherited adds the caller's limit of open files, unless the spec has its
// own: our children would get the one that the Go runtime raised for us.
func withInherited(list []initproc.Rlimit) []initproc.Rlimit {
	for _, l := range list {
		if l.Resource == unix.RLIMIT_NOFILE {
			return list
		}
	}
	if soft, hard := inheritedFiles(); soft < hard {
		list = append(list, initproc.Rlimit{Resource: unix.RLIMIT_NOFILE, Soft: soft, Hard: hard})
	}
	return list
}

// foreignUser reports whether the process lives in a user namespace that is not
// the caller's, where it lacks rights over the machine.
func (o *Options) foreignUser() bool { return o.Namespaces.Has(unix.CLONE_NEWUSER) }

// Outside does to the waiting process pid what takes the caller's rights over
// the machine, which a process in its own user namespace does not have: it
// lifts hard limits and sets scheduling. An exec's first CPU affinity is set
// before the process enters the cgroup, so Outside comes before that.
func Outside(pid int, p *specs.Process, o *Options) error {
	if o.Exec && p.ExecCPUAffinity != nil && p.ExecCPUAffinity.Initial != "" {
		mask, err := ParseList(p.ExecCPUAffinity.Initial, maxCPUs)
		if err != nil {
			return invalid("process.execCPUAffinity.initial", "%v", err)
		}
		if err := (&initproc.Affinity{Mask: mask}).Apply(pid); err != nil {
			return fmt.Errorf("set initial CPU affinity %s of process %d: %w", p.ExecCPUAffinity.Initial, pid, err)
		}
	}
	if !o.foreignUser() {
		return nil
	}
	list, err := limits(p)
	if err != nil {
		return err
	}
	for i, l := range list {
		if err := raiseHard(pid, l); err != nil {
			return fmt.Errorf("process.rlimits[%d]: raise %s of process %d to %d: %w", i, p.Rlimits[i].Type, pid, l.Hard, err)
		}
	}
	return scheduleOutside(pid, p)
}

// raiseHard lifts a hard limit that is too low; the soft one stays.
func raiseHard(pid int, l initproc.Rlimit) error {
	var now unix.Rlimit
	if err := unix.Prlimit(pid, l.Resource, nil, &now); err != nil {
		return err
	}
	if now.Max >= l.Hard {
		return nil
	}
	now.Max = l.Hard
	return unix.Prlimit(pid, l.Resource, &now, nil)
}

// Bounds of oom_score_adj, proc_pid_oom_score_adj(5).
const (
	oomScoreMin = -1000
	oomScoreMax = 1000
)

// CheckOOMScoreAdj refuses a value outside the kernel's range.
func CheckOOMScoreAdj(p *specs.Process) error {
	if v := p.OOMScoreAdj; v != nil && (*v < oomScoreMin || *v > oomScoreMax) {
		return invalid("process.oomScoreAdj", "%d is not between %d and %d", *v, oomScoreMin, oomScoreMax)
	}
	return nil
}

// OOMScoreAdj reads the caller's oom_score_adj.
func OOMScoreAdj() (int, error) {
	b, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(b)))
}

// SetOOMScoreAdj writes process pid's oom_score_adj. The process cannot do it:
// the files in /proc of one that is not dumpable belong to the host's root.
//
// Who lacks CAP_SYS_RESOURCE may not go below what the process started with;
// the value is then raised to the lowest that the kernel takes, the present
// one, as a lower one protects only from the OOM killer.
func SetOOMScoreAdj(pid, value int) error {
	if value < oomScoreMin || value > oomScoreMax {
		return fault.New(fault.Invalid, "process.oomScoreAdj: %d is not between %d and %d", value, oomScoreMin, oomScoreMax)
	}
	path := "/proc/" + strconv.Itoa(pid) + "/oom_score_adj"
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("set oom_score_adj of process %d: %w", pid, err)
	}
	defer f.Close()
	_, err = f.WriteString(strconv.Itoa(value))
	if err == nil {
		return nil
	}
	if !os.IsPermission(err) {
		return fmt.Errorf("set oom_score_adj of process %d to %d: %w", pid, value, err)
	}
	var b [16]byte
	n, e := f.ReadAt(b[:], 0)
	if n == 0 {
		return fmt.Errorf("read oom_score_adj of process %d: %w", pid, e)
	}
	now, e := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	if e != nil || value >= now {
		return fmt.Errorf("set oom_score_adj of process %d to %d: %w", pid, value, err)
	}
	return nil
}
