// Package container kills berth, a container's monitor or its first process at
// each system call of create, run, start, exec, commit, stop, restart and rm that somebody
// else could see, and lets each that changes a file fail as on a full or a broken
// disk. Each time the disturbed command ends, with one line if it failed; what it
// said is so; the next commands work; the container can be removed; then no record,
// name, lock, volume, process, cgroup, mount, device, address or id range is left,
// and `check` finds the store whole.
//
// By default it takes a seeded sample; with BERTH_SWEEP=1 all, in a random order,
// for at most BERTH_CRASH_MINUTES (35), without those that the file BERTH_LEDGER names:
// they were clean in an earlier run. TestDisturbedUser does it as an ordinary user.
// BERTH_SEED=n repeats a sample,
// BERTH_CRASH_VERBS=create,stop takes these verbs alone, BERTH_CRASH_POINT="create
// kill 5" one point, ten times. It runs as root in network namespaces of its own, with
// $BERTH or bin/berth. It belongs to the tests, outside the rows.
package container

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/test/account"
	"berth/test/leak"
	"berth/test/netns"
	"berth/test/sample"
)

// The main thread is the main goroutine's, so that no worker's network stays with it.
func init() { runtime.LockOSThread() }

// tracer is package test/crash's.
var tracer string

func TestMain(m *testing.M) {
	os.Exit(netns.Main(func() int {
		if os.Getuid() != 0 {
			return m.Run()
		}
		code, err := prepared(m)
		if err != nil {
			fmt.Fprintln(os.Stderr, "crash:", err)
			return 1
		}
		return code
	}))
}

func prepared(m *testing.M) (code int, fail error) {
	dir, err := os.MkdirTemp("", "crash")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	tracer = filepath.Join(dir, "tracer")
	cmd := exec.Command("go", "build", "-o", tracer, "berth/test/crash/tracer")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("build the tracer: %w: %s", err, out)
	}
	var remove func() error
	users, remove, err = account.Several("berth-crash", userWorkers)
	defer func() {
		if failed := remove(); failed != nil && code == 0 {
			code, fail = 1, failed
		}
	}()
	if err != nil {
		return 1, err
	}
	return leak.Main(m, leak.Config{}), nil
}

// budget is how long the points of a sample and of a sweep may take, with the counting
// before them.
func budget() time.Duration {
	if !sample.Whole() {
		return time.Minute
	}
	if n, err := strconv.Atoi(os.Getenv("BERTH_CRASH_MINUTES")); err == nil && n > 0 {
		return time.Duration(n) * time.Minute
	}
	return 35 * time.Minute
}

// workers is how many stores are in work at the same time; of users more, as much of a
// point's time goes by while a holder waits for the next command.
const workers, userWorkers = 3, 6

// inPlaces calls f for 0…n-1, each worker in a place that the scene makes and a network of
// its own, and tells the first few errors.
func (s scene) inPlaces(t *testing.T, n int, f func(p *place, i int) error) {
	t.Helper()
	next := make(chan int)
	var wg sync.WaitGroup
	var mu sync.Mutex
	failed := 0
	tell := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		if failed++; failed <= 10 {
			t.Error(err)
		}
	}
	base := t.TempDir()
	for k := range s.workers {
		wg.Go(func() {
			runtime.LockOSThread() // the thread ends with its network
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				tell(err)
			}
			var p *place
			for i := range next {
				var err error
				if p == nil {
					if p, err = s.place(k, filepath.Join(base, fmt.Sprintf("%d-%d", k, i))); err != nil {
						tell(err)
						continue
					}
				}
				if err := f(p, i); err != nil {
					tell(err)
					p.remove() // what is wrong in it shall not spoil the rest
					p = nil
				}
			}
			if p != nil {
				if err := p.remove(); err != nil {
					tell(err)
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	if failed > 10 {
		t.Errorf("and %d more", failed-10)
	}
}
