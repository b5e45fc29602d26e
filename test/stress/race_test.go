package stress

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/test/bundle"
	"berth/test/leak"
	"berth/test/sample"
)

// together runs the commands at once, each a little later than the one before,
// and returns what became of them.
func together(rt *bundle.Runtime, apart time.Duration, commands ...[]string) []bundle.Result {
	results := make([]bundle.Result, len(commands))
	var wg sync.WaitGroup
	for i, words := range commands {
		wg.Go(func() {
			time.Sleep(time.Duration(i) * apart)
			results[i] = rt.Do(words...)
		})
	}
	wg.Wait()
	return results
}

// sane holds that a command ended by itself and, if it failed, said why in
// one line.
func sane(res bundle.Result) error {
	text := strings.TrimRight(res.Stderr, "\n")
	switch {
	case res.Code < 0 || res.Duration > 10*time.Second:
		return fmt.Errorf("hangs: %s", res)
	case strings.Contains(text, "\n") || strings.Contains(text, "panic"):
		return fmt.Errorf("want at most one line: %s", res)
	}
	return nil
}

// race is some verbs on one container at once.
type race struct {
	name    string
	running bool // the container runs before
	words   func(b *bundle.Bundle, id string) [][]string
	// want checks the outcomes, which are sane already.
	want func(rs []bundle.Result) error
}

func races() []race {
	create := func(b *bundle.Bundle, id string) []string { return []string{"create", "--bundle", b.Dir, id} }
	run := func(b *bundle.Bundle, id string) []string { return []string{"run", "--bundle", b.Dir, id} }
	force := func(id string) []string { return []string{"delete", "--force", id} }
	forced := func(i int) func([]bundle.Result) error {
		return func(rs []bundle.Result) error {
			if rs[i].Code != 0 {
				return fmt.Errorf("delete --force: %s", rs[i])
			}
			return nil
		}
	}
	return []race{
		{"create-create", false, func(b *bundle.Bundle, id string) [][]string { return [][]string{create(b, id), create(b, id)} }, oneWins},
		{"create-delete", false, func(b *bundle.Bundle, id string) [][]string { return [][]string{create(b, id), force(id)} }, forced(1)},
		{"run-delete", false, func(b *bundle.Bundle, id string) [][]string { return [][]string{run(b, id), force(id)} }, forced(1)},
		{"create-kill", false, func(b *bundle.Bundle, id string) [][]string {
			return [][]string{create(b, id), {"kill", id, "KILL"}}
		}, nil},
		{"create-start-start", false, func(b *bundle.Bundle, id string) [][]string {
			return [][]string{create(b, id), {"start", id}, {"start", id}}
		}, nil},
		{"exec-delete", true, func(_ *bundle.Bundle, id string) [][]string {
			return [][]string{{"exec", id, "/bin/sleep", "1000"}, force(id)}
		}, forced(1)},
		{"exec-kill", true, func(_ *bundle.Bundle, id string) [][]string {
			return [][]string{{"exec", id, "/bin/sleep", "1000"}, {"kill", id, "KILL"}}
		}, nil},
		{"pause-resume", true, func(_ *bundle.Bundle, id string) [][]string {
			return [][]string{{"pause", id}, {"resume", id}, {"exec", id, "/bin/true"}, {"resume", id}}
		}, nil},
		{"pause-delete", true, func(_ *bundle.Bundle, id string) [][]string { return [][]string{{"pause", id}, force(id)} }, forced(1)},
		{"update-delete", true, func(_ *bundle.Bundle, id string) [][]string {
			return [][]string{{"update", "--pids-limit", "50", id}, force(id), {"list"}}
		}, forced(1)},
		{"delete-delete", true, func(_ *bundle.Bundle, id string) [][]string {
			return [][]string{force(id), force(id), {"state", id}, {"ps", id}}
		}, func(rs []bundle.Result) error {
			if rs[0].Code+rs[1].Code != 0 {
				return fmt.Errorf("delete --force twice: %s, %s", rs[0], rs[1])
			}
			return nil
		}},
	}
}

// oneWins wants one success, and the other told that the name is taken.
func oneWins(rs []bundle.Result) error {
	if rs[0].Code == 0 {
		rs[0], rs[1] = rs[1], rs[0]
	}
	if rs[0].Code == 0 || rs[1].Code != 0 || !strings.Contains(rs[0].Stderr, "exists") {
		return fmt.Errorf("want one success: %s, %s", rs[0], rs[1])
	}
	return nil
}

// TestRaces lets verbs meet at different moments.
func TestRaces(t *testing.T) {
	needRoot(t)
	rt := bundle.Ours(t)
	rng := sample.Random(t, 1)
	for _, r := range races() {
		t.Run(r.name, func(t *testing.T) {
			leak.Check(t, rt.Root)
			b := bundle.New(t, bundle.Args("/bin/sleep", "1000"))
			for range sample.Rounds(200) {
				apart := time.Duration(rng.Int64N(int64(12 * time.Millisecond)))
				if err := r.run(rt, b, rng, apart); err != nil {
					t.Fatalf("%s apart: %v", apart, err)
				}
			}
		})
	}
}

func (r race) run(rt *bundle.Runtime, b *bundle.Bundle, rng *rand.Rand, apart time.Duration) error {
	id := rt.NewID()
	if r.running {
		if res := rt.Do("run", "--detach", "--bundle", b.Dir, id); res.Code != 0 {
			return fmt.Errorf("before: %s", res)
		}
	}
	if rng.IntN(4) == 0 {
		apart = 0
	}
	// A run that nothing ends would go on: somebody deletes it in the end.
	late := time.AfterFunc(2*time.Second, func() { rt.Do("delete", "--force", id) })
	results := together(rt, apart, r.words(b, id)...)
	late.Stop()
	for _, res := range results {
		if err := sane(res); err != nil {
			return err
		}
	}
	if r.want != nil {
		if err := r.want(results); err != nil {
			return err
		}
	}
	if res := rt.Do("delete", "--force", id); res.Code != 0 {
		return fmt.Errorf("afterwards: %s", res)
	}
	if left := traces(rt, b, id); len(left) > 0 {
		return fmt.Errorf("left behind: %q", left)
	}
	return nil
}
