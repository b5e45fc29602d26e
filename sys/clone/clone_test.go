package clone

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// seen is what a started program finds.
type seen struct {
	PID, UID int
	NS       map[string]string
	Cgroup   string
}

// TestMain lets the test binary be the program that is started: it reports on
// the socket named by its argument and waits for its end.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "clone-child" {
		n, _ := strconv.Atoi(os.Args[2])
		sock := os.NewFile(uintptr(n), "sock")
		s := seen{PID: os.Getpid(), UID: os.Getuid(), NS: map[string]string{}}
		for _, k := range []string{"mnt", "uts", "ipc", "net", "pid", "user", "cgroup", "time"} {
			s.NS[k], _ = os.Readlink("/proc/self/ns/" + k)
		}
		b, _ := os.ReadFile("/proc/self/cgroup")
		s.Cgroup = string(b)
		_ = json.NewEncoder(sock).Encode(s)
		_, _ = io.ReadAll(sock)
		os.Exit(7)
	}
	if len(os.Args) == 2 && os.Args[1] == "clone-parent" {
		orphaned()
	}
	os.Exit(m.Run())
}

// orphaned starts a child, tells its pid when it waits for the go order, and
// waits to be killed.
func orphaned() {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		panic(err)
	}
	pid, _, err := Start(&Attr{Program: 0, CgroupDir: -1, Argv: []string{"x"}, Sock: pair[1]})
	if err != nil {
		panic(err)
	}
	var head [FrameHeader]byte
	if n, err := unix.Read(pair[0], head[:]); err != nil || n != len(head) || head[0] != FrameReady {
		panic(fmt.Sprint(n, err, head))
	}
	fmt.Println(pid)
	select {}
}

