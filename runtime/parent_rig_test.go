package runtime_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/runtime"
	"berth/sys/clone"
	"berth/test/bundle"
	"berth/test/leak"
)

// The test binary is also the parent of the containers: a process of its own,
// with nothing but its end of a socket, as a monitor is.

const parentName = "berth-test-parent"

func TestMain(m *testing.M) {
	if os.Args[0] == parentName {
		serve(3)
		os.Exit(0)
	}
	if os.Getuid() != 0 {
		os.Exit(m.Run())
	}
	os.Exit(leak.Main(m, leak.Config{}))
}

// What the caller asks of the parent: one letter and a number or an order. The
// answer is three numbers, the last 1 for a failure.
const (
	askClone   = 'C'
	askSpoken  = 'S'
	askAbandon = 'A'
	askWait    = 'W'
)

func serve(sock int) {
	unix.CloseOnExec(sock)
	// Unlike the caller's, so that a child shows whose it has.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("321"), 0)
	buf, oob := make([]byte, 1+clone.MaxWire), make([]byte, unix.CmsgSpace(4*clone.MaxWireFDs))
	first := 0
	for {
		n, oobn, _, _, err := unix.Recvmsg(sock, buf, oob, unix.MSG_CMSG_CLOEXEC)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return
		}
		var fds []int
		if msgs, err := unix.ParseSocketControlMessage(oob[:oobn]); err == nil && len(msgs) == 1 {
			fds, _ = unix.ParseUnixRights(&msgs[0])
		}
		a, b := 0, 0
		number := func() int { return int(binary.NativeEndian.Uint32(buf[1:n])) }
		switch buf[0] {
		case askClone:
			var attr *clone.Attr
			if attr, err = clone.Unmarshal(buf[1:n], fds); err == nil {
				var two bool
				if a, two, err = clone.Start(attr); two {
					b, first = 1, a
				}
			}
		case askSpoken:
			if first != 0 {
				a, err = reap(first)
				first = 0
			}
		case askAbandon:
			_ = unix.Kill(number(), unix.SIGKILL)
			a, err = reap(number())
			if err == nil && first != 0 && first != number() {
				_, err = reap(first)
			}
			first = 0
		case askWait:
			a, err = reap(number())
		}
		for _, fd := range fds {
			unix.Close(fd)
		}
		answer := binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(nil, uint32(a)), uint32(b))
		if err != nil {
			answer = append(answer, err.Error()...)
		}
		if _, err := unix.Write(sock, answer); err != nil {
			return
		}
	}
}

func reap(pid int) (int, error) {
	var ws unix.WaitStatus
	for {
		_, err := unix.Wait4(pid, &ws, 0, nil)
		if err != unix.EINTR {
			return int(ws), err
		}
	}
}

// parent is the caller's side.
type parent struct {
	sock    int
	pid     int
	refuses bool // Spoken fails
	lost    bool // nothing but Clone succeeds
	last    int  // the newest child
}

func newParent(t testing.TB) *parent {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	theirs := os.NewFile(uintptr(pair[1]), "parent")
	defer theirs.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{parentName}
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	must(t, cmd.Start())
	t.Cleanup(func() {
		unix.Close(pair[0])
		if err := cmd.Wait(); err != nil {
			t.Errorf("the parent: %v", err)
		}
	})
	return &parent{sock: pair[0], pid: cmd.Process.Pid}
}

func (p *parent) ask(kind byte, b []byte, fds ...int) (int, int, error) {
	if err := unix.Sendmsg(p.sock, append([]byte{kind}, b...), unix.UnixRights(fds...), nil, 0); err != nil {
		return 0, 0, err
	}
	var answer [512]byte
	for {
		n, err := unix.Read(p.sock, answer[:])
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return 0, 0, err
		case n < 8:
			return 0, 0, fmt.Errorf("the parent is gone")
		case n > 8:
			return 0, 0, fmt.Errorf("%s", answer[8:n])
		}
		return int(binary.NativeEndian.Uint32(answer[:])), int(binary.NativeEndian.Uint32(answer[4:])), nil
	}
}

func (p *parent) Clone(a *clone.Attr) (int, bool, error) {
	b, fds, err := a.Marshal()
	if err != nil {
		return 0, false, err
	}
	pid, two, err := p.ask(askClone, b, fds...)
	p.last = pid
	return pid, two == 1, err
}

func (p *parent) Spoken(pid int) error {
	if p.refuses || p.lost {
		return fmt.Errorf("the parent is lost")
	}
	_, _, err := p.ask(askSpoken, binary.NativeEndian.AppendUint32(nil, uint32(pid)))
	return err
}

