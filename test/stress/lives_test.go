package stress

import (
	"bufio"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/test/bundle"
	"berth/test/leak"
)

// TestPausedIsRefused: a paused container takes no exec, and one that was
// created and paused does not start; both say so at once.
func TestPausedIsRefused(t *testing.T) {
	needRoot(t)
	rt := bundle.Ours(t)
	leak.Check(t, rt.Root)
	b := bundle.New(t, bundle.Args("/bin/sleep", "1000"))
	id := bundle.Name("paused")
	rt.Must("create", "--bundle", b.Dir, id)
	for _, c := range []struct {
		words []string
		text  string
	}{
		{[]string{"start", id}, "cannot start a container in the paused state"},
		{[]string{"exec", id, "true"}, "cannot exec in a paused container"},
	} {
		rt.Must("pause", id)
		refused(t, rt, rt.Do(c.words...), "", c.text)
		rt.Must("resume", id)
		if c.words[0] == "start" {
			rt.Must("start", id)
		}
	}
	rt.Must("exec", id, "/bin/true")
	rt.Remove(id)
}

// TestSignalsArePassedOn: a signal to an attached exec or run reaches its
// process, whether that has only just begun or has lived a while.
func TestSignalsArePassedOn(t *testing.T) {
	needRoot(t)
	rt := bundle.Ours(t)
	leak.Check(t, rt.Root)
	id := rt.Start(bundle.New(t, bundle.Args("/bin/sleep", "1000")))
	script := `trap 'kill $p; exit 42' HUP INT TERM USR1 USR2; sleep 1000 & p=$!; echo ready; wait; exit 1`
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2} {
		for _, age := range []time.Duration{0, 50 * time.Millisecond} {
			passed(t, rt.Command("exec", id, "/bin/sh", "-c", script), sig, age)
		}
	}
	rt.Remove(id)
	b := bundle.New(t, bundle.Args("/bin/sh", "-c", script))
	for _, age := range []time.Duration{0, 50 * time.Millisecond} {
		passed(t, rt.Command("run", "--bundle", b.Dir, bundle.Name("signal")), syscall.SIGTERM, age)
	}
}

// passed sends sig to a command whose process is ready since age.
func passed(t *testing.T, cmd *exec.Cmd, sig syscall.Signal, age time.Duration) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || strings.TrimSpace(line) != "ready" {
		t.Errorf("%v: %q, %v", cmd.Args, line, err)
	}
	time.Sleep(age)
	if err := cmd.Process.Signal(sig); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 42 {
		t.Errorf("%v after %v: %v, want exit code 42", sig, age, cmd.ProcessState)
	}
}

// TestMqueueOwner: the message queues of a private user namespace belong to its
// root.
func TestMqueueOwner(t *testing.T) {
	needRoot(t)
	rt := bundle.Ours(t)
	leak.Check(t, rt.Root)
	b := bundle.New(t, bundle.MapIDs(100000, 65536), bundle.Args("/bin/stat", "-c", "%u:%g", "/dev/mqueue"))
	if res := rt.Run(b); res.Code != 0 || res.Stdout != "0:0\n" {
		t.Errorf("want 0:0: %s", res)
	}
}

// TestDeleteOfCompany: a container without a pid namespace leaves processes
// behind when its first one is killed; delete ends them, soon.
func TestDeleteOfCompany(t *testing.T) {
	needRoot(t)
	rt := bundle.Ours(t)
	leak.Check(t, rt.Root)
	b := bundle.New(t, bundle.Args("/bin/sh", "-c", "sleep 1000 & sleep 1000 & wait"), bundle.Share("pid"))
	id := rt.Start(b)
	for len(strings.Fields(rt.Must("ps", "--format", "json", id).Stdout)) == 0 || strings.Count(rt.Must("ps", "--format", "json", id).Stdout, ",") < 2 {
		time.Sleep(10 * time.Millisecond)
	}
	begin := time.Now()
	rt.Must("delete", "--force", id)
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("delete --force took %v", took)
	}
}
