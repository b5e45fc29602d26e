package leak

import (
	"fmt"
	"os"
	"testing"
	"time"

	"berth/test/bundle"
)

// Settle is how long Check waits for the kernel, which takes namespaces and
// keys down some time after their last user.
const Settle = 3 * time.Second

// Check takes a snapshot now and compares at the end of the test, after the
// clean-ups that were registered later. What is left behind is an error of
// the test. The folders are the store and run folders; names begin with
// bundle.Prefix. Tests that run at the same time in this process see each
// other's things: Check is for those that are not parallel.
func Check(t testing.TB, folders ...string) {
	t.Helper()
	CheckConfig(t, Config{Folders: folders, Names: []string{bundle.Prefix}})
}

// CheckConfig is Check with a scope of one's own.
func CheckConfig(t testing.TB, cfg Config) {
	t.Helper()
	before, err := Take(cfg)
	if err != nil {
		t.Fatalf("leak snapshot: %v", err)
	}
	t.Cleanup(func() {
		lines, err := Compare(cfg, before, Settle)
		if err != nil {
			t.Errorf("leak snapshot: %v", err)
		}
		report(lines, t.Error)
	})
}

// Main runs a package's tests and fails when anything is left behind after
// all of them: for TestMain. It gives the exit code.
func Main(m *testing.M, cfg Config) int {
	cfg.Names = append(cfg.Names, bundle.Prefix)
	before, err := Take(cfg)
	if err != nil {
		fmt.Fprintln(os.Stderr, "leak snapshot:", err)
		return 1
	}
	code := m.Run()
	lines, err := Compare(cfg, before, Settle)
	if err != nil {
		lines = append(lines, err.Error())
	}
	report(lines, func(a ...any) {
		fmt.Fprintln(os.Stderr, a...)
		code = max(code, 1)
	})
	return code
}

// maxLines caps what one comparison prints.
const maxLines = 60

func report(lines []string, print func(...any)) {
	for i, line := range lines {
		if i == maxLines {
			print(fmt.Sprintf("… and %d more", len(lines)-i))
			return
		}
		print(line)
	}
}

// Compare tells what was left behind since before, giving the kernel up to
// settle to finish what it does later.
func Compare(cfg Config, before Snapshot, settle time.Duration) ([]string, error) {
	deadline := time.Now().Add(settle)
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, 400*time.Millisecond) {
		now, err := Take(cfg)
		if err != nil && now == nil {
			return nil, err
		}
		lines := Diff(before, now)
		if len(lines) == 0 || time.Now().After(deadline) {
			return lines, err
		}
		time.Sleep(wait)
	}
}
