package process_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/runtime/idmap"
	"berth/runtime/initproc"
	"berth/runtime/namespace"
	"berth/runtime/plan"
	"berth/runtime/process"
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
	os.Exit(m.Run())
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: makes namespaces and changes ids")
	}
}

// trial is one process made by a plan.
type trial struct {
	spec    *specs.Spec
	options process.Options
	script  string // run by /bin/sh
	argv    []string
	env     []string
	create  int // CLONE_NEW* without a trace in the spec, such as NEWNS
	stdin   *os.File
	outside bool
	deny    bool // forbid setgroups(2) in the new user namespace
	notify  func(listener int)
	// between adds steps between Late and the end.
	between func(*plan.Builder)
	before  func(*plan.Builder) // adds steps before all others
}

type outcome struct {
	out   string // stdout and stderr
	err   string // of the helper
	errno unix.Errno
	warns []string
	exit  unix.WaitStatus
}

// newSpec returns the least that the phases need, root without capabilities.
func newSpec() *specs.Spec {
	return &specs.Spec{Process: &specs.Process{Cwd: "/"}, Linux: &specs.Linux{}}
}

func with(flags int, kinds ...specs.LinuxNamespaceType) namespace.Set {
	var list []specs.LinuxNamespace
	for _, k := range kinds {
		list = append(list, specs.LinuxNamespace{Type: k})
	}
	s, err := namespace.Parse(list)
	if err != nil {
		panic(err)
	}
	s.New |= flags
	return s
}

// phases plans all of a trial, as create and exec do.
func (tr *trial) phases() (*plan.Builder, error) {
	b := plan.New()
	if tr.before != nil {
		tr.before(b)
	}
	p, o := tr.spec.Process, &tr.options
	if o.ID == "" {
		o.ID = "trial"
	}
	for _, phase := range []func() error{
		func() error { return process.Terminal(b, p, o) },
		func() error { return process.Early(b, tr.spec, p, o) },
		func() error { return process.Late(b, p, o) },
		func() error { return process.BeforeWait(b, p, o) },
		func() error {
			if tr.between != nil {
				tr.between(b)
			}
			return nil
		},
	} {
		if err := phase(); err != nil {
			return nil, err
		}
	}
	argv := tr.argv
	if argv == nil {
		argv = []string{"/bin/sh", "-c", tr.script}
	}
	b.Add(&initproc.LookPath{File: argv[0]})
	if err := process.AfterWait(b, p, o); err != nil {
		return nil, err
	}
	b.Add(&initproc.Exec{Args: argv, Env: append([]string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin"}, tr.env...)})
	return b, nil
}

// run makes the process and waits for its end.
func (tr *trial) run(t *testing.T) *outcome {
	t.Helper()
	needRoot(t)
	b, err := tr.phases()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	o := &outcome{}
	c := tr.start(t, w)
	w.Close()
	done := make(chan string)
	go func() {
		text, _ := io.ReadAll(r)
		done <- string(text)
	}()
	if err := tr.converse(c, b, o); err != nil {
		unix.Kill(c.pid, unix.SIGKILL)
		t.Errorf("talk with the helper: %v", err)
	}
	timer := time.AfterFunc(20*time.Second, func() { unix.Kill(c.pid, unix.SIGKILL) })
	defer timer.Stop()
	if _, err := unix.Wait4(c.pid, &o.exit, 0, nil); err != nil {
		t.Fatal(err)
	}
	o.out = <-done
	return o
}

type helperProcess struct {
	pid, sock, theirs int
}

// start clones the helper with w as its standard output and error.
func (tr *trial) start(t *testing.T, w *os.File) *helperProcess {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(pair[0]) })
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	stdin := tr.stdin
	if stdin == nil {
		if stdin, err = os.Open(os.DevNull); err != nil {
			t.Fatal(err)
		}
		defer stdin.Close()
	}
	// The child takes over our standard streams.
	var saved [3]int
	for fd, f := range []*os.File{stdin, w, w} {
		if saved[fd], err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 10); err != nil {
			t.Fatal(err)
		}
		if err := unix.Dup3(int(f.Fd()), fd, 0); err != nil {
			t.Fatal(err)
		}
	}
	pid, _, err := clone.Start(&clone.Attr{
		New: tr.options.Namespaces.New | tr.create, CgroupDir: -1, Program: int(self.Fd()),
		Argv: []string{helperName, strconv.Itoa(pair[1])}, Env: []string{"GOMAXPROCS=1", "GOGC=off"},
		Sock: pair[1], BecomeRoot: tr.options.Namespaces.New&unix.CLONE_NEWUSER != 0,
	})
	if err == nil {
		h := &helperProcess{pid: pid, sock: pair[0], theirs: pair[1]}
		err = tr.ready(h)
		for fd := range saved {
			_ = unix.Dup3(saved[fd], fd, 0)
			unix.Close(saved[fd])
		}
		if err == nil {
			return h
		}
	}
	t.Fatal(err)
	return nil
}

