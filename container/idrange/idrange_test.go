package idrange

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"berth/base/fault"
)

// owners is who lives.
type owners struct {
	mu   sync.Mutex
	dead map[string]bool
}

func (o *owners) alive(s string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return !o.dead[s]
}

func ranges(t testing.TB) (*Ranges, *owners) {
	o := &owners{dead: map[string]bool{}}
	dir := t.TempDir()
	return &Ranges{Dir: filepath.Join(dir, "run/ids"), Alive: o.alive, Etc: dir}, o
}

func take(t testing.TB, r *Ranges, owner string, uids, gids []uint32) *Range {
	t.Helper()
	got, err := r.Take(owner, 0, uids, gids)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestTakeAndGive(t *testing.T) {
	r, _ := ranges(t)
	if err := r.Give("a", nil); err != nil {
		t.Errorf("give before anything was taken: %v", err)
	}
	a, b := take(t, r, "a", nil, nil), take(t, r, "b", nil, nil)
	if a.First == b.First || a.First%Size != 0 || a.First < 2000200000 || a.First >= 0x7ffe0000 {
		t.Errorf("%#x %#x", a.First, b.First)
	}
	if again := take(t, r, "a", nil, nil); again.First != a.First {
		t.Errorf("the same owner got %#x after %#x", again.First, a.First)
	}
	if err := r.Give("b", a); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(r.link(int(a.First / Size))); err != nil {
		t.Error("another one's range was given back")
	}
	if err := r.Give("a", a); err != nil {
		t.Fatal(err)
	}
	if err := r.Give("b", nil); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(r.Dir, "[0-9a-f]*")); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestLargeIDs(t *testing.T) {
	r, _ := ranges(t)
	a := take(t, r, "a", []uint32{1234567, 70000, 70000}, []uint32{4294967294})
	b := take(t, r, "b", []uint32{70000}, nil)
	if len(a.UIDs) != 3 || a.UIDs[1].ContainerID != 70000 || a.UIDs[2].ContainerID != 1234567 || a.UIDs[2].Size != 1 || len(a.GIDs) != 2 || len(b.GIDs) != 1 {
		t.Errorf("%+v, %+v", a, b)
	}
	seen := map[uint32]bool{}
	for _, x := range []*Range{a, b} {
		for _, m := range x.UIDs {
			if seen[m.HostID] {
				t.Errorf("%d twice", m.HostID)
			}
			seen[m.HostID] = true
		}
	}
	if err := r.Give("a", a); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(r.Dir, "[0-9a-f]*")); len(left) != 2 {
		t.Errorf("left: %v", left)
	}
	for _, bad := range [][]uint32{{5}, {1<<32 - 1}, make([]uint32, 301)} {
		if _, err := r.Take("c", 0, bad, nil); !fault.Is(err, fault.Invalid) {
			t.Errorf("%d ids: %v", len(bad), err)
		}
	}
}

func TestManyAtOnce(t *testing.T) {
	r, o := ranges(t)
	for i := range 50 { // owners that died
		dead := take(t, r, fmt.Sprint("dead", i), nil, nil)
		_ = dead
		o.dead[fmt.Sprint("dead", i)] = true
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	seen := map[uint32]string{}
	for i := range 200 {
		wg.Go(func() {
			owner := fmt.Sprint("owner", i)
			got, err := r.Take(owner, 0, nil, nil)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if other := seen[got.First]; other != "" {
				t.Errorf("%s and %s share %#x", owner, other, got.First)
			}
			seen[got.First] = owner
		})
	}
	wg.Wait()
}

func TestAllTaken(t *testing.T) {
	r, o := ranges(t)
	for i := range slots {
		take(t, r, fmt.Sprint("o", i), nil, nil)
	}
	if _, err := r.Take("late", 0, nil, nil); !fault.Is(err, fault.Unavailable) {
		t.Errorf("%v", err)
	}
	o.dead["o77"] = true
	take(t, r, "late", nil, nil)
	if _, err := r.Take("later", 0, nil, nil); !fault.Is(err, fault.Unavailable) {
		t.Errorf("%v", err)
	}
}

// After a reboot links of the last boot are nobody's.
func TestReboot(t *testing.T) {
	r, _ := ranges(t)
	first := take(t, r, "a", nil, nil)
	path := r.link(int(first.First / Size))
	_ = os.Remove(path)
	if err := os.Symlink("11111111-2222-3333-4444-555555555555 b", path); err != nil {
		t.Fatal(err)
	}
	if again := take(t, r, "a", nil, nil); again.First != first.First {
		t.Errorf("%#x", again.First)
	}
}

func TestHostIDsAreSkipped(t *testing.T) {
	r, _ := ranges(t)
	first := take(t, r, "a", nil, nil)
	if err := r.Give("a", first); err != nil {
		t.Fatal(err)
	}
	for name, line := range map[string]string{
		"passwd": "x:x:%d:100::/:/bin/sh\n", "group": "g:x:%d:\n", "subuid": "u:%d:1\n", "subgid": "broken\nu:%d:70000\n",
	} {
		path := filepath.Join(r.Etc, name)
		if err := os.WriteFile(path, fmt.Appendf(nil, line, first.First+Size-1), 0o600); err != nil {
			t.Fatal(err)
		}
		got := take(t, r, "a", nil, nil)
		if got.First == first.First {
			t.Errorf("%s does not count", name)
		}
		if name == "subgid" && got.First < first.First+3*Size {
			t.Errorf("a subordinate range of 70000 is skipped in part: %#x after %#x", got.First, first.First)
		}
		if err := r.Give("a", got); err != nil {
			t.Fatal(err)
		}
		_ = os.Remove(path)
	}
	if err := os.WriteFile(filepath.Join(r.Etc, "subuid"), []byte("all:0:4294967295\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Take("a", 0, nil, nil); err == nil || !strings.Contains(err.Error(), "are taken") {
		t.Errorf("%v", err)
	}
}

func BenchmarkTake(b *testing.B) {
	r, _ := ranges(b)
	r.Etc = "/etc"
	for b.Loop() {
		if err := r.Give("owner", take(b, r, "owner", nil, nil)); err != nil {
			b.Fatal(err)
		}
	}
}
