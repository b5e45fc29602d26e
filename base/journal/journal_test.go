package journal

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/base/fault"
)

func all(t *testing.T, j *Journal, o ReadOptions) []Event {
	t.Helper()
	var out []Event
	if err := j.Read(t.Context(), o, func(e Event) bool { out = append(out, e); return true }); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAppendAndRead(t *testing.T) {
	j := Open(filepath.Join(t.TempDir(), "journal"))
	if got := all(t, j, ReadOptions{}); len(got) != 0 {
		t.Errorf("%v", got)
	}
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range 5 {
		e := Event{Time: begin.Add(time.Duration(i) * time.Second), Type: "container", Action: "die", ID: strconv.Itoa(i), Attributes: map[string]string{"a": "x\ny"}}
		if err := j.Append(e); err != nil {
			t.Fatal(err)
		}
	}
	if got := all(t, j, ReadOptions{}); len(got) != 5 || got[4].Attributes["a"] != "x\ny" {
		t.Errorf("%v", got)
	}
	if got := all(t, j, ReadOptions{Since: begin.Add(time.Second), Until: begin.Add(3 * time.Second)}); len(got) != 3 || got[0].ID != "1" || got[2].ID != "3" {
		t.Errorf("%v", got)
	}
	n := 0
	if err := j.Read(t.Context(), ReadOptions{Follow: true}, func(Event) bool { n++; return n < 2 }); err != nil || n != 2 {
		t.Errorf("stopped after %d, %v", n, err)
	}
	if err := j.Append(Event{ID: strings.Repeat("x", MaxLine)}); !fault.Is(err, fault.Invalid) {
		t.Errorf("a line that is too long: %v", err)
	}
}

// A torn line costs itself and no other.
func TestTornLines(t *testing.T) {
	j := Open(t.TempDir())
	if err := j.Append(Event{ID: "1"}); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(j.path(1), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, torn := range []string{`{"time":"2026-`, "\x00\x00\n", strings.Repeat("y", MaxLine+100)} {
		if _, err := f.WriteString(torn); err != nil {
			t.Fatal(err)
		}
		if err := j.Append(Event{ID: "2"}); err != nil {
			t.Fatal(err)
		}
	}
	f.Close()
	if got := all(t, j, ReadOptions{}); len(got) != 4 {
		t.Errorf("%v", got)
	}
}

// A wave of writers fills less than one generation, so that a follower that
// keeps up between the waves loses nothing.
const writers, waves, lines, small = 8, 5, 80, 100 << 10

// TestMain is also a writer of its own, for tests with several processes.
func TestMain(m *testing.M) {
	if dir := os.Getenv("JOURNAL_TEST_DIR"); dir != "" {
		j := &Journal{dir: dir, size: small}
		id, from, _ := strings.Cut(os.Getenv("JOURNAL_TEST_ID"), " ")
		first, _ := strconv.Atoi(from)
		for i := range lines {
			if err := j.Append(Event{Type: id, ID: strconv.Itoa(first + i), Attributes: map[string]string{"a": "b"}}); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// A follower sees every event of every process in its order, over many
// generations, and no more than two files are kept.
func TestManyProcesses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	j := &Journal{dir: dir, size: small}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	wave := make(chan struct{}, waves)
	seen := map[string]int{}
	done := make(chan error, 1)
	go func() {
		total := 0
		done <- j.Read(ctx, ReadOptions{Follow: true}, func(e Event) bool {
			if e.ID != strconv.Itoa(seen[e.Type]) {
				t.Errorf("%s: event %s, want %d", e.Type, e.ID, seen[e.Type])
				cancel()
				return false
			}
			seen[e.Type]++
			if total++; total%(writers*lines) == 0 {
				wave <- struct{}{}
			}
			return total < waves*writers*lines
		})
	}()
	for n := range waves {
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() {
				cmd := exec.Command("/proc/self/exe")
				cmd.Env = []string{"JOURNAL_TEST_DIR=" + dir, fmt.Sprintf("JOURNAL_TEST_ID=w%d %d", i, n*lines)}
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%v: %s", err, out)
				}
			})
		}
		wg.Wait()
		select {
		case <-wave:
		case <-ctx.Done():
			t.Fatal("the follower waits for ever")
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	for i := range writers {
		if n := seen["w"+strconv.Itoa(i)]; n != waves*lines {
			t.Errorf("writer %d: %d of %d events", i, n, waves*lines)
		}
	}
	gens, err := j.generations()
	if err != nil || len(gens) > 2 || gens[len(gens)-1] < 3 {
		t.Errorf("generations %v, %v", gens, err)
	}
}

// Following ends with ctx, and with Until.
func TestFollowEnds(t *testing.T) {
	j := Open(t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_ = j.Append(Event{ID: "1"})
	}()
	if err := j.Read(ctx, ReadOptions{Follow: true}, func(Event) bool { cancel(); return true }); err != nil {
		t.Error(err)
	}
	if err := j.Read(t.Context(), ReadOptions{Follow: true, Until: time.Now().Add(20 * time.Millisecond)}, func(Event) bool { return true }); err != nil {
		t.Error(err)
	}
}

func BenchmarkAppend(b *testing.B) {
	j := Open(b.TempDir())
	for b.Loop() {
		if err := j.Append(Event{Type: "container", Action: "start", ID: strings.Repeat("a", 64), Attributes: map[string]string{"image": "debian", "name": "x"}}); err != nil {
			b.Fatal(err)
		}
	}
}
