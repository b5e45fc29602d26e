package monitor

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/base/fault"
)

func TestRunsAndRecordsTheExit(t *testing.T) {
	s := newStand(t)
	s.start()
	exit := s.watch(s.conn, "")
	s.first("echo out; echo err >&2; exit 3")
	e := exit()
	if e.Code != 3 || e.Signal != 0 || e.OOM || e.Lost || e.PID != s.pid {
		t.Errorf("exit %+v", e)
	}
	b, err := os.ReadFile(filepath.Join(s.cfg.Dir, "exit.json"))
	must(t, err)
	var fact struct {
		Version, PID, Code, Signal int
		OOM, Lost                  bool
		Time                       time.Time
	}
	must(t, json.Unmarshal(b, &fact))
	if fact.Version != 1 || fact.PID != s.pid || fact.Code != 3 || fact.Time.UnixNano() != e.Time {
		t.Errorf("fact %s", b)
	}
	log := s.logText()
	for _, want := range []string{`{"log":"out\n","stream":"stdout","time":"`, `{"log":"err\n","stream":"stderr","time":"`} {
		if !strings.Contains(log, want) {
			t.Errorf("log %q lacks %q", log, want)
		}
	}
	s.monitorGone(s.conn.pid)
	if _, err := os.Stat(filepath.Join(s.cfg.Dir, "monitor.sock")); !os.IsNotExist(err) {
		t.Errorf("the socket stays: %v", err)
	}
	if _, err := Dial(s.cfg.Dir); !fault.Is(err, fault.NotFound) {
		t.Errorf("dialled a monitor that is gone: %v", err)
	}
}

func TestSignalAndLateWatch(t *testing.T) {
	s := newStand(t)
	// What follows takes long enough for a late watcher.
	gate := fifo(t)
	s.cfg.Words.Exited = []string{"/bin/sh", "-c", "read x < " + gate}
	s.start()
	exit := s.watch(s.conn, "")
	s.first("kill -SEGV $$")
	if e := exit(); e.Code != 128+11 || e.Signal != 11 {
		t.Errorf("exit %+v", e)
	}
	if e := s.watch(s.dial(), "")(); e.Signal != 11 {
		t.Errorf("told late: %+v", e)
	}
	must(t, os.WriteFile(gate, []byte("\n"), 0))
	s.monitorGone(s.conn.pid)
}

func fifo(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "gate")
	must(t, unix.Mkfifo(path, 0o600))
	return path
}

// The monitor is nobody's: own session, own folder, no descriptor of ours, and
// no signal that ends a session or a service ends it.
func TestDetached(t *testing.T) {
	s := newStand(t)
	inherited, err := os.Open("/etc/passwd")
	must(t, err)
	defer inherited.Close()
	_, err = unix.FcntlInt(inherited.Fd(), unix.F_SETFD, 0) // a careless caller
	must(t, err)
	s.start()
	s.first("exec sleep 1000")
	st, err := s.conn.Status()
	must(t, err)
	pid := st.Monitor
	if sid, err := unix.Getsid(pid); err != nil || sid != pid {
		t.Errorf("session %d, %v", sid, err)
	}
	if cwd, err := os.Readlink("/proc/" + itoa(pid) + "/cwd"); err != nil || cwd != "/" {
		t.Errorf("folder %s, %v", cwd, err)
	}
	fds, err := os.ReadDir("/proc/" + itoa(pid) + "/fd")
	must(t, err)
	for _, fd := range fds {
		to, _ := os.Readlink("/proc/" + itoa(pid) + "/fd/" + fd.Name())
		if strings.Contains(to, "passwd") || (fd.Name() == "0" || fd.Name() == "1" || fd.Name() == "2") != (to == "/dev/null") {
			t.Errorf("descriptor %s is %s", fd.Name(), to)
		}
	}
	for _, sig := range []unix.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM} {
		must(t, unix.Kill(pid, sig))
	}
	if st, err := s.conn.Status(); err != nil || !st.Running || st.PID != s.pid {
		t.Errorf("after signals: %+v, %v", st, err)
	}
	// Nor does the program inherit that they were caught or ignored. The shell
	// before it catches some itself.
	eventually(t, "the program runs", func() bool {
		name, err := os.ReadFile("/proc/" + itoa(s.pid) + "/comm")
		return err == nil && string(name) == "sleep\n"
	})
	b, err := os.ReadFile("/proc/" + itoa(s.pid) + "/status")
	must(t, err)
	for _, field := range []string{"SigIgn", "SigCgt", "SigBlk"} {
		if !strings.Contains(string(b), field+":\t0000000000000000\n") {
			t.Errorf("the program's %s is not empty:\n%s", field, b)
		}
	}
	adj, err := os.ReadFile("/proc/" + itoa(s.pid) + "/oom_score_adj")
	must(t, err)
	if got := strings.TrimSpace(string(adj)); got != itoa(ownOOMScoreAdj()) {
		t.Errorf("oom_score_adj of the program %s", got)
	}
}

