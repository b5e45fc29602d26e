package idrange

import (
	"os"
	"strings"
	"testing"
)

// TestParts takes parts until none is left; gaps are used again, and what the dead had.
func TestParts(t *testing.T) {
	dead := map[string]bool{}
	p := &Parts{Dir: t.TempDir() + "/ids", Alive: func(owner string) bool { return !dead[owner] }}
	take := func(owner string, size uint32) (uint32, error) {
		first, done, err := p.Take(owner, size, 4096)
		if err == nil {
			done()
		}
		return first, err
	}
	for i, owner := range []string{"a", "b", "c", "d"} {
		first, err := take(owner, 1024)
		if err != nil || first != uint32(1+i*1024) {
			t.Fatalf("%s: %d, %v", owner, first, err)
		}
	}
	if _, err := take("e", 1); err == nil || !strings.Contains(err.Error(), "4 containers with --userns=auto have the others of 4096") {
		t.Errorf("a fifth: %v", err)
	}
	if err := p.Give("b"); err != nil {
		t.Fatal(err)
	}
	if _, err := take("e", 1025); err == nil {
		t.Error("1025 in a gap of 1024")
	}
	if first, err := take("e", 1000); err != nil || first != 1025 {
		t.Errorf("a gap: %d, %v", first, err)
	}
	dead["c"] = true
	if first, err := take("f", 1048); err != nil || first != 2025 {
		t.Errorf("what a dead one had: %d, %v", first, err)
	}
	if err := p.Give("nobody"); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(p.Dir); err != nil || len(left) != 5 { // a, d, e, f, lock
		t.Errorf("%v, %v", left, err)
	}
}
