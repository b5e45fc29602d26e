package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestInitBudget holds the package-init allocations of each program. The time
// they take is printed by make bench; allocations do not depend on the machine.
func TestInitBudget(t *testing.T) {
	text, err := os.ReadFile("budget.txt")
	if err != nil {
		t.Fatal(err)
	}
	budgets, err := parseBudgets(text)
	if err != nil {
		t.Fatal(err)
	}
	has := map[string]bool{}
	for _, b := range budgets {
		has[b.program] = true
		t.Run(b.program, func(t *testing.T) {
			if _, err := os.Stat(filepath.Join(moduleRoot, "cmd", b.program)); err != nil {
				t.Skip("not there yet")
			}
			c, err := measureInit(moduleRoot, t.TempDir(), b)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d allocations, %d bytes, most in %s; budget %d", c.allocs, c.bytes, c.worst, b.allocs)
			if c.allocs > b.allocs {
				t.Errorf("package init of %s makes %d allocations, budget %d (tools/house/budget.txt); most in %s",
					b.program, c.allocs, b.allocs, c.worst)
			}
		})
	}
	programs, _ := filepath.Glob(filepath.Join(moduleRoot, "cmd", "*", "main.go"))
	for _, p := range programs {
		if name := filepath.Base(filepath.Dir(p)); !has[name] {
			t.Errorf("program %s has no line in tools/house/budget.txt", name)
		}
	}
}

// The measurement itself: a program whose package variables allocate must be
// seen to do so, and one that hangs must be stopped.
func TestMeasureInit(t *testing.T) {
	root, _ := unpack(t, "testdata/initcost.txtar")
	c, err := measureInit(root, t.TempDir(), budget{program: "greedy"})
	if err != nil {
		t.Fatal(err)
	}
	if c.allocs < 1000 || c.worst == "" {
		t.Errorf("1,000 allocations at init were measured as %d (%s)", c.allocs, c.worst)
	}
	if _, err := parseBudgets([]byte("berth 12")); err == nil {
		t.Error("a malformed budget line was accepted")
	}
}
