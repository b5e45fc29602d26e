package proc

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Signals are sets of signals of a process's main thread, signal n is bit n-1:
// proc_pid_status(5).
type Signals struct{ Blocked, Caught uint64 }

// ReadSignals reads them. The error unwraps to os.ErrNotExist if there is no such
// process.
func ReadSignals(pid int) (Signals, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return Signals{}, notThere(err)
	}
	var s Signals
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ":")
		into := map[string]*uint64{"SigBlk": &s.Blocked, "SigCgt": &s.Caught}[name]
		if into == nil {
			continue
		}
		if *into, err = strconv.ParseUint(strings.TrimSpace(value), 16, 64); err != nil {
			return s, fmt.Errorf("read /proc/%d/status: %w", pid, err)
		}
	}
	return s, nil
}
