package container

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/test/berth"
	"berth/test/sample"
)

// busybox words run a shell that is not the image's: a small one with job
// control, whose processes are cheap.
func busybox(script string) []string {
	return []string{"-v", "/bin/busybox:/busybox:ro", "berth/base", "/busybox", "sh", "-c", script}
}

func runs(t *testing.T, b *berth.Berth, words ...string) string {
	t.Helper()
	return b.Must(t, append([]string{"run", "-d", "--network", "none"}, words...)...)
}

// until waits for what is to come about soon.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not come about: ", what)
		}
	}
}

// TestIgnoresTerm: a first process that does not want to end is killed after the
// timeout, and stop says so by nothing but its time.
func TestIgnoresTerm(t *testing.T) {
	b := store(t)
	runs(t, b, append([]string{"--name", "deaf"}, busybox("trap '' TERM; echo up; while :; do /busybox sleep 1000; done")...)...)
	until(t, "up", func() bool { return strings.Contains(b.Must(t, "logs", "deaf"), "up") })
	begin := time.Now()
	b.Must(t, "stop", "-t", "1", "deaf")
	if took := time.Since(begin); took < time.Second || took > 30*time.Second {
		t.Errorf("stop -t 1 took %v", took)
	}
	if got := b.Must(t, "inspect", "-f", "{{.State.ExitCode}} {{.State.Status}}", "deaf"); got != "137 exited" {
		t.Errorf("it is %s", got)
	}
	b.Must(t, "rm", "deaf")
}

// TestExecInDying: execs that meet the end of their container end too, each with
// a code and, if it could not run, with one line.
func TestExecInDying(t *testing.T) {
	b := store(t)
	for i := range max(sample.Rounds(100), 8) {
		name := fmt.Sprintf("dying%d", i)
		runs(t, b, "--name", name, "berth/base", "sleep", "1000")
		results := make(chan berth.Result, workers)
		for range workers {
			go func() { results <- b.Do("exec", name, "sh", "-c", "sleep 0.01") }()
		}
		time.Sleep(time.Duration(i%8) * 3 * time.Millisecond)
		b.Must(t, "kill", name)
		for range workers {
			r := <-results
			said := strings.TrimSpace(r.Errors)
			if r.Code == -1 || r.Code != 0 && r.Code != 137 && (said == "" || strings.Contains(said, "\n")) || r.Code == 0 && said != "" {
				t.Error(r)
			}
		}
		b.Must(t, "rm", "-f", name)
	}
}

// TestForkBomb: a container that makes processes as fast as it can has as many
// as it may, the machine works on, and it goes like any other.
// A shell that may not fork ends, so process 1 is none.
func TestForkBomb(t *testing.T) {
	b := store(t)
	id := runs(t, b, append([]string{"--name", "bomb", "--pids-limit", "40"},
		busybox("exec 2>/dev/null; bomb() { bomb | bomb & }; (while :; do (bomb); done) & exec /busybox sleep 1000")...)...)
	b.Note()
	until(t, "a refused fork", func() bool {
		for _, dir := range b.Cgroups() {
			if data, err := os.ReadFile(dir + "/pids.events"); err == nil && strings.Contains(dir, id) && !strings.HasPrefix(string(data), "max 0\n") {
				return true
			}
		}
		return false
	})
	if out := b.Must(t, "top", "bomb", "-eo", "pid"); strings.Count(out, "\n") > 40 {
		t.Errorf("more processes than the 40 that are allowed:\n%s", out)
	}
	b.Must(t, "run", "--rm", "--network", "none", "berth/base", "true")
	begin := time.Now()
	b.Must(t, "rm", "-f", "bomb")
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("rm -f took %v", took)
	}
}

// TestHugeLine: a line of a gigabyte (in make test of 64 MB) comes back from the
// log to its last byte, and neither the monitor nor logs holds it in memory.
func TestHugeLine(t *testing.T) {
	b := store(t)
	size := 64 << 20
	if sample.Whole() {
		size = 1 << 30
	}
	id := runs(t, b, "--name", "huge", "--log-opt", "max-size=-1", "-v", "/bin/busybox:/busybox:ro", "berth/base", "/busybox", "sh", "-c",
		fmt.Sprintf("/busybox head -c %d /dev/zero | /busybox tr '\\0' x; echo; echo after; /busybox sleep 1000", size))
	until(t, "the line after", func() bool {
		tail := b.Command("logs", "--tail", "1", "huge")
		var end ending // this process stays small: what it starts is counted with its memory, getrusage(2)
		tail.Stdout = &end
		return tail.Run() == nil && string(end) == "after\n"
	})
	if peak := monitorKB(t, id, "VmHWM"); peak > 16<<10 {
		t.Errorf("the monitor had %d KB", peak)
	}
	cmd := b.Command("logs", "huge")
	var count counter
	cmd.Stdout = &count
	if err := cmd.Run(); err != nil {
		t.Error(err)
	}
	if want := size + len("\nafter\n"); count.bytes != want || count.lines != 2 {
		t.Errorf("the log has %d bytes in %d lines, want %d in 2", count.bytes, count.lines, want)
	}
	if peak := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss; peak > 96<<10 {
		t.Errorf("logs had %d KB", peak)
	}
	b.Must(t, "rm", "-f", "huge")
}

// ending keeps the last bytes of what is written.
type ending []byte

func (e *ending) Write(p []byte) (int, error) {
	all := append(*e, p[max(0, len(p)-6):]...)
	*e = all[max(0, len(all)-6):]
	return len(p), nil
}

type counter struct{ bytes, lines int }

func (c *counter) Write(p []byte) (int, error) {
	c.bytes += len(p)
	c.lines += bytes.Count(p, []byte("\n"))
	return len(p), nil
}

