package idrange

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/base/fault"
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

func TestDraw(t *testing.T) {
	p := &Parts{Dir: filepath.Join(t.TempDir(), "levels"), Alive: func(owner string) bool { return owner != "gone" }}
	drawn := map[uint32]string{}
	for _, owner := range []string{"one", "two", "three", "gone"} {
		n, done, err := p.Draw(owner, 8)
		if err != nil || n >= 8 || drawn[n] != "" {
			t.Fatalf("%s: %d of %v, %v", owner, n, drawn, err)
		}
		done()
		drawn[n] = owner
	}
	for n, owner := range drawn {
		if err := p.Return("another", n); err != nil {
			t.Errorf("give back what is %s's: %v", owner, err)
		}
	}
	if err := p.Sweep(); err != nil {
		t.Fatal(err)
	}
	for n, owner := range drawn {
		_, err := os.Readlink(filepath.Join(p.Dir, part{n, 1}.name()))
		if (err == nil) != (owner != "gone") {
			t.Errorf("%s's after a sweep: %v", owner, err)
		}
		if err := p.Return(owner, n); err != nil {
			t.Error(err)
		}
	}
	all := 0
	for range 8 {
		if _, done, err := p.Draw("one", 8); err == nil {
			done()
			all++
		}
	}
	if _, _, err := p.Draw("one", 8); all != 8 || !fault.Is(err, fault.Unavailable) {
		t.Errorf("%d of 8 drawn, then %v", all, err)
	}
}
