package monitor

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/runtime"
	"berth/test/bundle"
)

// realContainer is a container of the runtime's under a monitor, in a private
// user namespace.
type realContainer struct {
	*stand
	rt   *runtime.Runtime
	spec *specs.Spec
	id   string
}

const hostRoot = 1_000_000 // the host's id of the container's root

func newContainer(t *testing.T, script string, options ...bundle.Option) *realContainer {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: makes containers")
	}
	s := newStand(t)
	b := bundle.New(t, append([]bundle.Option{bundle.MapIDs(hostRoot, 65536), bundle.Args("/bin/sh", "-c", script)}, options...)...)
	spec := b.Spec
	spec.Root.Path = b.Rootfs
	spec.Linux.CgroupsPath = "/" + bundle.Name("monitor")
	c := &realContainer{stand: s, rt: &runtime.Runtime{Root: filepath.Join(t.TempDir(), "oci"), Warn: t.Logf}, spec: spec, id: bundle.Name("c")}
	s.cfg.Terminal = spec.Process.Terminal
	t.Cleanup(func() {
		if c.conn == nil {
			return
		}
		if err := c.rt.Delete(context.Background(), c.id, true); err != nil {
			t.Logf("delete: %v", err)
		}
	})
	return c
}

// create does what an engine does up to "created".
func (c *realContainer) create() {
	c.t.Helper()
	ctx := context.Background()
	req := runtime.CreateRequest{ID: c.id, Spec: c.spec, Bundle: filepath.Dir(c.spec.Root.Path), Parent: c.conn}
	if !c.cfg.Terminal {
		three, err := Stdio(&c.cfg, hostRoot, hostRoot)
		must(c.t, err)
		defer closeAll(three[:])
		req.Stdio = three
	}
	must(c.t, c.conn.Prepare())
	p, err := c.rt.Create(ctx, req)
	must(c.t, err)
	defer p.Close()
	c.pid = p.PID
	var oom []*os.File
	for _, path := range []string{p.Cgroup["memory"] + "/memory.oom_control", p.Cgroup[""] + "/memory.events"} {
		if f, err := os.Open(path); err == nil {
			defer f.Close()
			oom = append(oom, f)
		}
	}
	must(c.t, c.conn.Adopt(p.PID, p.Console, oom...))
}

func TestContainer(t *testing.T) {
	c := newContainer(t, "cat; id -u; echo to the tty > /dev/stderr; cat /proc/self/uid_map; exit 7")
	c.cfg.Stdin, c.cfg.StdinOnce = true, true
	c.start()
	exit := c.watch(c.conn, "")
	st := c.attach(Want{Stdin: true, Stdout: true, Stderr: true})
	c.create()
	if b, err := os.ReadFile("/proc/" + itoa(c.pid) + "/status"); err != nil || !strings.Contains(string(b), "PPid:\t"+itoa(c.conn.pid)+"\n") {
		t.Errorf("it is not the monitor's: %s, %v", b, err)
	}
	must(t, c.rt.Start(context.Background(), c.id))
	_, err := st.Stdin.WriteString("typed\n")
	must(t, err)
	must(t, st.Stdin.Close())
	if got := strings.Join(strings.Fields(readAll(t, st.Stdout)), " "); got != "typed 0 0 1000000 65536" {
		t.Errorf("stdout %q", got)
	}
	if got := readAll(t, st.Stderr); got != "to the tty\n" {
		t.Errorf("stderr %q", got)
	}
	if e := exit(); e.Code != 7 || e.PID != c.pid {
		t.Errorf("exit %+v", e)
	}
	c.monitorGone(c.conn.pid)
}

func TestContainerTerminalAndExec(t *testing.T) {
	c := newContainer(t, "read x; stty size; echo got $x; read y", bundle.Terminal(20, 30))
	c.cfg.Stdin = true
	c.start()
	st := c.attach(Want{Stdin: true, Stdout: true})
	c.create()
	ctx := context.Background()
	must(t, c.rt.Start(ctx, c.id))

	conn := c.dial()
	theirs, ours, err := Pipes([3]bool{true, true, true}, os.Getuid(), os.Getgid(), "", nil)
	must(t, err)
	defer ours.Close()
	process := *c.spec.Process
	process.Terminal, process.ConsoleSize = false, nil
	process.Args = []string{"/bin/sh", "-c", "cat; cat /proc/1/comm; exit 3"}
	p, err := c.rt.Spawn(ctx, runtime.ExecRequest{ID: c.id, Process: &process, Parent: conn, Stdio: theirs})
	must(t, err)
	closeAll(theirs[:])
	must(t, conn.Session("e1", p.PID, false, ours.Stdout, ours.Stderr))
	exit := c.watch(conn, "e1")
	_, err = ours.Stdin.WriteString("into exec\n")
	must(t, err)
	ours.Stdin.Close()
	if got := readAll(t, ours.Stdout); got != "into exec\nsh\n" {
		t.Errorf("exec said %q", got)
	}
	if e := exit(); e.Code != 3 {
		t.Errorf("exec: %+v", e)
	}

	must(t, c.conn.Resize("", 44, 55))
	_, err = st.Stdin.WriteString("hello\nbye\n")
	must(t, err)
	if got := readAll(t, st.Stdout); !strings.Contains(got, "44 55\r\ngot hello\r\n") {
		t.Errorf("terminal %q", got)
	}
	c.monitorGone(c.conn.pid)
}

// A program that does not exist: the runtime's error, nothing left, no monitor.
func TestContainerThatCannotStart(t *testing.T) {
	c := newContainer(t, "", bundle.Args("/no/such/program"))
	c.start()
	three, err := Stdio(&c.cfg, hostRoot, hostRoot)
	must(t, err)
	defer closeAll(three[:])
	must(t, c.conn.Prepare())
	_, err = c.rt.Create(context.Background(), runtime.CreateRequest{ID: c.id, Spec: c.spec, Bundle: filepath.Dir(c.spec.Root.Path), Parent: c.conn, Stdio: three})
	if err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("created: %v", err)
	}
	st, err := c.conn.Status()
	must(t, err)
	children, _ := os.ReadFile("/proc/" + itoa(st.Monitor) + "/task/" + itoa(st.Monitor) + "/children")
	if len(children) != 0 {
		t.Errorf("the monitor has children: %s", children)
	}
	c.conn.Close()
	c.monitorGone(c.conn.pid)
}

// One that its memory limit kills says so.
func TestContainerOOM(t *testing.T) {
	limit := int64(16 << 20)
	c := newContainer(t, "x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done", bundle.Resources(func(r *specs.LinuxResources) {
		r.Memory = &specs.LinuxMemory{Limit: &limit}
	}))
	c.start()
	exit := c.watch(c.conn, "")
	c.create()
	must(t, c.rt.Start(context.Background(), c.id))
	if e := exit(); e.Signal != int(unix.SIGKILL) || !e.OOM {
		t.Errorf("exit %+v", e)
	}
	c.monitorGone(c.conn.pid)
}
