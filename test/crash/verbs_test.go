package crash

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"berth/test/fakereg"
)

// names is name → image id.
type names = map[string]string

// verb is one command that is disturbed.
type verb struct {
	name    string
	prepare func(s store, h *hub) error // before it; may be nil
	words   func(s store, h *hub) []string
	before  func(h *hub) names
	after   func(h *hub) names
	// again tells an exit of the same command, run again after it had in fact
	// done its work, that is as good as 0.
	again func(r result) bool
}

func one(h *hub) names  { return names{h.app(1): h.ids[0]} }
func none(*hub) names   { return names{} }
func both(h *hub) names { return names{h.app(1): h.ids[0], h.app(2): h.ids[1]} }

// pullBoth and what follows bring a store to where the verbs begin.
func pullBoth(s store, h *hub) error {
	return errors.Join(s.must("pull", "-q", h.app(1)), s.must("pull", "-q", h.app(2)))
}

func pullMoved(s store, h *hub) error {
	return errors.Join(pullBoth(s, h), s.must("tag", h.app(2), "moved:1"))
}

// pullHanging kills a pull when it has some of the big layer.
func pullHanging(s store, h *hub) error {
	h.Inject(fakereg.Fault{Kind: fakereg.Stall, Path: "/blobs/" + string(h.big), After: 300_000})
	cmd := s.command(context.Background(), nil, "pull", "-q", h.app(1))
	if err := cmd.Start(); err != nil {
		return err
	}
	defer cmd.Wait()
	defer cmd.Process.Signal(unix.SIGKILL)
	for range 1000 {
		time.Sleep(5 * time.Millisecond)
		found, _ := filepath.Glob(filepath.Join(s.dir, "root/content/ingest/*/data"))
		for _, f := range found {
			if st, err := os.Stat(f); err == nil && st.Size() > 0 && st.Sys() != nil && used(f) >= 200_000 {
				h.Heal()
				return nil
			}
		}
	}
	return errors.New("the pull to be killed does not begin")
}

// used is how many bytes of a file are on the disk.
func used(path string) int64 {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return 0
	}
	return st.Blocks * 512
}

func saved(s store, h *hub) error {
	other, err := storeOf(s.user, filepath.Join(s.dir, "other"))
	if err != nil {
		return err
	}
	defer os.RemoveAll(other.dir)
	return errors.Join(pullBoth(other, h), other.must("save", "-o", filepath.Join(s.dir, "both.tar"), h.app(1), h.app(2)))
}

// shelf is an archive of both images, made once, and the registry that it was made
// from, for the names.
var shelf = sync.OnceValues(func() (*hub, error) {
	h := newHub()
	defer h.close()
	s := store{dir: filepath.Dir(tracer)}
	// Users load it, too.
	return h, errors.Join(saved(s, h), os.Chmod(filepath.Join(s.dir, "both.tar"), 0o644))
})

func fromShelf(store, *hub) error {
	_, err := shelf()
	return err
}

func bothOfShelf(*hub) names {
	h, _ := shelf()
	return both(h)
}

func verbs() []verb {
	pull := func(_ store, h *hub) []string { return []string{"pull", h.app(1)} }
	return []verb{
		{name: "pull", words: pull, before: none, after: one},
		{name: "pull-resumed", prepare: pullHanging, words: pull, before: none, after: one},
		{name: "load", prepare: fromShelf, before: none, after: bothOfShelf,
			words: func(store, *hub) []string {
				return []string{"load", "-i", filepath.Join(filepath.Dir(tracer), "both.tar")}
			}},
		{name: "rmi", prepare: pullBoth, before: both, after: one,
			words: func(_ store, h *hub) []string { return []string{"rmi", h.app(2)} },
			again: func(r result) bool { return r.code == 1 && strings.Contains(r.errors, "No such image") }},
		{name: "tag", prepare: pullMoved,
			words:  func(_ store, h *hub) []string { return []string{"tag", h.app(1), "moved:1"} },
			before: func(h *hub) names { return with(both(h), "moved:1", h.ids[1]) },
			after:  func(h *hub) names { return with(both(h), "moved:1", h.ids[0]) }},
		{name: "prune", prepare: pullMoved, after: none,
			words:  func(store, *hub) []string { return []string{"image", "prune", "-a", "-f"} },
			before: func(h *hub) names { return with(both(h), "moved:1", h.ids[1]) }},
	}
}

func with(n names, name, id string) names {
	n[name] = id
	return n
}

// fits compares what a store names with what it may name: all of after when
// the verb was acknowledged; else each name as before or as after.
func fits(got, before, after names, acked bool) error {
	if acked && !maps.Equal(got, after) {
		return fmt.Errorf("the store names %v, wanted %v", got, after)
	}
	for name, id := range got {
		if id != before[name] && id != after[name] {
			return fmt.Errorf("the store names %s %s", name, id)
		}
	}
	for name := range before {
		if after[name] != "" && got[name] == "" {
			return fmt.Errorf("the store has lost %s", name)
		}
	}
	return nil
}
