package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// machine returns the layout of the machine that runs the test.
func machine(t testing.TB) *Layout {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: makes cgroups")
	}
	l, err := Detect()
	if err != nil {
		t.Skipf("cgroup layout that this kernel lacks: %v", err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// name returns a path that no other test run uses.
func name(t testing.TB) string {
	n := strings.Map(func(r rune) rune {
		if r == '/' || r == '#' {
			return '-'
		}
		return r
	}, t.Name())
	return fmt.Sprintf("/berth-test-%d/%s", os.Getpid(), n)
}

// make creates the cgroup and removes it after the test, with the test run's
// directory above.
func create(t testing.TB, l *Layout, cfg Config) *Cgroup {
	t.Helper()
	if cfg.Path == "" && !cfg.Systemd {
		cfg.Path = name(t)
	}
	cfg.ID = "t"
	c, err := New(l, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Create(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Remove(context.Background()); err != nil {
			t.Error(err)
		}
		clean(l)
	})
	return c
}

// clean removes the test run's own directory.
func clean(l *Layout) {
	top := fmt.Sprintf("berth-test-%d", os.Getpid())
	for i := range l.v1 {
		_ = l.v1[i].rmdir(top)
	}
	if l.v2 != nil {
		_ = l.v2.rmdir(top)
	}
}

// TestMain looks for what the tests left behind.
func TestMain(m *testing.M) {
	code := m.Run()
	left, _ := filepath.Glob(fmt.Sprintf("/sys/fs/cgroup/*/berth-test-%d*", os.Getpid()))
	more, _ := filepath.Glob(fmt.Sprintf("/sys/fs/cgroup/berth-test-%d*", os.Getpid()))
	if left = append(left, more...); len(left) > 0 {
		fmt.Fprintln(os.Stderr, "left behind:", left)
		code = 1
	}
	os.Exit(code)
}

// run starts a shell that joins c the way a container's first process does and
// then runs script; it is killed and reaped after the test.
func run(t testing.TB, c *Cgroup, script string) *exec.Cmd {
	t.Helper()
	tasks, dir, err := c.JoinFDs()
	if err != nil {
		t.Fatal(err)
	}
	defer closeFiles(tasks, dir)
	cmd := exec.Command("/bin/bash", "-c", fmt.Sprintf("for i in $(seq 3 %d); do echo 0 >&$i || exit 99; done; %s", len(tasks)+2, script))
	cmd.ExtraFiles = tasks
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if dir != nil {
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(dir.Fd())
	}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	stdin, err := cmd.StdinPipe() // `read` waits for the end of the test
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	t.Cleanup(func() {
		stdin.Close()
		_ = cmd.Process.Kill()
		_ = c.thaw() // frozen, v1's do not die
		<-done
		if t.Failed() && out.Len() > 0 {
			t.Logf("shell: %s", out.String())
		}
	})
	return cmd
}

// output runs script inside c and returns what it printed and its exit code.
func output(t testing.TB, c *Cgroup, script string) (string, int) {
	t.Helper()
	tasks, dir, err := c.JoinFDs()
	if err != nil {
		t.Fatal(err)
	}
	defer closeFiles(tasks, dir)
	cmd := exec.Command("/bin/bash", "-c", fmt.Sprintf("for i in $(seq 3 %d); do echo 0 >&$i || exit 99; done; %s", len(tasks)+2, script))
	cmd.ExtraFiles = tasks
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if dir != nil {
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(dir.Fd())
	}
	b, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b)), cmd.ProcessState.ExitCode()
}

func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if f() {
			return
		}
	}
	t.Fatalf("not within 30 s: %s", what)
}

// file reads a file of the controller's directory.
func (c *Cgroup) file(t testing.TB, ctrl, name string) string {
	t.Helper()
	p := c.at(ctrl)
	if ctrl == "" {
		p = c.v2()
	}
	s, err := p.h.readString(p.rel, name)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return s
}

func ptr[T any](v T) *T { return &v }

func needs(t testing.TB, l *Layout, ctrl string) {
	t.Helper()
	if !slices.Contains(l.Controllers(), ctrl) {
		t.Skipf("cgroup layout that this kernel lacks: controller %s", ctrl)
	}
}

