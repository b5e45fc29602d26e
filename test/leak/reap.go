package leak

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// reapEvery is the time between two looks for orphans that have ended;
// patience is for how many looks one that may be a command of ours is left.
const (
	reapEvery = 50 * time.Millisecond
	patience  = 40
)

// looking is held while reap has files open, which are none of a test's.
var looking sync.Mutex

// reap does for orphans what the machine's first process would have done: it
// takes their exit codes, without which a pid namespace that they were in
// cannot end. A zombie in a pid namespace below ours is such an orphan:
// nothing here is started there. Any other child that stays a zombie for two
// seconds is taken for one, too, since a command that this process started is
// collected within moments by the goroutine that waits for it. So whoever uses
// this package must wait for a command as soon as it is started.
func reap() {
	seen := map[int]int{}
	for range time.Tick(reapEvery) {
		zombies := map[int]int{}
		looking.Lock()
		for _, pid := range children() {
			if p := readProcess(pid); p == nil || p.state != 'Z' {
				continue
			}
			if seen[pid] >= patience || nested(pid) {
				_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
			} else {
				zombies[pid] = seen[pid] + 1
			}
		}
		looking.Unlock()
		seen = zombies
	}
}

// nested tells whether a process has a number in a pid namespace below ours
// (NSpid in proc_pid_status(5)).
func nested(pid int) bool {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(data), "\nNSpid:")
	line, _, _ := strings.Cut(rest, "\n")
	return len(strings.Fields(line)) > 1
}

// children are this process's, from proc_tid_children(5).
func children() []int {
	files, _ := filepath.Glob("/proc/self/task/*/children")
	var all []int
	for _, path := range files {
		data, _ := os.ReadFile(path)
		for _, word := range strings.Fields(string(data)) {
			if pid, err := strconv.Atoi(word); err == nil {
				all = append(all, pid)
			}
		}
	}
	return all
}