func TestOOMScoreAdj(t *testing.T) {
	s := newStand(t)
	s.cfg.OOMScoreAdj = 300
	s.start()
	s.first("exec sleep 1000")
	st, err := s.conn.Status()
	must(t, err)
	for pid, want := range map[int]int{st.Monitor: 300, s.pid: ownOOMScoreAdj()} {
		b, err := os.ReadFile("/proc/" + itoa(pid) + "/oom_score_adj")
		must(t, err)
		if got := strings.TrimSpace(string(b)); got != itoa(want) {
			t.Errorf("oom_score_adj of %d is %s, want %d", pid, got, want)
		}
	}
}

func TestAbandon(t *testing.T) {
	s := newStand(t)
	s.start()
	for _, two := range []bool{false, true} {
		new := 0
		if two {
			new = unix.CLONE_NEWPID
		}
		b, err := cloneShell(s.conn, "true", false, new)
		must(t, err)
		must(t, s.conn.Abandon(b.pid))
		if err := unix.Kill(b.pid, 0); !errors.Is(err, unix.ESRCH) {
			t.Errorf("the child is there: %v", err)
		}
		unix.Close(b.sock)
	}
	// With its connection goes what it did not adopt, and a monitor without work.
	b, err := cloneShell(s.conn, "true", false, 0)
	must(t, err)
	s.conn.Close()
	s.monitorGone(s.conn.pid)
	if err := unix.Kill(b.pid, 0); !errors.Is(err, unix.ESRCH) {
		t.Errorf("the child is there: %v", err)
	}
	unix.Close(b.sock)
}

