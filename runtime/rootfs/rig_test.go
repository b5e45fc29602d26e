package rootfs_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/runtime/idmap"
	"berth/runtime/initproc"
	"berth/runtime/namespace"
	"berth/runtime/plan"
	"berth/runtime/rootfs"
	"berth/sys/clone"
)

// The test binary is the helper too: it performs real plans in real processes.

const helperName = "berth-test-helper"

func init() {
	if os.Args[0] == helperName {
		runtime.LockOSThread()
	}
}

func TestMain(m *testing.M) {
	if os.Args[0] == helperName {
		sock, _ := strconv.Atoi(os.Args[1])
		os.Exit(initproc.Main(sock))
	}
	if os.Getuid() == 0 && os.Getenv(insideEnv) == "" {
		os.Exit(inside())
	}
	os.Exit(m.Run())
}

const insideEnv = "BERTH_TEST_INSIDE"

// inside runs the tests in a mount namespace of their own, all private, so that
// the machine's mounts stay as they are.
func inside() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return cmd.ProcessState.ExitCode()
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: makes namespaces and mounts")
	}
}

// rig is one container: a root with the host's programs, and a script.
type rig struct {
	spec   *specs.Spec
	opt    rootfs.Options
	root   string
	script string
	// tasks are files of v1 cgroups that the container is in.
	tasks []int
	// atHooks runs on the host when the root is complete, before the pivot.
	atHooks func(pid int)
}

const hostID = 100000

// newRig makes a root that holds a shell and little else. The usual mounts are
// not in it; see defaults.
func newRig(t testing.TB) *rig {
	t.Helper()
	needRoot(t)
	dir := t.TempDir()
	root := filepath.Join(dir, "rootfs")
	for _, d := range []string{"usr", "proc", "sys", "dev", "tmp", "etc"} {
		must(t, os.MkdirAll(filepath.Join(root, d), 0o755))
	}
	for _, l := range []string{"bin", "sbin", "lib", "lib64"} {
		must(t, os.Symlink("usr/"+l, filepath.Join(root, l)))
	}
	spec := &specs.Spec{
		Root:    &specs.Root{Path: "rootfs"},
		Process: &specs.Process{Cwd: "/"},
		Mounts: []specs.Mount{
			{Destination: "/usr", Source: "/usr", Options: []string{"rbind", "rro"}},
		},
		Linux: &specs.Linux{},
	}
	r := &rig{spec: spec, root: root, opt: rootfs.Options{Bundle: dir, Rights: rootfs.OwnRights()}}
	r.namespaces("mount", "pid", "ipc", "uts", "network", "cgroup")
	return r
}

func (r *rig) namespaces(kinds ...specs.LinuxNamespaceType) {
	r.spec.Linux.Namespaces = nil
	for _, k := range kinds {
		r.spec.Linux.Namespaces = append(r.spec.Linux.Namespaces, specs.LinuxNamespace{Type: k})
	}
}

// userns gives the container a user namespace of its own, and its root to it.
func (r *rig) userns(t testing.TB) *rig {
	t.Helper()
	l := r.spec.Linux
	l.Namespaces = append(l.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	l.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: hostID, Size: 65536}}
	l.GIDMappings = l.UIDMappings
	must(t, filepath.Walk(r.root, func(path string, _ os.FileInfo, err error) error {
		return errors.Join(err, os.Lchown(path, hostID, hostID))
	}))
	return r
}

// ordinary leaves to the first process what an ordinary user's parent cannot do.
func (r *rig) ordinary(t testing.TB) *rig {
	t.Helper()
	r.opt.Rights = rootfs.Rights{}
	// The container's root has to reach its files by path.
	must(t, os.Chmod(filepath.Dir(r.opt.Bundle), 0o755))
	return r
}

func (r *rig) mount(dest, fs, source string, options ...string) *specs.Mount {
	r.spec.Mounts = append(r.spec.Mounts, specs.Mount{Destination: dest, Type: fs, Source: source, Options: options})
	return &r.spec.Mounts[len(r.spec.Mounts)-1]
}

