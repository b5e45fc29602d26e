package monitor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/runtime"
	"berth/sys/clone"
	"berth/sys/fdpass"
	"berth/sys/proc"
)

// TestMain lets the test binary be a first process: it takes its streams from
// the socket, executes a shell, and is the container's program.
func TestMain(m *testing.M) {
	if len(os.Args) >= 4 && os.Args[0] == "first-process" {
		becomeShell()
	}
	if len(os.Args) == 3 && os.Args[1] == "where" {
		where()
	}
	if len(os.Args) >= 4 && os.Args[1] == "engine" {
		engineChild()
	}
	os.Exit(m.Run())
}

// becomeShell is what the helper does for a real container, less the container.
func becomeShell() {
	sock, _ := strconv.Atoi(os.Args[1])
	if os.Args[2] == "terminal" {
		_, fds, err := fdpass.Receive(sock, 1)
		check(err)
		_, err = unix.Setsid()
		check(err)
		check(unix.IoctlSetInt(fds[0], unix.TIOCSCTTY, 0))
		for i := range 3 {
			check(unix.Dup3(fds[0], i, 0))
		}
	} else {
		_, fds, err := fdpass.Receive(sock, 3)
		check(err)
		for i, fd := range fds {
			check(unix.Dup3(fd, i, 0))
		}
	}
	check(unix.Sendto(sock, []byte("up"), unix.MSG_NOSIGNAL, nil))
	unix.CloseOnExec(sock)
	check(unix.Exec("/bin/sh", []string{"sh", "-c", os.Args[3]}, []string{"PATH=/usr/local/bin:/usr/bin:/bin"}))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(99)
	}
}

// stand is a monitor under test with what an engine keeps of it.
type stand struct {
	t     *testing.T
	cfg   Config
	place Place
	conn  *Conn
	pid   int // of the first process
}

// newStand prepares a configuration in a folder of its own.
func newStand(t *testing.T) *stand {
	t.Helper()
	dir := t.TempDir()
	check(os.Chmod(dir, 0o700))
	return &stand{t: t, cfg: Config{ID: "c1", Dir: dir, OOMScoreAdj: ownOOMScoreAdj(),
		Log: Log{Driver: "json-file", Path: filepath.Join(dir, "c1-json.log"), MaxFile: 1}}}
}

func (s *stand) start() {
	s.t.Helper()
	prog, err := runtime.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
	defer prog.Close()
	if s.conn, err = start(prog, s.cfg, s.place); err != nil {
		s.t.Fatal(err)
	}
	c := s.conn
	s.t.Cleanup(func() { c.Close(); c.Reap() })
}

// dial connects anew.
func (s *stand) dial() *Conn {
	s.t.Helper()
	c, err := Dial(s.cfg.Dir)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	return c
}

// born is a cloned process that waits for its streams.
type born struct {
	pid  int
	sock int
}

// cloneShell has c make a process that executes this program to be a shell.
func cloneShell(c *Conn, script string, terminal bool, new int) (*born, error) {
	kind := "pipes"
	if terminal {
		kind = "terminal"
	}
	b, err := cloneOnly(c, new, "first-process", "SOCK", kind, script)
	if err != nil {
		return nil, err
	}
	return b, clone.Go(b.sock, nil, -1)
}

// cloneOnly has c make a process that waits for the word to execute this program.
func cloneOnly(c *Conn, new int, argv ...string) (*born, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(pair[1])
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	defer self.Close()
	pid, _, err := c.Clone(&clone.Attr{CgroupDir: -1, New: new, Program: int(self.Fd()), Sock: pair[1], SockArg: 1, Argv: argv})
	if err != nil {
		unix.Close(pair[0])
		return nil, err
	}
	b := &born{pid, pair[0]}
	var head [clone.FrameHeader]byte
	if n, err := readEINTR(b.sock, head[:]); err != nil || n < len(head) || head[0] != clone.FrameReady {
		return nil, fmt.Errorf("no ready: %v, %v, %v", n, err, head)
	}
	return b, nil
}