func TestCreateJoinRemove(t *testing.T) {
	l := machine(t)
	c := create(t, l, Config{})
	cmd := run(t, c, "read x")
	pid := cmd.Process.Pid
	eventually(t, "process in every hierarchy", func() bool {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
		if err != nil {
			t.Fatal(err)
		}
		own, err := parseProcCgroup(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range c.places {
			key := ""
			if p.h != l.v2 {
				key = p.h.controllers[0]
			}
			if !strings.HasSuffix(own[key], name(t)) {
				return false
			}
		}
		return true
	})
	pids, err := c.PIDs(true)
	if err != nil || !slices.Contains(pids, pid) {
		t.Errorf("PIDs = %v, %v; want %d", pids, err, pid)
	}
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := c.Remove(short); err == nil || !strings.Contains(err.Error(), "processes inside") {
		t.Errorf("Remove with a process inside = %v", err)
	}
	_ = c.Kill(unix.SIGKILL)
	eventually(t, "killed", func() bool { p, err := c.PIDs(true); return gone(err) || len(p) == 0 })
	if err := c.Remove(t.Context()); err != nil {
		t.Error(err)
	}
	if c.Exists() {
		t.Error("still there after Remove")
	}
}

func TestStateOpensAgain(t *testing.T) {
	l := machine(t)
	c := create(t, l, Config{})
	cmd := run(t, c, "read x")
	again, err := Open(l, c.State())
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "seen through the state", func() bool {
		pids, err := again.PIDs(false)
		return err == nil && slices.Contains(pids, cmd.Process.Pid)
	})
	if got, want := fmt.Sprint(again.Paths()), fmt.Sprint(c.Paths()); got != want {
		t.Errorf("paths %s, want %s", got, want)
	}
	for _, bad := range []string{"", "/", "..", "a/..", "/a", "a//b", "../x"} {
		s := c.State()
		for k := range s.Paths {
			s.Paths[k] = bad
		}
		if _, err := Open(l, s); err == nil {
			t.Errorf("Open took path %q", bad)
		}
	}
}

func TestFailedCreateLeavesNothing(t *testing.T) {
	l := machine(t)
	top := fmt.Sprintf("/berth-test-%d", os.Getpid())
	for _, tc := range []struct {
		name, want string
		res        specs.LinuxResources
	}{
		{"throttle of no device", "linux.resources.blockIO.throttleReadBpsDevice", specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{
			ThrottleReadBpsDevice: []specs.LinuxThrottleDevice{{LinuxBlockIODevice: specs.LinuxBlockIODevice{Major: 4000, Minor: 7}, Rate: 1}}}}},
		{"cpu that is not there", "linux.resources.cpu.cpus", specs.LinuxResources{CPU: &specs.LinuxCPU{Cpus: "4000"}}},
		{"quota too small", "linux.resources.cpu.quota", specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: ptr(int64(1))}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ctrl := map[byte]string{'b': "blkio", 'c': "cpu"}[strings.TrimPrefix(tc.want, resField)[0]]
			if l.Mode == V2 && ctrl == "blkio" {
				ctrl = "io"
			}
			needs(t, l, ctrl)
			// Parents that it makes go as well.
			c, err := New(l, Config{ID: "t", Path: top + "/a/b/c", Resources: &tc.res})
			if err != nil {
				t.Fatal(err)
			}
			err = c.Create(t.Context(), 0)
			if err == nil || !strings.HasPrefix(err.Error(), tc.want+":") || strings.Contains(err.Error(), "\n") {
				t.Errorf("Create = %v, want one line that starts with %s", err, tc.want)
			}
			t.Log(err)
			for _, p := range c.places {
				if fd, err := p.h.openAt(strings.Trim(top, "/"), unix.O_PATH); err == nil {
					unix.Close(fd)
					t.Errorf("%s%s is left behind", p.h.mount, top)
				}
			}
		})
	}
}

func TestExistingCgroup(t *testing.T) {
	l := machine(t)
	first := create(t, l, Config{})
	// Empty: taken over.
	second, err := New(l, Config{ID: "t", Path: name(t)})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Create(t.Context(), 0); err != nil {
		t.Errorf("an empty one was refused: %v", err)
	}
	// Frozen: refused.
	if err := first.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := second.Create(t.Context(), 0); err == nil || !strings.Contains(err.Error(), "frozen") {
		t.Errorf("Create in a frozen one = %v", err)
	}
	if err := first.Thaw(); err != nil {
		t.Fatal(err)
	}
	// In use: refused and left alone.
	cmd := run(t, first, "read x")
	eventually(t, "joined", func() bool { p, _ := first.PIDs(true); return slices.Contains(p, cmd.Process.Pid) })
	if err := second.Create(t.Context(), 0); err == nil || !strings.Contains(err.Error(), "already holds") {
		t.Errorf("Create in a used one = %v", err)
	}
	if !first.Exists() {
		t.Error("the refusal removed another's cgroup")
	}
}

func TestFreezeAndKillFrozen(t *testing.T) {
	l := machine(t)
	c := create(t, l, Config{})
	cmd := run(t, c, "while :; do :; done")
	eventually(t, "joined", func() bool { p, _ := c.PIDs(true); return slices.Contains(p, cmd.Process.Pid) })
	if err := c.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	if f, err := c.Frozen(); err != nil || !f {
		t.Errorf("Frozen = %v, %v", f, err)
	}
	ticks := func() (sum int) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range strings.Fields(string(b))[13:15] {
			n, err := strconv.Atoi(f)
			if err != nil {
				t.Fatal(err)
			}
			sum += n
		}
		return sum
	}
	before := ticks()
	time.Sleep(100 * time.Millisecond)
	if after := ticks(); after > before+1 { // the kernel may count the last one late; who runs has ten
		t.Errorf("ran while frozen: %d → %d ticks", before, after)
	}
	if err := c.Kill(unix.SIGKILL); err != nil {
		t.Error(err)
	}
	eventually(t, "died while frozen", func() bool { p, err := c.PIDs(true); return err == nil && len(p) == 0 })
	if f, err := c.Frozen(); err == nil && f && l.Mode != V2 {
		t.Error("still frozen after Kill")
	}
}

