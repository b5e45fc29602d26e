package container

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/base/atomicfile"
	"berth/base/fault"
	"berth/container/config"
)

// sleeper is a process that stands for a container's first one.
func sleeper(t *testing.T) (*exec.Cmd, Process) {
	t.Helper()
	cmd := exec.Command("/bin/sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	p, err := Identify(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return cmd, p
}

func state(t *testing.T, s *Store, id ID) State {
	t.Helper()
	f, err := s.Facts(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return f.State()
}

func start(t *testing.T, l *Locked, byUser bool, p Process) {
	t.Helper()
	if _, err := l.Prepare(byUser); err != nil {
		t.Fatal(err)
	}
	if err := l.Started(Started{Process: p}); err != nil {
		t.Fatal(err)
	}
}

func (l *Locked) mustWriteExit(t *testing.T, e Exit) {
	t.Helper()
	if err := writeJSON(filepath.Join(l.s.RunDir(l.ID), exitFile), e); err != nil {
		t.Fatal(err)
	}
}

func TestStates(t *testing.T) {
	s := open(t, t.TempDir())
	rec := create(t, s, "life", func(r *Record) { r.Config.Restart = config.Restart{Policy: "on-failure", Retries: 1} })
	l := locked(t, s, rec.ID)
	expect := func(want State) {
		t.Helper()
		if got := state(t, s, rec.ID); got != want {
			t.Errorf("state %s, want %s", got, want)
		}
	}
	expect(StateCreated)
	if _, err := l.Settle(false); !fault.Is(err, fault.Conflict) {
		t.Errorf("settle before the start: %v", err)
	}
	cmd, p := sleeper(t)
	start(t, l, true, p)
	expect(StateRunning)
	if _, err := l.Prepare(true); !fault.Is(err, fault.Conflict) {
		t.Errorf("start of a running one: %v", err)
	}
	if err := l.Paused(true, nil); err != nil {
		t.Fatal(err)
	}
	expect(StatePaused)
	if err := l.Paused(false, nil); err != nil {
		t.Fatal(err)
	}
	expect(StateRunning)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	l.mustWriteExit(t, Exit{Code: 137, Signal: 9, OOM: true, Time: time.Now()})
	expect(StateExited)
	got, err := l.Settle(false)
	if err != nil || !got.First || got.Exit.Code != 137 || !got.Exit.OOM || got.Again == nil || got.Again.Delay != 100*time.Millisecond {
		t.Fatalf("settle: %+v, %v", got, err)
	}
	expect(StateRestarting)
	if again, err := l.Settle(false); err != nil || again.First || again.Exit.Code != 137 || again.Again == nil {
		t.Errorf("second settle: %+v, %v", again, err)
	}
	_, p = sleeper(t)
	start(t, l, false, p)
	expect(StateRunning)
	l.mustWriteExit(t, Exit{Code: 1, Time: time.Now()})
	if got, err = l.Settle(false); err != nil || got.Again != nil {
		t.Errorf("the second failure of on-failure:1: %+v, %v", got, err)
	}
	expect(StateExited)
	if f, _ := s.Facts(t.Context(), rec.ID); f.Restarts != 1 {
		t.Errorf("%d restarts", f.Restarts)
	}
	if err := l.Removing(false); err != nil {
		t.Fatal(err)
	}
	expect(StateRemoving)
	if err := l.Remove(); err != nil {
		t.Fatal(err)
	}
	if e, err := s.Ended(t.Context(), rec.ID); err != nil || e.Code != 1 {
		t.Errorf("the exit after the removal: %+v, %v", e, err)
	}
	old := time.Now().Add(-6 * time.Minute)
	if err := os.Chtimes(filepath.Join(s.exits(), string(rec.ID)), old, old); err != nil {
		t.Fatal(err)
	}
	if e, err := s.Ended(t.Context(), rec.ID); !fault.Is(err, fault.NotFound) {
		t.Errorf("six minutes later: %+v, %v", e, err)
	}
}

// A process that ended without a word from a monitor was lost; while the
// monitor lives, it is about to speak.
func TestMonitorLost(t *testing.T) {
	s := open(t, t.TempDir())
	rec := create(t, s, "lost")
	l := locked(t, s, rec.ID)
	cmd, p := sleeper(t)
	monitor, m := sleeper(t)
	if _, err := l.Prepare(true); err != nil {
		t.Fatal(err)
	}
	if err := l.Started(Started{Process: p, Monitor: m}); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if got := state(t, s, rec.ID); got != StateRunning {
		t.Errorf("state %s", got)
	}
	if _, err := l.Settle(false); !fault.Is(err, fault.Conflict) {
		t.Errorf("settle: %v", err)
	}
	_ = monitor.Process.Kill()
	_ = monitor.Wait()
	if got := state(t, s, rec.ID); got != StateExited {
		t.Errorf("state %s", got)
	}
	got, err := l.Settle(false)
	if err != nil || got.Exit.Code != 255 || got.Exit.Error != "monitor lost" {
		t.Errorf("settle: %+v, %v", got, err)
	}
}

func TestFailedStart(t *testing.T) {
	s := open(t, t.TempDir())
	rec := create(t, s, "fails")
	l := locked(t, s, rec.ID)
	_, p := sleeper(t)
	start(t, l, true, p)
	if err := l.Failed(127, errors.New("no such file")); err != nil {
		t.Fatal(err)
	}
	f, err := s.Facts(t.Context(), rec.ID)
	if err != nil || f.State() != StateCreated || f.Exit.Code != 127 || f.Exit.Error != "no such file" {
		t.Errorf("%+v, %v", f, err)
	}
	start(t, l, true, p)
	l.mustWriteExit(t, Exit{Code: 3, Time: time.Now()})
	if _, err := l.Settle(false); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Prepare(true); err != nil {
		t.Fatal(err)
	}
	if got := state(t, s, rec.ID); got != StateExited {
		t.Errorf("prepared: %s", got)
	}
	if err := l.Failed(126, errors.New("denied")); err != nil {
		t.Fatal(err)
	}
	if f, _ := s.Facts(t.Context(), rec.ID); f.State() != StateExited || f.Exit.Code != 126 {
		t.Errorf("%+v", f)
	}
}

// After a reboot nothing of the run folder counts, even if it is plain disk: a
// pid of then may be anybody's.
func TestReboot(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	kept := create(t, s, "kept", func(r *Record) { r.Config.Restart.Policy = config.RestartUnlessStopped })
	stopped := create(t, s, "stopped", func(r *Record) { r.Config.Restart.Policy = config.RestartUnlessStopped })
	passing := create(t, s, "passing", toRemove)
	_, p := sleeper(t)
	for _, r := range []*Record{kept, stopped, passing} {
		l := locked(t, s, r.ID)
		if _, err := l.Prepare(true); err != nil {
			t.Fatal(err)
		}
		if err := l.Started(Started{Process: p, BootID: "11111111-2222-3333-4444-555555555555"}); err != nil {
			t.Fatal(err)
		}
		if r == stopped {
			if err := l.Stopped(); err != nil {
				t.Fatal(err)
			}
		}
		_ = l.Unlock()
	}
	if err := atomicfile.Write(filepath.Join(s.running(), bootFile), []byte("another boot\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	torn := filepath.Join(filepath.Dir(s.kept()), hidden+"0a") // an Open that was killed
	if err := os.WriteFile(torn, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	if _, err := os.Lstat(torn); !os.IsNotExist(err) {
		t.Errorf("what a killed Open left: %v", err)
	}
	list, err := s.List(t.Context())
	if err != nil || len(list) != 2 {
		t.Fatalf("%+v, %v", list, err)
	}
	for _, sum := range list {
		exit, ok := sum.Facts.Ended()
		if sum.State() != StateExited || !ok || exit.Code != 255 {
			t.Errorf("%s: %s, %+v", sum.Name, sum.State(), exit)
		}
		if got := AtBoot(sum.Restart, &sum.Facts); got != (sum.Name == "kept") {
			t.Errorf("%s starts at boot: %v", sum.Name, got)
		}
	}
	if _, err := os.Lstat(s.names.namePath("passing")); !os.IsNotExist(err) {
		t.Errorf("the name of the --rm container: %v", err)
	}
	create(t, s, "passing")
}

func TestRestartRule(t *testing.T) {
	for _, c := range []struct {
		policy   string
		retries  int
		code     int
		stopped  bool
		restarts int
		want     bool
	}{
		{"", 0, 1, false, 0, false}, {"no", 0, 1, false, 0, false},
		{"always", 0, 0, false, 50, true}, {"always", 0, 1, true, 0, false},
		{"unless-stopped", 0, 0, false, 0, true}, {"unless-stopped", 0, 1, true, 0, false},
		{"on-failure", 0, 0, false, 0, false}, {"on-failure", 0, 7, false, 99, true},
		{"on-failure", 3, 7, false, 2, true}, {"on-failure", 3, 7, false, 3, false}, {"on-failure", 0, 7, true, 0, false},
	} {
		if got := restartRule(config.Restart{Policy: c.policy, Retries: c.retries}, c.code, c.stopped, c.restarts); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	var d time.Duration
	var got []string
	for range 11 {
		d = backOff(d, time.Second)
		got = append(got, d.String())
	}
	if want := "100ms 200ms 400ms 800ms 1.6s 3.2s 6.4s 12.8s 25.6s 51.2s 1m0s"; strings.Join(got, " ") != want {
		t.Errorf("%s", got)
	}
	if backOff(d, time.Second) != time.Minute || backOff(d, 10*time.Second) != firstDelay {
		t.Error("the end of the back-off")
	}
}

// TestAnotherStore opens a second store on a run folder in which a container of
// the first one runs.
func TestAnotherStore(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	rec := create(t, s, "one")
	cmd, p := sleeper(t)
	l := locked(t, s, rec.ID)
	start(t, l, true, p)
	_ = l.Unlock()
	other := Options{Root: filepath.Join(dir, "other"), Run: filepath.Join(dir, "run")}
	if _, err := Open(other); !fault.Is(err, fault.Conflict) {
		t.Errorf("the other store: %v", err)
	}
	if got := state(t, s, rec.ID); got != StateRunning {
		t.Errorf("the container is %s", got)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if _, err := Open(other); err != nil {
		t.Errorf("the other store, when nothing runs: %v", err)
	}
}

// One with --rm that is held stays when it has ended, and is to go when its holder
// has died, in the middle of the next start too; not when it runs again.
func TestHeld(t *testing.T) {
	s := open(t, t.TempDir())
	rec := create(t, s, "held", func(r *Record) { r.Config.Life.Remove = true })
	l := locked(t, s, rec.ID)
	unheld := func(want bool) {
		t.Helper()
		f, err := s.Facts(t.Context(), rec.ID)
		if err != nil || f.Unheld != want {
			t.Errorf("unheld: %v, %v", f, err)
		}
	}
	_, p := sleeper(t)
	start(t, l, true, p)
	holder, by := sleeper(t)
	if err := Hold(l, by); err != nil {
		t.Fatal(err)
	}
	l.mustWriteExit(t, Exit{Code: 1, Time: time.Now()})
	if got, err := l.Settle(true); err != nil || !got.First || got.Goes {
		t.Errorf("settle: %+v, %v", got, err)
	}
	unheld(false)
	if _, err := l.Prepare(true); err != nil {
		t.Fatal(err)
	}
	unheld(false)
	_ = holder.Process.Kill()
	_ = holder.Wait()
	unheld(true)
	if got, err := l.Settle(true); err != nil || !got.Goes {
		t.Errorf("settle without a holder: %+v, %v", got, err)
	}
	if err := l.Started(Started{Process: p}); err != nil {
		t.Fatal(err)
	}
	unheld(false)
}
