// Package crash kills berth at each system call of pull, load, rmi, tag and
// prune that changes something, lets each of these calls fail as on a full or
// a broken disk, cuts the power, fills the disk, and lets many do all of it at
// once. Each time what was acknowledged is whole, what was not is absent or
// mended, the same command works the next time, and in the end nothing is
// left.
//
// By default it takes a seeded sample of 200 calls; with BERTH_SWEEP=1 all, in
// a random order, for at most BERTH_CRASH_MINUTES (20); those that the file
// BERTH_LEDGER names were clean in an earlier run. BERTH_SEED=n repeats a sample.
// TestDisturbedUser does it as an ordinary user, with fewer in its sample.
// The program is $BERTH, or bin/berth. It belongs to the tests, outside the rows.
package crash

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"berth/test/account"
	"berth/test/leak"
	"berth/test/sample"
)

// berth and tracer are the programs, set by TestMain. Open is berth where every user
// gets at it.
var berth, open, tracer string

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

func prepared(m *testing.M) (code int, fail error) {
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
	if open, err = account.Copy(berth, dir); err != nil {
		return 1, err
	}
	var remove func() error
	users, remove, err = account.Several("berth-crash-image", userWorkers)
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

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: mounts, and owners of files")
	}
}

// budget is when a sweep ends, seen from its beginning, and a sample, however few points
// it has tried by then.
func budget(sampled time.Duration) time.Duration {
	if !sample.Whole() {
		return sampled
	}
	if n, err := strconv.Atoi(os.Getenv("BERTH_CRASH_MINUTES")); err == nil && n > 0 {
		return time.Duration(n) * time.Minute
	}
	return 20 * time.Minute
}

// workers is how many stores are in work at the same time; of users more, as much of a
// point's time goes by while a holder waits for the next command.
const workers, userWorkers = 3, 6
