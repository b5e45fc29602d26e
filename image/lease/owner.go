package lease

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"berth/base/clock"
	"berth/base/fault"
	"berth/sys/proc"
)

// Owner names one process for good: pids come again, but not with the same
// start time in the same boot.
type Owner struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks since boot (proc_pid_stat(5))
	Boot  string `json:"boot"`
	// PIDNS is the pid namespace in which PID is meant (namespaces(7)): in
	// another one the pid says nothing.
	PIDNS string `json:"pidns,omitempty"`
}

// Self is this process as an owner.
func Self() (*Owner, error) {
	boot, err := clock.BootID()
	if err != nil {
		return nil, err
	}
	st, err := proc.ReadStat(os.Getpid())
	if err != nil {
		return nil, fmt.Errorf("read own start time: %w", err)
	}
	ns, err := pidns()
	if err != nil {
		return nil, err
	}
	return &Owner{PID: os.Getpid(), Start: st.StartTime, Boot: boot, PIDNS: ns}, nil
}

func pidns() (string, error) {
	ns, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return "", fmt.Errorf("read own pid namespace: %w", err)
	}
	return ns, nil
}

// Gone reports whether the process has ended. One of another pid namespace of
// this boot cannot be seen from here and counts as alive.
func (o *Owner) Gone() (bool, error) {
	boot, err := clock.BootID()
	if err != nil {
		return false, err
	}
	if o.Boot != boot {
		return true, nil
	}
	ns, err := pidns()
	if err != nil {
		return false, err
	}
	if o.PIDNS != "" && o.PIDNS != ns {
		return false, nil
	}
	st, err := proc.ReadStat(o.PID)
	if errors.Is(err, fs.ErrNotExist) || fault.Is(err, fault.NotFound) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for process %d: %w", o.PID, err)
	}
	return st.StartTime != o.Start || st.Dead(), nil
}
