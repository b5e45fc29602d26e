package crash

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/test/sample"
)

// TestCrowd lets 20 processes at a time pull, load, tag, list, look at, remove
// and prune the same two images. Only an image that another one has removed
// may be in their way.
func TestCrowd(t *testing.T) {
	needRoot(t)
	rng := sample.Random(t, 3)
	s, h := newStore(t, t.TempDir()), newHub()
	defer h.close()
	if err := saved(s, h); err != nil {
		t.Fatal(err)
	}
	last := 20 * time.Second
	if sample.Whole() {
		last = 3 * time.Minute
	}
	end := time.Now().Add(last)
	var wg sync.WaitGroup
	var mu sync.Mutex
	failed, count := map[string]int{}, map[string]int{}
	for range 20 {
		own := rand.New(rand.NewPCG(rng.Uint64(), 0))
		wg.Go(func() {
			for time.Now().Before(end) {
				words := crowdWords(s, h, own)
				r := s.do(words...)
				mu.Lock()
				count[words[0]]++
				if !excused(words[0], r) {
					failed[r.String()]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	t.Logf("%v", count)
	n := 0
	for text, times := range failed {
		if n++; n <= 10 {
			t.Errorf("%d times: %s", times, text)
		}
	}
	if n > 10 {
		t.Errorf("%d different failures", n)
	}
	if err := s.check(); err != nil {
		t.Error(err)
	}
	for i := range 2 {
		if err := s.must("pull", "-q", h.app(i+1)); err != nil {
			t.Fatal(err)
		}
		if err := s.whole(h.app(i+1), ""); err != nil {
			t.Error(err)
		}
	}
	if err := s.emptied(true); err != nil {
		t.Error(err)
	}
	if err := s.mounts(); err != nil {
		t.Error(err)
	}
}

// crowdWords is one command.
func crowdWords(s store, h *hub, r *rand.Rand) []string {
	name, tag := h.app(1+r.IntN(2)), fmt.Sprintf("tag:%d", r.IntN(3))
	switch r.IntN(12) {
	case 0, 1, 2, 3:
		return []string{"pull", "-q", name}
	case 4:
		return []string{"load", "-q", "-i", filepath.Join(s.dir, "both.tar")}
	case 5, 6:
		return []string{"tag", name, tag}
	case 7:
		return []string{"rmi", "-f", name}
	case 8:
		return []string{"rmi", "-f", tag}
	case 9:
		return []string{"images"}
	case 10:
		return []string{"save", "-o", "/dev/null", name}
	}
	if r.IntN(2) == 0 {
		return []string{"image", "prune", "-f"}
	}
	return []string{"image", "prune", "-a", "-f"}
}

// excused tells whether a command did well: it ended with 0 and without a
// word, or it names an image that is not there (any more).
func excused(verb string, r result) bool {
	if r.code == 0 {
		// docker's rmi -f of what is not there says so and ends well.
		return r.errors == "" || verb == "rmi" && strings.HasPrefix(r.errors, "Error: No such image")
	}
	switch verb {
	case "tag", "rmi", "save":
		return r.code == 1 && strings.Count(strings.TrimSpace(r.errors), "\n") == 0 &&
			(strings.Contains(r.errors, "No such image") || strings.Contains(r.errors, "the image was removed meanwhile"))
	}
	return false
}
