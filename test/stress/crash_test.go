package stress

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"berth/test/bundle"
	"berth/test/leak"
	"berth/test/sample"
)

// crash is one verb that is killed in its course.
type crash struct {
	verb    string
	prepare func(rt *bundle.Runtime, b *bundle.Bundle, id string) bundle.Result // before it; may be nil
	words   func(b *bundle.Bundle, id string) []string
}

func crashes() []crash {
	create := func(rt *bundle.Runtime, b *bundle.Bundle, id string) bundle.Result {
		return rt.Do("create", "--bundle", b.Dir, id)
	}
	run := func(rt *bundle.Runtime, b *bundle.Bundle, id string) bundle.Result {
		return rt.Do("run", "--detach", "--bundle", b.Dir, id)
	}
	paused := func(rt *bundle.Runtime, b *bundle.Bundle, id string) bundle.Result {
		if res := run(rt, b, id); res.Code != 0 {
			return res
		}
		return rt.Do("pause", id)
	}
	return []crash{
		{"create", nil, func(b *bundle.Bundle, id string) []string { return []string{"create", "--bundle", b.Dir, id} }},
		{"run", nil, func(b *bundle.Bundle, id string) []string { return []string{"run", "--bundle", b.Dir, id} }},
		{"run-detached", nil, func(b *bundle.Bundle, id string) []string {
			return []string{"run", "--detach", "--bundle", b.Dir, id}
		}},
		{"start", create, func(_ *bundle.Bundle, id string) []string { return []string{"start", id} }},
		{"exec", run, func(_ *bundle.Bundle, id string) []string { return []string{"exec", id, "/bin/sleep", "1000"} }},
		{"exec-detached", run, func(_ *bundle.Bundle, id string) []string {
			return []string{"exec", "--detach", id, "/bin/sleep", "1000"}
		}},
		{"delete", create, func(_ *bundle.Bundle, id string) []string { return []string{"delete", "--force", id} }},
		{"delete-running", run, func(_ *bundle.Bundle, id string) []string { return []string{"delete", "--force", id} }},
		{"pause", run, func(_ *bundle.Bundle, id string) []string { return []string{"pause", id} }},
		{"resume", paused, func(_ *bundle.Bundle, id string) []string { return []string{"resume", id} }},
		{"kill", run, func(_ *bundle.Bundle, id string) []string { return []string{"kill", "--all", id} }}, // sleep, as a first process, lives on
		{"update", run, func(_ *bundle.Bundle, id string) []string {
			return []string{"update", "--pids-limit", "100", "--memory", "67108864", id}
		}},
	}
}

// TestKilledAtMoments kills the runtime (not what it has started) after a
// random part of the time that the verb takes.
func TestKilledAtMoments(t *testing.T) {
	needRoot(t)
	rt := bundle.Ours(t)
	rng := sample.Random(t, 1)
	for _, c := range crashes() {
		t.Run(c.verb, func(t *testing.T) {
			leak.Check(t, rt.Root)
			b := bundle.New(t, bundle.Args("/bin/sleep", "1000"))
			for range sample.Rounds(200) {
				// Most verbs take 5 to 30 ms; the later half of the moments is
				// nearer to the beginning, where more happens.
				wait := time.Duration(rng.Int64N(int64(30 * time.Millisecond)))
				if rng.IntN(2) == 0 {
					wait /= 4
				}
				if err := c.killedAfter(rt, b, wait); err != nil {
					t.Fatalf("killed after %s: %v", wait, err)
				}
			}
		})
	}
}

// killedAfter lets the verb run for a while, kills it, and checks that the
// container can be removed and its name and bundle used again.
func (c crash) killedAfter(rt *bundle.Runtime, b *bundle.Bundle, wait time.Duration) error {
	return c.killed(rt, b, func(cmd *exec.Cmd) error {
		if err := cmd.Start(); err != nil {
			return err
		}
		time.Sleep(wait)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil
	})
}

func (c crash) killed(rt *bundle.Runtime, b *bundle.Bundle, kill func(*exec.Cmd) error) error {
	id := rt.NewID()
	if c.prepare != nil {
		if res := c.prepare(rt, b, id); res.Code != 0 {
			return fmt.Errorf("before: %s", res)
		}
	}
	if err := kill(rt.Command(c.words(b, id)...)); err != nil {
		return err
	}
	if c.prepare != nil && !strings.HasPrefix(c.verb, "delete") && c.verb != "pause" && c.verb != "resume" {
		// The container itself is none the worse.
		if res := rt.Do("exec", id, "/bin/true"); res.Code != 0 {
			return fmt.Errorf("exec afterwards: %s", res)
		}
	}
	if res := rt.Do("list"); res.Code != 0 {
		return fmt.Errorf("list afterwards: %s", res)
	}
	if res := rt.Do("delete", "--force", id); res.Code != 0 || res.Duration > 5*time.Second {
		return fmt.Errorf("remove: %s", res)
	}
	if res := rt.Do("run", "--detach", "--bundle", b.Dir, id); res.Code != 0 {
		return fmt.Errorf("run again: %s", res)
	}
	if res := rt.Do("delete", "--force", id); res.Code != 0 {
		return fmt.Errorf("remove again: %s", res)
	}
	return nil
}