func TestFreezeGivesUpAndThaws(t *testing.T) {
	l := machine(t)
	c := create(t, l, Config{})
	cmd := run(t, c, "read x")
	eventually(t, "joined", func() bool { p, _ := c.PIDs(true); return slices.Contains(p, cmd.Process.Pid) })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Freeze(ctx); err == nil {
		// It may freeze at once; then nothing is to be undone.
		if f, _ := c.Frozen(); !f {
			t.Error("Freeze said yes, Frozen no")
		}
		return
	}
	if f, err := c.Frozen(); err != nil || f {
		t.Errorf("after a failed Freeze: Frozen = %v, %v", f, err)
	}
}

// fork bomb: nobody gets away.
func TestKillReachesForkers(t *testing.T) {
	l := machine(t)
	needs(t, l, "pids")
	for _, way := range []string{"Kill", "killLoop"} {
		t.Run(way, func(t *testing.T) {
			c := create(t, l, Config{Resources: &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(200))}}})
			run(t, c, "f() { while :; do (exec -a bomb sleep 0.01) & done; }; f & f & f & wait")
			eventually(t, "grows", func() bool { p, _ := c.PIDs(true); return len(p) > 20 })
			var err error
			if way == "Kill" {
				err = c.Kill(unix.SIGKILL)
			} else {
				err = c.killLoop()
			}
			if err != nil {
				t.Error(err)
			}
			eventually(t, "empty", func() bool { p, err := c.PIDs(true); return err == nil && len(p) == 0 })
		})
	}
}

func TestNestedAreKilledListedAndRemoved(t *testing.T) {
	l := machine(t)
	c := create(t, l, Config{})
	// In every hierarchy, as an init inside would make them.
	for _, p := range c.places {
		for _, rel := range []string{p.rel + "/in", p.rel + "/in/ner"} {
			if err := p.h.mkdir(rel); err != nil {
				t.Fatal(err)
			}
			if hasController(p.h, "cpuset") {
				if err := inheritCpuset(&place{p.h, rel}, []place{{p.h, rel}}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	s := c.State()
	for k := range s.Paths {
		s.Paths[k] += "/in/ner"
	}
	inner, err := Open(l, s)
	if err != nil {
		t.Fatal(err)
	}
	cmd := run(t, inner, "read x")
	eventually(t, "joined", func() bool { p, _ := c.PIDs(true); return slices.Contains(p, cmd.Process.Pid) })
	if p, err := c.PIDs(false); err != nil || len(p) != 0 {
		t.Errorf("PIDs(false) = %v, %v", p, err)
	}
	// It is born in the unified one and then joins the others.
	var tasks []*os.File
	var dir *os.File
	eventually(t, "joined all", func() bool {
		tasks, dir, err = c.JoinFDsOf(cmd.Process.Pid)
		return err == nil
	})
	for _, f := range append(tasks, dir) {
		if f != nil && !strings.Contains(f.Name(), "/in/ner") {
			t.Errorf("JoinFDsOf gave %s", f.Name())
		}
	}
	closeFiles(tasks, dir)
	if _, _, err := c.JoinFDsOf(os.Getpid()); err == nil || !strings.Contains(err.Error(), "has left") {
		t.Errorf("JoinFDsOf of a process outside = %v", err)
	}
	if err := c.Kill(unix.SIGKILL); err != nil {
		t.Error(err)
	}
	if err := c.Remove(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestKillOtherSignal(t *testing.T) {
	l := machine(t)
	c := create(t, l, Config{})
	cmd := run(t, c, "trap 'exit 7' USR1; echo ready; while :; do read -t 0.01 x; done")
	eventually(t, "joined", func() bool {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
		for line := range strings.SplitSeq(string(b), "\n") {
			if v, ok := strings.CutPrefix(line, "SigCgt:"); ok {
				v = strings.TrimSpace(v)
				return strings.ContainsRune("2367abef", rune(v[len(v)-3])) // bit 9: SIGUSR1 is caught
			}
		}
		return false
	})
	if err := c.Kill(unix.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	eventually(t, "ended by its trap", func() bool { p, _ := c.PIDs(true); return len(p) == 0 })
	if code := cmd.ProcessState; code != nil && code.ExitCode() != 7 {
		t.Errorf("exit code %d", code.ExitCode())
	}
}
