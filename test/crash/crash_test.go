// Package crash kills berth at each system call of pull, load, rmi, tag and
// prune that changes something, lets each of these calls fail as on a full or
// a broken disk, cuts the power, fills the disk, and lets many do all of it at
// once. Each time what was acknowledged is whole, what was not is absent or
// mended, the same command works the next time, and in the end nothing is
// left.
//
// By default it takes a seeded sample of 200 calls; with BERTH_SWEEP=1 all, in
// a random order, for at most BERTH_CRASH_MINUTES (20), from point
// BERTH_CRASH_FROM (0) on. BERTH_SEED=n repeats a sample. The program is $BERTH, or bin/berth. It belongs to the tests,
// outside the rows.
package crash

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"berth/test/leak"
)

// berth and tracer are the programs, set by TestMain.
var berth, tracer string

func TestMain(m *testing.M) {
	if os.Getuid() != 0 {
		os.Exit(m.Run())
	}
	code, err := prepared(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "crash:", err)
		os.Exit(1)
	}
	os.Exit(code)
}

func prepared(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "crash")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	berth = os.Getenv("BERTH")
	if berth == "" {
		berth = "../../bin/berth"
	}
	if berth, err = filepath.Abs(berth); err != nil {
		return 1, err
	}
	if _, err := os.Stat(berth); err != nil {
		return 1, fmt.Errorf("the program under test is missing: %w (run make, or set BERTH)", err)
	}
	tracer = filepath.Join(dir, "tracer")
	cmd := exec.Command("go", "build", "-o", tracer, "berth/test/crash/tracer")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("build the tracer: %w: %s", err, out)
	}
	return leak.Main(m, leak.Config{}), nil
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: mounts, and owners of files")
	}
}

func sweep() bool { return os.Getenv("BERTH_SWEEP") == "1" }

// budget is when a sweep ends, seen from its beginning.
func budget() time.Duration {
	if n, err := strconv.Atoi(os.Getenv("BERTH_CRASH_MINUTES")); err == nil && n > 0 {
		return time.Duration(n) * time.Minute
	}
	return 20 * time.Minute
}

// start is the first point of a sweep, in its order: those before were tried
// with the same seed by a run whose time was up.
func start() int {
	n, err := strconv.Atoi(os.Getenv("BERTH_CRASH_FROM"))
	if err != nil || !sweep() {
		return 0
	}
	return n
}

// random is seeded by BERTH_SEED, else by the clock; the seed is logged.
func random(t *testing.T) *rand.Rand {
	t.Helper()
	seed, err := strconv.ParseUint(os.Getenv("BERTH_SEED"), 10, 64)
	if err != nil {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("BERTH_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 3))
}

// workers is how many stores are in work at the same time.
const workers = 3

// inParallel calls f for 0…n-1 and tells the first few errors.
func inParallel(t *testing.T, n int, f func(i int) error) {
	t.Helper()
	next := make(chan int)
	var wg sync.WaitGroup
	var mu sync.Mutex
	failed := 0
	for range workers {
		wg.Go(func() {
			for i := range next {
				if err := f(i); err != nil {
					mu.Lock()
					if failed++; failed <= 10 {
						t.Error(err)
					}
					mu.Unlock()
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