func TestDismiss(t *testing.T) {
	s := newStand(t)
	ran := filepath.Join(s.cfg.Dir, "ran")
	s.cfg.Words.Exited = []string{"/bin/sh", "-c", "> " + ran}
	s.start()
	s.first("exec sleep 1000")
	must(t, s.conn.Dismiss(-1))
	s.monitorGone(s.conn.pid)
	if err := unix.Kill(s.pid, 0); !errors.Is(err, unix.ESRCH) {
		t.Errorf("the process is there: %v", err)
	}
	for _, path := range []string{ran, filepath.Join(s.cfg.Dir, "exit.json")} {
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// The word after an exit says "again", the next one starts the container through
// the same monitor, until the word says "end".
func TestRestarts(t *testing.T) {
	s := newStand(t)
	count := filepath.Join(s.cfg.Dir, "count")
	s.cfg.Words = Words{
		Exited: []string{"/bin/sh", "-c", "echo x >> " + count + "; echo note; test $(wc -l < " + count + ") -lt 3 && echo again 20 || echo end"},
		Again:  []string{os.Args[0], "engine", "restart", s.cfg.Dir},
		Env:    []string{"PATH=/usr/bin:/bin"},
	}
	s.start()
	s.first("echo first run")
	s.monitorGone(s.conn.pid)
	log := s.logText()
	if strings.Count(log, "first run") != 1 || strings.Count(log, "another run") != 2 {
		b, _ := os.ReadFile(filepath.Join(s.cfg.Dir, "monitor.err"))
		t.Errorf("log %s\n%s", log, b)
	}
}

// A watcher that promised to do what follows spares the word; one that dies
// does not.
func TestFollow(t *testing.T) {
	for _, dies := range []bool{false, true} {
		s := newStand(t)
		ran := filepath.Join(s.cfg.Dir, "ran")
		s.cfg.Words.Exited = []string{"/bin/sh", "-c", "> " + ran}
		s.start()
		w, err := s.conn.Watch("", true)
		must(t, err)
		s.first("exit 4")
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		e, err := w.Wait(ctx)
		must(t, err)
		if !e.Yours || e.Code != 4 {
			t.Errorf("exit %+v", e)
		}
		if !dies {
			must(t, w.Verdict(false, 0))
		}
		w.Close()
		s.monitorGone(s.conn.pid)
		if _, err := os.Stat(ran); (err == nil) != dies {
			t.Errorf("dies %v, the word: %v", dies, err)
		}
	}
}

// Words are not started from a path that others can write to.
func TestPinnedPath(t *testing.T) {
	s := newStand(t)
	prog := filepath.Join(s.cfg.Dir, "prog")
	b, err := os.ReadFile("/bin/sh")
	must(t, err)
	must(t, os.WriteFile(prog, b, 0o755))
	must(t, os.Chmod(prog, 0o777))
	ran := filepath.Join(s.cfg.Dir, "ran")
	s.cfg.Words.Exited = []string{prog, "-c", "> " + ran}
	s.start()
	s.first("true")
	s.monitorGone(s.conn.pid)
	if _, err := os.Stat(ran); !os.IsNotExist(err) {
		t.Errorf("it ran: %v", err)
	}
}

func TestHealthWord(t *testing.T) {
	s := newStand(t)
	count := filepath.Join(s.cfg.Dir, "count")
	s.cfg.Words.Health = []string{"/bin/sh", "-c", "echo x >> " + count + "; echo again 5"}
	s.cfg.Words.HealthAfter = 10 * time.Millisecond
	s.start()
	exit := s.watch(s.conn, "")
	s.first("while test $(wc -l < " + count + " 2>/dev/null || echo 0) -lt 3; do sleep 0.01; done")
	if e := exit(); e.Code != 0 {
		t.Errorf("exit %+v", e)
	}
	s.monitorGone(s.conn.pid)
}

// OOM kills are read from the cgroup's files, here stand-ins with both forms.
func TestOOMFact(t *testing.T) {
	for text, want := range map[string]bool{
		"low 0\nhigh 0\nmax 9\noom 3\noom_kill 1\noom_group_kill 0\n": true,
		"low 0\nhigh 0\nmax 9\noom 3\noom_kill 0\noom_group_kill 1\n": false,
		"oom_kill_disable 1\nunder_oom 0\noom_kill 2\n":               true,
		"oom_kill_disable 1\nunder_oom 1\noom_kill 0":                 false,
	} {
		s := newStand(t)
		path := filepath.Join(s.cfg.Dir, "memory.events")
		must(t, os.WriteFile(path, []byte(text), 0o600))
		s.start()
		exit := s.watch(s.conn, "")
		three, err := Stdio(&s.cfg, 0, 0)
		must(t, err)
		must(t, s.conn.Prepare())
		b, err := cloneShell(s.conn, "kill -9 $$", false, 0)
		must(t, err)
		must(t, s.conn.Spoken(b.pid))
		f, err := os.Open(path)
		must(t, err)
		must(t, s.conn.Adopt(b.pid, nil, f))
		f.Close()
		must(t, b.equip(three[:]...))
		if e := exit(); e.OOM != want || e.Code != 137 {
			t.Errorf("%q: %+v", text, e)
		}
	}
}

// A monitor is born in the cgroup that it is given, all its threads.
func TestPlace(t *testing.T) {
	const pids = "/sys/fs/cgroup/pids"
	if _, err := os.Stat(pids + "/tasks"); err != nil {
		t.Skip("this host has no cgroup v1 hierarchy for pids")
	}
	if os.Getuid() != 0 {
		t.Skip("needs root: makes a cgroup")
	}
	dir := pids + "/berth-monitor-" + itoa(os.Getpid())
	must(t, os.Mkdir(dir, 0o755))
	s := newStand(t)
	t.Cleanup(func() { eventually(t, "the cgroup goes", func() bool { return os.Remove(dir) == nil }) })
	tasks, err := os.OpenFile(dir+"/tasks", os.O_WRONLY, 0)
	must(t, err)
	defer tasks.Close()
	s.place.Tasks = []*os.File{tasks}
	s.start()
	if _, err := s.conn.Status(); err != nil {
		t.Fatal(err)
	}
	threads, err := os.ReadDir("/proc/" + itoa(s.conn.pid) + "/task")
	must(t, err)
	for _, th := range threads {
		b, err := os.ReadFile("/proc/" + itoa(s.conn.pid) + "/task/" + th.Name() + "/cgroup")
		must(t, err)
		if !strings.Contains(string(b), "pids:/berth-monitor-") {
			t.Errorf("thread %s is in %s", th.Name(), b)
		}
	}
	s.conn.Close()
	s.monitorGone(s.conn.pid)
}