// TestParentKilled: a child that waits for the go order does not outlive its
// parent, whose end of the socket it holds too.
func TestParentKilled(t *testing.T) {
	cmd := exec.Command("/proc/self/exe", "clone-parent")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	_, err = fmt.Fscan(out, &pid)
	_ = cmd.Process.Kill()
	if err != nil {
		t.Fatal(err)
	}
	child, err := unix.PidfdOpen(pid, 0)
	if err == unix.ESRCH {
		_ = cmd.Wait()
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(child)
	fds := []unix.PollFd{{Fd: int32(child), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, 5000)
	for err == unix.EINTR { // os/exec reaps the parent meanwhile: SIGCHLD
		n, err = unix.Poll(fds, 5000)
	}
	if n != 1 {
		_ = unix.PidfdSendSignal(child, unix.SIGKILL, nil, 0)
		t.Errorf("the child lives on: %v", err)
	}
	_ = cmd.Wait()
}

func needRoot(t testing.TB) {
	if os.Getuid() != 0 {
		t.Skip("needs root: makes namespaces of every kind")
	}
}

// run is a started program under test.
type run struct {
	pid    int
	sock   *os.File
	theirs int
	first  int // stage 1, to be reaped
	seen   seen
}

// launch starts the test binary with a's namespaces, writing an identity map
// when a user namespace is new.
func launch(t testing.TB, a Attr, tasks []int) (*run, error) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	a.Sock, a.Program = pair[1], int(self.Fd())
	a.Argv = []string{"x", "clone-child", strconv.Itoa(pair[1])}
	if a.CgroupDir == 0 {
		a.CgroupDir = -1
	}
	r := &run{sock: os.NewFile(uintptr(pair[0]), "sock"), theirs: pair[1]}
	var twoStage bool
	if r.pid, twoStage, err = Start(&a); err != nil {
		return nil, err
	}
	t.Cleanup(func() { r.end() })
	if err := r.ready(twoStage); err != nil {
		return nil, err
	}
	if a.New&unix.CLONE_NEWUSER != 0 {
		for _, f := range []string{"uid_map", "gid_map"} {
			if err := os.WriteFile(fmt.Sprintf("/proc/%d/%s", r.pid, f), []byte("0 100000 65536"), 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	timeNS := -1
	if a.New&unix.CLONE_NEWTIME != 0 {
		f, err := os.Open(fmt.Sprintf("/proc/%d/ns/time_for_children", r.pid))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		timeNS = int(f.Fd())
	}
	if err := Go(pair[0], tasks, timeNS); err != nil {
		t.Fatal(err)
	}
	dec := make([]byte, 64<<10)
	n, err := r.sock.Read(dec)
	if err != nil {
		t.Fatal(err)
	}
	if dec[0] == FrameFail {
		return nil, FailError(dec[FrameHeader:n])
	}
	unix.Close(r.theirs)
	r.theirs = -1
	if err := json.Unmarshal(dec[:n], &r.seen); err != nil {
		t.Fatalf("%v in %q", err, dec[:n])
	}
	return r, nil
}

func (r *run) ready(wantPID bool) error {
	for waiting := true; waiting || wantPID; {
		var head [FrameHeader]byte
		if _, err := io.ReadFull(r.sock, head[:]); err != nil {
			return err
		}
		payload := make([]byte, binary.NativeEndian.Uint32(head[4:]))
		if _, err := io.ReadFull(r.sock, payload); err != nil {
			return err
		}
		switch head[0] {
		case FramePID:
			r.first = r.pid
			r.pid = int(binary.NativeEndian.Uint32(payload))
			wantPID = false
		case FrameReady:
			waiting = false
		case FrameFail:
			return FailError(payload)
		}
	}
	return nil
}

// end lets the program exit and returns its exit code.
func (r *run) end() int {
	if r.pid == 0 {
		return -1
	}
	r.sock.Close()
	if r.theirs >= 0 {
		unix.Close(r.theirs)
	}
	var ws syscall.WaitStatus
	_, _ = syscall.Wait4(r.pid, &ws, 0, nil)
	if r.first > 0 {
		_, _ = syscall.Wait4(r.first, nil, 0, nil)
	}
	r.pid, r.first = 0, 0
	return ws.ExitStatus()
}

const allNew = unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC |
	unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWTIME

func TestNewNamespaces(t *testing.T) {
	needRoot(t)
	r, err := launch(t, Attr{New: allNew, BecomeRoot: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.seen.UID != 0 {
		t.Errorf("uid %d, want 0", r.seen.UID)
	}
	for kind, theirs := range r.seen.NS {
		ours, _ := os.Readlink("/proc/self/ns/" + kind)
		if ours == theirs || theirs == "" {
			t.Errorf("%s namespace %q is ours", kind, theirs)
		}
	}
	if code := r.end(); code != 7 {
		t.Errorf("exit code %d, want 7", code)
	}
}

// joinAll opens the namespaces of a process.
func joinAll(t testing.TB, pid int, kinds map[string]int) []Join {
	var list []Join
	for name, flag := range kinds {
		f, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		list = append(list, Join{int(f.Fd()), flag})
	}
	return list
}

var joinable = map[string]int{"user": unix.CLONE_NEWUSER, "pid": unix.CLONE_NEWPID, "mnt": unix.CLONE_NEWNS, "net": unix.CLONE_NEWNET,
	"ipc": unix.CLONE_NEWIPC, "uts": unix.CLONE_NEWUTS, "cgroup": unix.CLONE_NEWCGROUP, "time": unix.CLONE_NEWTIME}

func TestJoinNamespaces(t *testing.T) {
	needRoot(t)
	first, err := launch(t, Attr{New: allNew, BecomeRoot: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	second, err := launch(t, Attr{Join: joinAll(t, first.pid, joinable), BecomeRoot: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if second.seen.UID != 0 {
		t.Errorf("uid %d, want 0", second.seen.UID)
	}
	for kind, ns := range first.seen.NS {
		if second.seen.NS[kind] != ns && kind != "pid" {
			t.Errorf("%s namespace %s, want %s", kind, second.seen.NS[kind], ns)
		}
	}
}

// A network namespace of the host's user namespace together with a new user
// namespace needs the caller's rights before the clone.
func TestJoinHostOwnedWithNewUser(t *testing.T) {
	needRoot(t)
	first, err := launch(t, Attr{New: unix.CLONE_NEWNET}, nil)
	if err != nil {
		t.Fatal(err)
	}
	second, err := launch(t, Attr{Join: joinAll(t, first.pid, map[string]int{"net": unix.CLONE_NEWNET}),
		New: unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNS, BecomeRoot: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if second.seen.NS["net"] != first.seen.NS["net"] {
		t.Errorf("network namespace %s, want %s", second.seen.NS["net"], first.seen.NS["net"])
	}
}

func TestFailureNamesTheStage(t *testing.T) {
	needRoot(t)
	f, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, err = launch(t, Attr{Join: []Join{{int(f.Fd()), unix.CLONE_NEWNET}}}, nil)
	if !errors.Is(err, syscall.EINVAL) || err.Error() != "join a namespace: invalid argument" {
		t.Errorf("got %v", err)
	}
	if _, err := launch(t, Attr{New: unix.CLONE_NEWUTS, CgroupDir: 1 << 20}, nil); !errors.Is(err, syscall.EBADF) {
		t.Errorf("cgroup descriptor that is not open: got %v", err)
	}
}

// A v1 `tasks` file that is opened after the clone is entered.
func TestEntersTasks(t *testing.T) {
	needRoot(t)
	dir := fmt.Sprintf("/sys/fs/cgroup/pids/berth-clone-%d", os.Getpid())
	if _, err := os.Stat("/sys/fs/cgroup/pids/tasks"); err != nil {
		t.Skip("this host has no cgroup v1 hierarchy for pids")
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range 50 {
			if os.Remove(dir) == nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Errorf("%s stays", dir)
	})
	tasks, err := os.OpenFile(dir+"/tasks", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer tasks.Close()
	r, err := launch(t, Attr{New: unix.CLONE_NEWNS}, []int{int(tasks.Fd())})
	if err != nil {
		t.Fatal(err)
	}
	if want := "pids:/" + filepath.Base(dir); !strings.Contains(r.seen.Cgroup, want) {
		t.Errorf("cgroups %q lack %q", r.seen.Cgroup, want)
	}
	r.end()
}

// The child between clone and exec must survive whatever the Go runtime is
// about to do in the parent: collection, preemption, stack growth.
func TestJoinsUnderGCLoad(t *testing.T) {
	needRoot(t)
	first, err := launch(t, Attr{New: allNew, BecomeRoot: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	rounds := 60
	if os.Getenv("BERTH_SWEEP") == "1" {
		rounds = 1000
	}
	stop := make(chan struct{})
	defer close(stop)
	for range 2 {
		go func() {
			var keep [][]byte
			for {
				select {
				case <-stop:
					return
				default:
					if keep = append(keep, make([]byte, 1<<12)); len(keep) > 1000 {
						keep = nil
						runtime.GC()
					}
				}
			}
		}()
	}
	joins := joinAll(t, first.pid, joinable)
	for i := range rounds {
		r, err := launch(t, Attr{Join: joins, BecomeRoot: true}, nil)
		if err != nil {
			t.Fatalf("join %d: %v", i, err)
		}
		if code := r.end(); code != 7 {
			t.Fatalf("join %d: exit code %d", i, code)
		}
	}
}

func BenchmarkNewNamespaces(b *testing.B) {
	needRoot(b)
	for b.Loop() {
		r, err := launch(b, Attr{New: allNew, BecomeRoot: true}, nil)
		if err != nil {
			b.Fatal(err)
		}
		r.end()
	}
}