// equip gives it its streams and waits until it is the shell.
func (b *born) equip(files ...*os.File) error {
	defer unix.Close(b.sock)
	var fds []int
	for _, f := range files {
		fds = append(fds, int(f.Fd()))
	}
	if err := fdpass.Send(b.sock, []byte("x"), fds...); err != nil {
		return err
	}
	var up [3]byte
	if n, err := readEINTR(b.sock, up[:]); err != nil || n != 2 {
		return fmt.Errorf("not up: %v %v", n, err)
	}
	if n, err := readEINTR(b.sock, up[:]); n != 0 {
		return fmt.Errorf("not executed: %v %v", n, err)
	}
	return nil
}

// first makes script the first process.
func (s *stand) first(script string) { s.t.Helper(); s.firstBy(s.conn, script) }

func (s *stand) firstBy(c *Conn, script string) {
	s.t.Helper()
	must(s.t, firstOf(c, &s.cfg, script, &s.pid))
	pid := s.pid
	s.t.Cleanup(func() { _ = unix.Kill(pid, unix.SIGKILL) })
}

// start is Begin and Configure.
func start(program *os.File, cfg Config, place Place) (*Conn, error) {
	c, err := Begin(program, place)
	if err != nil {
		return nil, err
	}
	if err := c.Configure(cfg); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// firstOf does what an engine does to start a container.
func firstOf(c *Conn, cfg *Config, script string, pid *int) error {
	var files []*os.File
	var master *os.File
	if cfg.Terminal {
		var slave *os.File
		var err error
		if master, slave, err = openPTY(); err != nil {
			return err
		}
		defer master.Close()
		defer slave.Close()
		files = []*os.File{slave}
	} else {
		three, err := Stdio(cfg, 0, 0)
		if err != nil {
			return err
		}
		files = three[:]
		defer closeAll(files)
	}
	if err := c.Prepare(); err != nil {
		return err
	}
	b, err := cloneShell(c, script, cfg.Terminal, 0)
	if err != nil {
		return err
	}
	*pid = b.pid
	if err := c.Spoken(b.pid); err != nil {
		return err
	}
	if err := c.Adopt(b.pid, master); err != nil {
		return err
	}
	return b.equip(files...)
}

func openPTY() (master, slave *os.File, err error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	master = os.NewFile(uintptr(fd), "master")
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return nil, nil, err
	}
	r, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if e != 0 {
		return nil, nil, e
	}
	return master, os.NewFile(r, "slave"), nil
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// patience bounds every wait of a test on a loaded machine.
const patience = time.Minute

func (s *stand) watch(c *Conn, session string) func() *Exit {
	s.t.Helper()
	w, err := c.Watch(session, false)
	must(s.t, err)
	return func() *Exit {
		s.t.Helper()
		defer w.Close()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		e, err := w.Wait(ctx)
		must(s.t, err)
		return e
	}
}

// logText is what the log holds of one stream.
func (s *stand) logText() string {
	b, err := os.ReadFile(s.cfg.Log.Path)
	must(s.t, err)
	return string(b)
}

// eventually waits for something that has no event.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("%s: not within %s", what, patience)
}

// monitorGone waits until the monitor has ended.
func (s *stand) monitorGone(pid int) {
	s.t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return
	}
	must(s.t, err)
	defer unix.Close(fd)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 1000)
		if n == 1 && err == nil {
			return
		}
	}
	s.t.Fatal("the monitor stays")
}

func readAll(t *testing.T, f *os.File) string {
	t.Helper()
	must(t, f.SetReadDeadline(time.Now().Add(patience)))
	b, err := io.ReadAll(f)
	must(t, err)
	return string(b)
}

func startTimeOf(t *testing.T, pid int) uint64 {
	t.Helper()
	st, err := proc.ReadStat(pid)
	must(t, err)
	return st.StartTime
}