func (p *parent) Abandon(pid int) error {
	if p.lost {
		return fmt.Errorf("the parent is lost")
	}
	_, _, err := p.ask(askAbandon, binary.NativeEndian.AppendUint32(nil, uint32(pid)))
	return err
}

// wait returns how a child ended.
func (p *parent) wait(t testing.TB, pid int) unix.WaitStatus {
	t.Helper()
	status, _, err := p.ask(askWait, binary.NativeEndian.AppendUint32(nil, uint32(pid)))
	must(t, err)
	return unix.WaitStatus(status)
}

// children lists what the parent has, zombies too.
func (p *parent) children(t testing.TB) string {
	t.Helper()
	all := ""
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", p.pid))
	must(t, err)
	for _, path := range tasks {
		b, err := os.ReadFile(path)
		if err == nil {
			all += string(b)
		}
	}
	return all
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// stage is a store with an image of two layers, a runtime, and a parent.
type stage struct {
	rt     *runtime.Runtime
	parent *parent
	dir    string // of the test
	store  string
	n      int
}

// hostRoot is the host's id of the containers' root.
const hostRoot = 1_000_000

func newStage(t testing.TB) *stage {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: makes namespaces and mounts")
	}
	dir := t.TempDir()
	s := &stage{dir: dir, store: filepath.Join(dir, "store"), parent: newParent(t)}
	s.rt = &runtime.Runtime{Root: filepath.Join(dir, "run"), Warn: t.Logf}
	must(t, os.MkdirAll(filepath.Join(s.store, "top", "etc"), 0o755))
	b, err := bundle.Make(dir)
	must(t, err)
	must(t, os.Rename(b.Rootfs, filepath.Join(s.store, "base")))
	must(t, os.WriteFile(filepath.Join(s.store, "top/etc/passwd"), []byte("root:x:0:0::/root:/bin/sh\n"), 0o644))
	return s
}

// request asks for a container whose root is the image under a new upper
// folder, in all new namespaces.
func (s *stage) request(t testing.TB, script string) runtime.CreateRequest {
	t.Helper()
	s.n++
	own := filepath.Join(s.store, "own"+strconv.Itoa(s.n))
	for _, d := range []string{own + "/fs", own + "/work", filepath.Join(s.dir, "root")} {
		must(t, os.MkdirAll(d, 0o755))
	}
	spec := bundle.Default()
	spec.Root.Path = filepath.Join(s.dir, "root")
	spec.Process.Args = []string{"/bin/sh", "-c", script}
	spec.Linux.CgroupsPath = "/" + bundle.Name("cg")
	spec.Linux.Namespaces = append(spec.Linux.Namespaces,
		specs.LinuxNamespace{Type: specs.UserNamespace}, specs.LinuxNamespace{Type: specs.TimeNamespace})
	spec.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: hostRoot, Size: 65536}}
	spec.Linux.GIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: hostRoot + 70000, Size: 65536}}
	return runtime.CreateRequest{
		ID: bundle.Name("c"), Spec: spec, Parent: s.parent,
		Root: &runtime.Overlay{
			Store: s.store, Lower: []string{s.store + "/top", s.store + "/base"}, Upper: own + "/fs", Work: own + "/work",
			Options: []string{"index=off", "redirect_dir=nofollow"},
		},
	}
}

// streams gives a request pipes and returns what collects the output.
func streams(t testing.TB, stdin string) (*[3]*os.File, func() string) {
	t.Helper()
	in, inw, err := os.Pipe()
	must(t, err)
	out, outw, err := os.Pipe()
	must(t, err)
	_, err = inw.WriteString(stdin)
	must(t, err)
	must(t, inw.Close())
	t.Cleanup(func() { in.Close(); out.Close(); outw.Close() })
	return &[3]*os.File{in, outw, outw}, func() string {
		outw.Close()
		must(t, out.SetReadDeadline(time.Now().Add(time.Minute)))
		var b strings.Builder
		if _, err := out.WriteTo(&b); err != nil {
			t.Error(err)
		}
		return b.String()
	}
}

// delete removes a container at the end of the test, if it is still there.
func (s *stage) delete(t testing.TB, id string) {
	t.Cleanup(func() {
		if err := s.rt.Delete(context.Background(), id, true); err != nil {
			t.Errorf("delete: %v", err)
		}
	})
}

// run runs a container to its end and returns its output.
func (s *stage) run(t testing.TB, req runtime.CreateRequest, stdin string) (string, unix.WaitStatus) {
	t.Helper()
	ctx := context.Background()
	var output func() string
	req.Stdio, output = streams(t, stdin)
	p, err := s.rt.Create(ctx, req)
	must(t, err)
	s.delete(t, req.ID)
	must(t, s.rt.Start(ctx, req.ID))
	text := output()
	return text, s.parent.wait(t, p.PID)
}
