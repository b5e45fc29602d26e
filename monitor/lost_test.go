package monitor

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/runtime"
)

// killMonitor kills -9.
func (s *stand) killMonitor() {
	s.t.Helper()
	must(s.t, unix.Kill(s.conn.pid, unix.SIGKILL))
	s.conn.Reap()
	if _, err := Dial(s.cfg.Dir); !fault.Is(err, fault.NotFound) {
		s.t.Errorf("dialled a dead monitor: %v", err)
	}
	if err := unix.Kill(s.pid, 0); err != nil {
		s.t.Errorf("the container: %v", err)
	}
}

// A monitor that is killed before it says a word is not waited for.
func TestMonitorKilledAtBirth(t *testing.T) {
	place := frozen(t)
	go func() { // it stands still before its first instruction
		for t.Context().Err() == nil {
			b, _ := os.ReadFile(filepath.Join(place, "cgroup.procs"))
			if pid, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
				_ = unix.Kill(pid, unix.SIGKILL)
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	dir, err := os.Open(place)
	must(t, err)
	defer dir.Close()
	prog, err := runtime.Helper()
	must(t, err)
	defer prog.Close()
	s := newStand(t)
	ended := make(chan error, 1)
	go func() {
		_, err := start(prog, s.cfg, Place{Dir: dir})
		ended <- err
	}()
	select {
	case err := <-ended:
		if !fault.Is(err, fault.Unavailable) {
			t.Errorf("error %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("it waits")
	}
}

// A monitor that cannot begin says why once, and is dismissed at once.
func TestMonitorRefuses(t *testing.T) {
	s := newStand(t)
	s.cfg.Log.Path = filepath.Join(s.cfg.Dir, "none", "log")
	s.start()
	must(t, s.conn.Prepare())
	if err := s.conn.Settle(); !errors.Is(err, unix.ENOENT) {
		t.Errorf("error %v", err)
	}
	begin := time.Now()
	must(t, s.conn.Dismiss(-1))
	s.conn.Reap()
	if d := time.Since(begin); d > 20*time.Second {
		t.Errorf("its end took %v", d)
	}
}

// frozen makes a cgroup whose processes stand still.
func frozen(t *testing.T) string {
	t.Helper()
	for _, top := range []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup"} {
		dir := filepath.Join(top, "berth-test-frozen-"+itoa(os.Getpid()))
		if _, err := os.Stat(filepath.Join(top, "cgroup.controllers")); err != nil || os.Mkdir(dir, 0o755) != nil {
			continue
		}
		t.Cleanup(func() {
			for end := time.Now().Add(10 * time.Second); os.Remove(dir) != nil; time.Sleep(10 * time.Millisecond) {
				if time.Now().After(end) {
					t.Errorf("%s stays", dir)
					return
				}
			}
		})
		must(t, os.WriteFile(filepath.Join(dir, "cgroup.freeze"), []byte("1"), 0))
		return dir
	}
	t.Skip("needs root and cgroup v2")
	return ""
}

// The container of a killed monitor lives, its output waits, and a new monitor
// goes on with all of it.
func TestMonitorKilled(t *testing.T) {
	s := newStand(t)
	s.cfg.Stdin = true
	s.start()
	gate := fifo(t)
	s.first("echo one; read x < " + gate + "; seq 1 50000; read y; echo got $y; exit 6")
	eventually(t, "the first line is logged", func() bool { return strings.Contains(s.logText(), "one") })
	s.killMonitor()
	must(t, os.WriteFile(gate, []byte("\n"), 0)) // more output than the FIFO holds
	s.cfg.Lost = &Process{PID: s.pid, StartTime: startTimeOf(t, s.pid)}
	s.start()
	exit := s.watch(s.conn, "")
	in := s.attach(Want{Stdin: true})
	_, err := in.Stdin.WriteString("later\n")
	must(t, err)
	e := exit()
	if e.PID != s.pid || e.Lost && e.Code != 255 || !e.Lost && e.Code != 6 {
		t.Errorf("exit %+v", e)
	}
	if e.Lost {
		t.Log("the exit code was lost: init was quicker, and this kernel does not keep it")
	}
	if log := s.logText(); strings.Count(log, "\n") != 50002 || !strings.Contains(log, `"got later\n"`) {
		t.Errorf("%d lines, the end %s", strings.Count(log, "\n"), log[max(0, len(log)-200):])
	}
	b, err := os.ReadFile(filepath.Join(s.cfg.Dir, "exit.json"))
	if err != nil || !strings.Contains(string(b), `"pid":`+itoa(s.pid)) {
		t.Errorf("fact %s, %v", b, err)
	}
	s.monitorGone(s.conn.pid)
}

func TestTakesOverNoOther(t *testing.T) {
	s := newStand(t)
	s.start()
	s.first("exec sleep 1000")
	start := startTimeOf(t, s.pid)
	s.killMonitor()
	s.cfg.Lost = &Process{PID: s.pid, StartTime: start + 1}
	s.start()
	if _, err := s.conn.Status(); !errors.Is(err, unix.ESRCH) {
		t.Errorf("took over another process: %v", err)
	}
	s.conn.Close()
	s.monitorGone(s.conn.pid)
}

// The clone that is on its way when the monitor is killed ends too.
func TestKilledWhileCloning(t *testing.T) {
	s := newStand(t)
	s.start()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(pair[0])
	self, err := os.Open("/proc/self/exe")
	must(t, err)
	defer self.Close()
	pid, _, err := s.conn.Clone(attrOf(self, pair[1]))
	must(t, err)
	unix.Close(pair[1])
	fd, err := unix.PidfdOpen(pid, 0)
	must(t, err)
	defer unix.Close(fd)
	must(t, unix.Kill(s.conn.pid, unix.SIGKILL))
	eventually(t, "the child ends", func() bool {
		n, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 100)
		return n == 1
	})
}

// What wrote its log when it was killed leaves a line torn; the next one is
// whole all the same.
func TestTornLogLine(t *testing.T) {
	s := newStand(t)
	must(t, os.WriteFile(s.cfg.Log.Path, []byte(`{"log":"torn li`), 0o640))
	s.start()
	s.first("echo whole")
	s.monitorGone(s.conn.pid)
	lines := strings.Split(s.logText(), "\n")
	if len(lines) != 3 || lines[0] != `{"log":"torn li` || !strings.HasPrefix(lines[1], `{"log":"whole\n",`) {
		t.Errorf("log %q", lines)
	}
}

// A full run folder does not lose the exit fact, nor a full disk the container.
func TestFullRunFolder(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: mounts a small file system")
	}
	s := newStand(t)
	must(t, unix.Mount("tmpfs", s.cfg.Dir, "tmpfs", unix.MS_NOSUID, "size=64k,mode=700"))
	t.Cleanup(func() { _ = unix.Unmount(s.cfg.Dir, unix.MNT_DETACH) })
	s.cfg.Log.Path = filepath.Join(s.cfg.Dir, "log")
	s.start()
	gate := fifo(t)
	exit := s.watch(s.conn, "")
	s.first("read x < " + gate + "; seq 1 20000; exit 8")
	f, err := os.Create(filepath.Join(s.cfg.Dir, "ballast"))
	must(t, err)
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	must(t, f.Close())
	must(t, os.WriteFile(gate, []byte("\n"), 0))
	if e := exit(); e.Code != 8 || !e.Incomplete {
		t.Errorf("exit %+v", e)
	}
	b, err := os.ReadFile(filepath.Join(s.cfg.Dir, "exit.json"))
	if err != nil || !strings.Contains(string(b), `"code":8,`) || !strings.Contains(string(b), `"incomplete":true`) {
		t.Errorf("fact %q, %v", b, err)
	}
	if log := s.logText(); log != "" && !strings.HasSuffix(log, "\"}\n") {
		t.Errorf("the log ends torn: %q", log[max(0, len(log)-100):])
	}
	s.monitorGone(s.conn.pid)
}