// ready sees the child until the helper runs with streams of its own.
func (tr *trial) ready(h *helperProcess) error {
	for {
		kind, payload, err := h.next()
		if err != nil {
			return err
		}
		switch kind {
		case clone.FrameReady:
			if tr.options.Namespaces.New&unix.CLONE_NEWUSER != 0 {
				l := tr.spec.Linux
				if tr.deny {
					if err := os.WriteFile(fmt.Sprintf("/proc/%d/setgroups", h.pid), []byte("deny"), 0); err != nil {
						return err
					}
				}
				if err := (&idmap.Maps{UID: l.UIDMappings, GID: l.GIDMappings}).Write(h.pid); err != nil {
					return err
				}
			}
			if tr.outside {
				if err := process.Outside(h.pid, tr.spec.Process, &tr.options); err != nil {
					return err
				}
			}
			if adj := tr.spec.Process.OOMScoreAdj; adj != nil {
				if err := process.SetOOMScoreAdj(h.pid, *adj); err != nil {
					return err
				}
			}
			if err := clone.Go(h.sock, nil, -1); err != nil {
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
func (tr *trial) converse(h *helperProcess, b *plan.Builder, o *outcome) error {
	files, err := b.Open(&plan.Host{PID: h.pid})
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
		case initproc.FrameWarn:
			o.warns = append(o.warns, string(payload))
		case initproc.FrameError:
			o.errno, o.err = unix.Errno(binary.NativeEndian.Uint32(payload)), string(payload[8:])
			return nil
		case initproc.FrameNotify:
			pidfd, err := unix.PidfdOpen(h.pid, 0)
			if err != nil {
				return err
			}
			defer unix.Close(pidfd)
			fd, err := unix.PidfdGetfd(pidfd, int(binary.NativeEndian.Uint32(payload)), 0)
			if err != nil {
				return err
			}
			tr.notify(fd)
			if _, err := unix.Write(h.sock, []byte{1}); err != nil {
				return err
			}
		default:
			return fmt.Errorf("unexpected frame %q", kind)
		}
	}
}

func (h *helperProcess) next() (byte, []byte, error) {
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

// want fails unless the process ended well and every line is in its output.
func (o *outcome) want(t *testing.T, lines ...string) {
	t.Helper()
	if o.err != "" || o.exit.ExitStatus() != 0 {
		t.Fatalf("helper: %q, exit %#x\n%s", o.err, o.exit, o.out)
	}
	for _, l := range lines {
		if !strings.Contains("\n"+o.out, "\n"+l+"\n") {
			t.Errorf("no line %q in\n%s", l, o.out)
		}
	}
}

// refused fails unless the helper failed with a text that has all parts.
func (o *outcome) refused(t *testing.T, parts ...string) {
	t.Helper()
	if o.err == "" {
		t.Fatalf("nothing failed; output\n%s", o.out)
	}
	for _, p := range parts {
		if !strings.Contains(o.err, p) {
			t.Errorf("error %q lacks %q", o.err, p)
		}
	}
}