// defaults adds what `spec` of the usual runtimes prints.
func (r *rig) defaults() *rig {
	r.mount("/proc", "proc", "proc")
	r.mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k")
	r.mount("/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5")
	r.mount("/dev/shm", "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777", "size=65536k")
	r.mount("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev")
	r.mount("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", "ro")
	return r
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// plan plans the whole life of the rig.
func (r *rig) plan() (*plan.Builder, error) {
	b := plan.New()
	if err := rootfs.Before(b, r.spec, r.opt); err != nil {
		return nil, err
	}
	if r.atHooks != nil {
		b.Add(&initproc.Sync{Point: initproc.SyncRuntimeHooks})
	}
	if err := rootfs.Pivot(b, r.spec, r.opt); err != nil {
		return nil, err
	}
	b.Add(&initproc.LookPath{File: "/bin/sh"},
		&initproc.Exec{Args: []string{"/bin/sh", "-c", r.script}, Env: []string{"PATH=/usr/bin:/usr/sbin"}})
	return b, nil
}

// host makes a directory on the host, outside the root, that everybody reaches.
func (r *rig) host(t testing.TB, name string) string {
	t.Helper()
	must(t, os.Chmod(filepath.Dir(r.opt.Bundle), 0o755))
	dir := filepath.Join(r.opt.Bundle, name)
	must(t, os.MkdirAll(dir, 0o755))
	return dir
}

// hostMount mounts on the host, until the test ends.
func hostMount(t testing.TB, source, dir, fs string, flags uintptr, data string) {
	t.Helper()
	must(t, unix.Mount(source, dir, fs, flags, data))
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
}

// run runs a script in the container.
func (r *rig) run(t testing.TB, script string) *outcome {
	t.Helper()
	r.script = script
	b, err := r.plan()
	if err != nil {
		return &outcome{err: err.Error()}
	}
	in, out, err := os.Pipe()
	must(t, err)
	defer in.Close()
	h := r.start(t, out)
	out.Close()
	done := make(chan string)
	go func() {
		text, _ := io.ReadAll(in)
		done <- string(text)
	}()
	o := &outcome{}
	timer := time.AfterFunc(20*time.Second, func() { unix.Kill(h.pid, unix.SIGKILL) })
	defer timer.Stop()
	if err := r.converse(h, b, o); err != nil {
		unix.Kill(h.pid, unix.SIGKILL)
		o.err = err.Error()
	}
	_, err = unix.Wait4(h.pid, &o.exit, 0, nil)
	must(t, err)
	o.out = <-done
	return o
}

type helper struct{ pid, sock, theirs int }

func (r *rig) start(t testing.TB, w *os.File) *helper {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { unix.Close(pair[0]) })
	self, err := os.Open("/proc/self/exe")
	must(t, err)
	defer self.Close()
	ns, err := namespace.Parse(r.spec.Linux.Namespaces)
	must(t, err)
	// The child takes over our standard streams.
	var saved [3]int
	for fd := 1; fd <= 2; fd++ {
		saved[fd], err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 10)
		must(t, err)
		must(t, unix.Dup3(int(w.Fd()), fd, 0))
	}
	restore := func() {
		for fd := 1; fd <= 2; fd++ {
			_ = unix.Dup3(saved[fd], fd, 0)
			unix.Close(saved[fd])
		}
	}
	pid, _, err := clone.Start(&clone.Attr{
		New: ns.New, CgroupDir: -1, Program: int(self.Fd()),
		Argv: []string{helperName, strconv.Itoa(pair[1])}, Env: []string{"GOMAXPROCS=1", "GOGC=off"},
		Sock: pair[1], BecomeRoot: ns.New&unix.CLONE_NEWUSER != 0,
	})
	if err != nil {
		restore()
		t.Fatal(err)
	}
	h := &helper{pid: pid, sock: pair[0], theirs: pair[1]}
	err = r.ready(h)
	restore()
	must(t, err)
	return h
}

// ready sees the child until the helper runs.
func (r *rig) ready(h *helper) error {
	for {
		kind, payload, err := h.next()
		if err != nil {
			return err
		}
		switch kind {
		case clone.FrameReady:
			if l := r.spec.Linux; len(l.UIDMappings) > 0 {
				if err := (&idmap.Maps{UID: l.UIDMappings, GID: l.GIDMappings}).Write(h.pid); err != nil {
					return err
				}
			}
			if err := clone.Go(h.sock, r.tasks, -1); err != nil {
				return err
			}
		case clone.FrameFail:
			return clone.FailError(payload)
		case initproc.FrameHello:
			unix.Close(h.theirs)
			return nil
		default:
			return fmt.Errorf("unexpected frame %q", kind)
		}
	}
}

// converse sends the plan and answers until execve or failure.
func (r *rig) converse(h *helper, b *plan.Builder, o *outcome) error {
	host := &plan.Host{PID: h.pid}
	if len(r.spec.Linux.UIDMappings) > 0 {
		f, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", h.pid))
		if err != nil {
			return err
		}
		defer f.Close()
		host.Userns = f
	}
	files, err := b.Open(host)
	if err != nil {
		return err
	}
	var table []int
	for _, f := range files {
		defer f.Close()
		table = append(table, int(f.Fd()))
	}
	if err := initproc.Send(h.sock, -1, b.Encode(), table); err != nil {
		return err
	}
	for {
		kind, payload, err := h.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch kind {
		case initproc.FrameError:
			o.errno, o.err = unix.Errno(binary.NativeEndian.Uint32(payload)), string(payload[8:])
			return nil
		case initproc.FrameSync:
			r.atHooks(h.pid)
			if _, err := unix.Write(h.sock, []byte{1}); err != nil {
				return err
			}
		default:
			return fmt.Errorf("unexpected frame %q", kind)
		}
	}
}

func (h *helper) next() (byte, []byte, error) {
	var head [8]byte
	if err := readFull(h.sock, head[:]); err != nil {
		return 0, nil, err
	}
	payload := make([]byte, binary.NativeEndian.Uint32(head[4:]))
	return head[0], payload, readFull(h.sock, payload)
}

func readFull(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := unix.Read(fd, b)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return io.EOF
		}
		b = b[n:]
	}
	return nil
}

const mountinfo = "cat /proc/self/mountinfo"

func itoa(n int) string { return strconv.Itoa(n) }