// TestLostMonitor: a container whose monitor is killed runs on; the next verb
// gives it another one, which goes on with the log and sees the end.
func TestLostMonitor(t *testing.T) {
	b := store(t)
	for _, verb := range [][]string{{"exec", "lost", "true"}, {"kill", "-s", "USR1", "lost"}, {"pause", "lost"}} {
		runs(t, b, append([]string{"--name", "lost"}, busybox("trap 'exit 9' TERM; trap : USR1; while :; do echo x; /busybox sleep 0.02; done")...)...)
		old := monitorOf(t, b, "lost")
		until(t, "a line", func() bool { return strings.Contains(b.Must(t, "logs", "lost"), "x") })
		if err := unix.Kill(old, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		b.Must(t, verb...)
		if verb[0] == "pause" {
			b.Must(t, "unpause", "lost")
		}
		before := strings.Count(b.Must(t, "logs", "lost"), "x")
		until(t, "more lines", func() bool { return strings.Count(b.Must(t, "logs", "lost"), "x") > before+3 })
		b.Must(t, "stop", "lost")
		// Only since Linux 6.15 the kernel tells the code to others than the parent.
		if got := b.Must(t, "inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "lost"); got != "exited 9" && got != "exited 255" {
			t.Errorf("after %v: %s", verb, got)
		}
		b.Must(t, "rm", "lost")
	}
}

// monitorOf finds the monitor of a container by its connection: the parent of its
// first process.
func monitorOf(t *testing.T, b *berth.Berth, name string) int {
	t.Helper()
	pid := b.Must(t, "inspect", "-f", "{{.State.Pid}}", name)
	return field(t, "/proc/"+pid+"/status", "PPid")
}

func monitorKB(t *testing.T, id, what string) int {
	t.Helper()
	for _, dir := range glob("/proc/[0-9]*") {
		cmdline, _ := os.ReadFile(dir + "/cmdline")
		if !strings.Contains(string(cmdline), "monitor") {
			continue
		}
		fds, _ := filepath.Glob(dir + "/fd/*")
		for _, fd := range fds {
			if to, _ := os.Readlink(fd); strings.Contains(to, "/"+id) {
				return field(t, dir+"/status", what)
			}
		}
	}
	t.Fatalf("no monitor of %s", id)
	return 0
}

func field(t *testing.T, file, name string) int {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), "\n"+name+":")
	words := strings.Fields(rest)
	if len(words) == 0 {
		t.Fatalf("%s has no %s", file, name)
	}
	n, err := strconv.Atoi(words[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestCallerEnds: what started a container may end as it likes: by a hang-up of
// its terminal's session, or as a service all of whose processes are killed. The
// container runs on, is written down, and can be stopped.
func TestCallerEnds(t *testing.T) {
	b := store(t)
	t.Run("session", func(t *testing.T) {
		cmd := exec.Command("/bin/sh", "-c", b.Program+" run -d --name session --network none berth/base sh -c 'while :; do echo x; sleep 0.02; done' && "+
			b.Program+" run --name front --network none berth/base sleep 1000")
		cmd.Env, cmd.Dir = b.Env(), b.Dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		until(t, "both run", func() bool { return b.Must(t, "ps", "-q", "--filter", "name=front") != "" })
		if err := unix.Kill(-cmd.Process.Pid, unix.SIGHUP); err != nil {
			t.Error(err)
		}
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
		_ = cmd.Wait()
		lives(t, b, "session")
		if got := b.Must(t, "inspect", "-f", "{{.State.Status}}", "front"); got != "running" && got != "exited" {
			t.Errorf("the one in front is %s", got)
		}
		b.Must(t, "rm", "-f", "front")
	})
	t.Run("service", func(t *testing.T) {
		dir := serviceGroup(t)
		cmd := exec.Command("/bin/sh", "-c", "echo $$ > "+dir+"/cgroup.procs && "+b.Program+
			" run -d --name service --network none berth/base sh -c 'while :; do echo x; sleep 0.02; done'; sleep 1000")
		cmd.Env, cmd.Dir = b.Env(), b.Dir
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		until(t, "it runs", func() bool { return b.Must(t, "ps", "-q", "--filter", "name=service") != "" })
		data, err := os.ReadFile(dir + "/cgroup.procs")
		if err != nil {
			t.Fatal(err)
		}
		for _, pid := range strings.Fields(string(data)) {
			if n, err := strconv.Atoi(pid); err == nil {
				_ = unix.Kill(n, unix.SIGKILL)
			}
		}
		_ = cmd.Wait()
		lives(t, b, "service")
	})
}

// lives asserts that a container that prints goes on to print, and stops.
func lives(t *testing.T, b *berth.Berth, name string) {
	t.Helper()
	before := strings.Count(b.Must(t, "logs", name), "x")
	until(t, name+" prints", func() bool { return strings.Count(b.Must(t, "logs", name), "x") > before+3 })
	pid := monitorOf(t, b, name)
	if own := field(t, fmt.Sprintf("/proc/%d/status", pid), "Tgid"); own != pid {
		t.Errorf("no monitor: %d", own)
	}
	b.Must(t, "stop", "-t", "0", name)
	b.Must(t, "rm", name)
}

// serviceGroup is a cgroup such as a service manager gives a service.
func serviceGroup(t *testing.T) string {
	t.Helper()
	for _, top := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		if _, err := os.Stat(top + "/cgroup.procs"); err != nil {
			continue
		}
		dir, err := os.MkdirTemp(top, "berth-test-service")
		if err != nil {
			continue
		}
		t.Cleanup(func() {
			until(t, "an empty cgroup", func() bool { return unix.Rmdir(dir) == nil })
		})
		return dir
	}
	t.Skip("cgroup v2: none is mounted here")
	return ""
}
