package stress

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/test/bundle"
	"berth/test/leak"
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
	rng := random(t)
	for _, c := range crashes() {
		t.Run(c.verb, func(t *testing.T) {
			leak.Check(t, rt.Root)
			b := bundle.New(t, bundle.Args("/bin/sleep", "1000"))
			for range rounds(200) {
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
	if c.prepare != nil && !strings.HasPrefix(c.verb, "delete") && c.verb != "pause" {
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

// steps are the calls of the runtime after which the disk, the cgroups or the
// processes are another: it is killed at the N-th of each.
var steps = []string{"mkdirat", "openat", "write", "renameat", "renameat2", "linkat", "unlinkat", "clone3", "clone",
	"pidfd_send_signal", "rmdir", "mkdir", "sendmsg", "close", "waitid"}

// TestKilledAtSteps kills the runtime at each of its calls in turn, with
// strace as the killer.
func TestKilledAtSteps(t *testing.T) {
	needRoot(t)
	if _, err := exec.LookPath("strace"); err != nil {
		t.Fatalf("strace is missing: %v (Debian's package strace)", err)
	}
	rt := bundle.Ours(t)
	rng := random(t)
	for _, c := range crashes() {
		t.Run(c.verb, func(t *testing.T) {
			leak.Check(t, rt.Root)
			b := bundle.New(t, bundle.Args("/bin/sleep", "1000"))
			for _, call := range steps {
				for n := 1; n <= 40; n++ {
					if !sweep() && rng.IntN(100) != 0 {
						continue
					}
					if err := c.killedAt(rt, b, call, n); err != nil {
						t.Fatalf("killed at %s number %d: %v", call, n, err)
					}
				}
			}
		})
	}
}

func (c crash) killedAt(rt *bundle.Runtime, b *bundle.Bundle, call string, n int) error {
	return c.killed(rt, b, func(cmd *exec.Cmd) error {
		// strace counts for each thread and child of the runtime apart, so the
		// helper is killed at its own N-th call, too.
		inject := fmt.Sprintf("inject=?%s:signal=KILL:when=%d", call, n)
		args := append([]string{"-f", "-qq", "-o", "/dev/null", "-e", "trace=?" + call, "-e", inject}, cmd.Args...)
		traced := exec.Command("strace", args...)
		traced.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := traced.Start(); err != nil {
			return err
		}
		done := make(chan struct{})
		go func() { _ = traced.Wait(); close(done) }()
		select {
		case <-done:
			return nil
		case <-time.After(300 * time.Millisecond):
		}
		// strace waits for the container, too; without it nothing more is killed.
		_ = traced.Process.Signal(os.Interrupt)
		select {
		case <-done:
		case <-time.After(2 * time.Second):
			_ = syscall.Kill(-traced.Process.Pid, syscall.SIGKILL)
			<-done
		}
		return nil
	})
}
