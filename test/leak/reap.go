package leak

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// reapEvery is the time between two looks for orphans that have ended.
const reapEvery = 50 * time.Millisecond

// reap does for orphans what the machine's first process would have done: it
// takes their exit codes, without which a pid namespace that they were in
// cannot end. A child is an orphan of somebody else when it is a zombie at
// two looks: one that this process started is collected within moments by
// the goroutine that waits for it. So whoever uses this package must wait for
// a command as soon as it is started, not some time later.
func reap() {
	seen := map[int]bool{}
	for range time.Tick(reapEvery) {
		zombies := map[int]bool{}
		for _, pid := range children() {
			if p := readProcess(pid); p == nil || p.state != 'Z' {
				continue
			}
			if seen[pid] {
				_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
			} else {
				zombies[pid] = true
			}
		}
		seen = zombies
	}
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
