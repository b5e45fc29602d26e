package unpack

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/sys/confine"
)

func gnuTar(t testing.TB, dir string, args []string) []byte {
	t.Helper()
	cmd := exec.Command("/usr/bin/tar", append(append([]string{"-S"}, args...), "-C", dir, "-c", ".")...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	must(t, err)
	return out
}

// What /proc says of the processes: the rights that they have left.
func TestConfined(t *testing.T) {
	w := startWorker(t, Options{})
	reader, err := w.reader()
	must(t, err)
	t.Run("maker", func(t *testing.T) { isConfined(t, w.PID(), confine.FileCaps) })
	t.Run("reader", func(t *testing.T) { isConfined(t, reader.cmd.Process.Pid, 0) })
}

func isConfined(t *testing.T, pid int, caps uint64) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(t, err)
	for _, want := range []string{"NoNewPrivs:\t1", "Seccomp:\t2", fmt.Sprintf("CapEff:\t%016x", caps), fmt.Sprintf("CapPrm:\t%016x", caps), "CapInh:\t0000000000000000"} {
		if !strings.Contains(string(b), want+"\n") {
			t.Errorf("no line %q in\n%s", want, b)
		}
	}
	for _, ns := range []string{"user", "mnt", "net", "pid", "ipc", "uts"} {
		ours, err := os.Readlink("/proc/self/ns/" + ns)
		must(t, err)
		if theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, ns)); err == nil && ours == theirs {
			t.Errorf("the worker shares the %s namespace", ns)
		}
	}
	if !isRoot() {
		return // nobody may look into its root
	}
	root := fmt.Sprintf("/proc/%d/root", pid)
	if names, err := os.ReadDir(root); err != nil || len(names) > 0 {
		t.Errorf("the worker's root has %v, %v", names, err)
	}
	mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
	must(t, err)
	if n := bytes.Count(mounts, []byte("\n")); n != 1 || !bytes.Contains(mounts, []byte("ro,nosuid,nodev,noexec")) {
		t.Errorf("the worker's mounts:\n%s", mounts)
	}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	must(t, err)
	for _, fd := range fds {
		to, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, fd.Name()))
		if strings.HasPrefix(to, "/") && to != "/dev/null" && !strings.HasPrefix(to, "/sys/fs/cgroup") && !strings.HasPrefix(to, "/cpu") { // Go's runtime looks at its quota
			t.Errorf("the worker has %s open", to)
		}
	}
}

// gone waits for a process to end; a zombie has ended.
func gone(pid int) bool {
	for range 200 {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(b), ") Z ") {
			return true
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}

// endless is a layer without an end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	time.Sleep(time.Millisecond)
	clear(p)
	return len(p), nil
}

func endlessLayer() io.Reader {
	b := make([]byte, 512)
	copy(b, "big")
	copy(b[100:], "0000644\x000000000\x000000000\x00\x80\x00\x00\x00\x00\x00\x00\x10\x00\x00\x00\x0000000000000\x00") // 64 GiB
	b[156] = '0'
	copy(b[257:], "ustar\x0000")
	fixChecksum(b)
	return io.MultiReader(bytes.NewReader(b), endless{})
}

func TestKilledWorker(t *testing.T) {
	w := startWorker(t, Options{})
	pid := w.PID()
	time.AfterFunc(100*time.Millisecond, func() { unix.Kill(pid, unix.SIGKILL) })
	_, err := w.Layer(context.Background(), Job{Dir: layerDir(t), Source: endlessLayer()})
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "killed") {
		t.Errorf("%v, kind %v", err, fault.KindOf(err))
	}
	mustUnpack(t, w, makeTar(t, file("f", "x"))) // another layer has another process
	reader, err := w.reader()
	must(t, err)
	time.AfterFunc(100*time.Millisecond, func() { unix.Kill(reader.cmd.Process.Pid, unix.SIGKILL) })
	r, p := io.Pipe()
	defer p.Close()
	go p.Write(compress(t, Gzip, makeTar(t, file("f", "x")))[:50])
	_, err = w.Layer(context.Background(), Job{Dir: layerDir(t), Source: r})
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "killed") {
		t.Errorf("%v, kind %v", err, fault.KindOf(err))
	}
	w.Close()
	if !gone(pid) || !gone(reader.cmd.Process.Pid) {
		t.Error("the worker is still there")
	}
}

// dyingRole is a worker that ends before it says anything.
const dyingRole = "dying"

// One that ends as it starts is not waited for.
func TestEndedAtStart(t *testing.T) {
	w := &Worker{}
	var err error
	w.uids, w.gids, err = w.maps()
	must(t, err)
	begin := time.Now()
	_, err = startProcess(context.Background(), dyingRole, w.uids, w.gids)
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "exit status 9") {
		t.Errorf("%v, kind %v", err, fault.KindOf(err))
	}
	if took := time.Since(begin); took > startPatience/2 {
		t.Errorf("it took %v", took)
	}
}

// Close ends layers that are under way.
func TestClose(t *testing.T) {
	w := startWorker(t, Options{})
	pid := w.PID()
	time.AfterFunc(100*time.Millisecond, func() { w.Close() })
	if _, err := w.Layer(context.Background(), Job{Dir: layerDir(t), Source: endlessLayer()}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("%v", err)
	}
	if !gone(pid) {
		t.Error("the worker is still there")
	}
}

// The worker does not outlive a caller that is killed in the middle of a layer.
func TestKilledParent(t *testing.T) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "UNPACK_TEST_CHILD=endless", "UNPACK_TEST_DIR="+layerDir(t).Name())
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	var worker int
	if _, err := fmt.Fscan(out, &worker); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	if err := unix.Kill(worker, 0); err != nil {
		t.Fatalf("the worker %d: %v", worker, err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	if !gone(worker) {
		t.Error("the worker outlived its caller")
	}
}

// A bomb in a worker of little memory is an error, not the end of the worker.
func TestLittleMemory(t *testing.T) {
	if isRoot() && inUserns() {
		t.Skip("needs root: of the host")
	}
	w := startWorker(t, Options{})
	_, err := w.reader()
	must(t, err)
	little := func() {
		if w.spare == nil {
			w.spare, err = w.start(context.Background(), makerRole)
			must(t, err)
		}
		for _, pid := range w.pids() {
			must(t, unix.Prlimit(pid, unix.RLIMIT_DATA, &unix.Rlimit{Cur: 160 << 20, Max: 160 << 20}, nil))
		}
	}
	bomb := compress(t, Gzip, makeTar(t, manyFiles(20_000)...))
	for _, src := range []struct {
		name   string
		b      []byte
		limits Limits
		fails  bool
	}{
		{"zeros", compress(t, Zstd, makeTar(t, file("z", strings.Repeat("\x00", 64<<20)))), Limits{RatioFloor: 1 << 20}, true},
		{"zstd window of 1 GiB", append([]byte("\x28\xb5\x2f\xfd\x00\xa0"), make([]byte, 100)...), Limits{}, true},
		{"entries", bomb, Limits{Entries: 1000}, true},
		{"entries that are allowed", bomb, Limits{}, false},
	} {
		little()
		_, err := w.Layer(context.Background(), Job{Dir: layerDir(t), Source: bytes.NewReader(src.b), Limits: src.limits})
		if (err != nil) != src.fails || fault.Is(err, fault.Unavailable) {
			t.Errorf("%s: %v", src.name, err)
		}
	}
	t.Logf("the worker took %d KiB at most", peak(t, w))
}

// peak is the most memory that a process of a worker ever had, in KiB.
func peak(t testing.TB, w *Worker) int {
	t.Helper()
	var gone unix.Rusage
	must(t, unix.Getrusage(unix.RUSAGE_CHILDREN, &gone))
	most := int(gone.Maxrss)
	for _, pid := range w.pids() {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		must(t, err)
		_, after, _ := strings.Cut(string(b), "VmHWM:")
		kib := 0
		_, err = fmt.Sscan(after, &kib)
		must(t, err)
		most = max(most, kib)
	}
	return most
}

func init() {
	children["endless"] = func() int {
		w, err := Start(context.Background(), Options{})
		if err != nil {
			fmt.Println(err)
			return 1
		}
		fmt.Println(w.PID())
		d, _ := os.Open(os.Getenv("UNPACK_TEST_DIR"))
		_, err = w.Layer(context.Background(), Job{Dir: d, Source: endlessLayer()})
		fmt.Println(err)
		return 1
	}
}

func init() {
	children["starting"] = func() int {
		w := &Worker{opts: usual(), all: map[*process]bool{}}
		var err error
		if w.uids, w.gids, err = w.maps(); err != nil {
			return 1
		}
		for range 4 {
			go func() {
				for {
					if p, err := w.start(context.Background(), makerRole); err == nil {
						p.kill()
					}
				}
			}()
		}
		select {}
	}
}

// A caller that is killed while it starts processes leaves none that waits for
// it and keeps all that it had open and locked. Two that wait for their ids at
// once could, as each may have the other's pipe: so there is only ever one.
func TestKilledWhileStarting(t *testing.T) {
	cmd := exec.Command("/proc/self/exe")
	mark := fmt.Sprintf("UNPACK_TEST_MARK=%d", os.Getpid())
	cmd.Env = append(os.Environ(), "UNPACK_TEST_CHILD=starting", mark)
	must(t, cmd.Start())
	defer cmd.Wait()
	defer cmd.Process.Kill()
	found := 0
	for i := range 200 {
		time.Sleep(time.Duration(i%20) * time.Millisecond)
		must(t, cmd.Process.Signal(unix.SIGSTOP))
		time.Sleep(3 * time.Millisecond) // who does not wait goes on
		pids := withMark(mark)
		pids = slices.DeleteFunc(pids, func(pid int) bool { return pid == cmd.Process.Pid })
		if found += len(pids); len(pids) > 1 {
			for _, pid := range pids {
				defer unix.Kill(pid, unix.SIGKILL)
			}
			t.Fatalf("%d processes wait for their ids at once", len(pids))
		}
		must(t, cmd.Process.Signal(unix.SIGCONT))
	}
	if found == 0 {
		t.Error("no process was seen that waits for its ids: this test sees nothing")
	}
}

// withMark are the processes that have a variable, which our own do not keep.
func withMark(mark string) (pids []int) {
	all, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, f := range all {
		if env, err := os.ReadFile(f); err == nil && bytes.Contains(env, []byte(mark+"\x00")) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
			pids = append(pids, pid)
		}
	}
	return pids
}

// TestAsUser and TestAsRange run the other tests again as somebody else.
func TestAsUser(t *testing.T) {
	needRoot(t)
	if inUserns() {
		t.Skip("needs root: of the host")
	}
	again(t, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65533, Gid: 65533}}, 65533)
}

// A root of a user namespace with 65,536 ids, as in a rootless engine.
func TestAsRange(t *testing.T) {
	needRoot(t)
	if inUserns() {
		t.Skip("needs root: of the host")
	}
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 300_000, Size: 65536}}
	again(t, &syscall.SysProcAttr{Credential: &syscall.Credential{}, Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS, UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true}, 300_000)
}

func again(t *testing.T, attr *syscall.SysProcAttr, owner int) {
	t.Helper()
	tmp, err := os.MkdirTemp("", "unpack-again-")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(tmp) })
	must(t, os.Chown(tmp, owner, owner))
	cmd := exec.Command("/proc/self/exe", "-test.run", "Test(Attacks|ErrorsHaveKinds|Model|Compressions|Sources|Limits|Together|Cancel|Parents|Sparse|Confined|KilledWorker|KilledParent|Close|Owners)$", "-rapid.checks", "30", "-rapid.nofailfile")
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	must(t, os.CopyFS(filepath.Join(tmp, "testdata"), os.DirFS("testdata")))
	cmd.Dir = tmp
	cmd.SysProcAttr = attr
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// Owners that the worker has no id for are kept or refused, never changed.
func TestOwners(t *testing.T) {
	w := startWorker(t, usual())
	e := file("f", "x")
	e.Uid, e.Gid = 100_000, 5
	d, _, err := unpackTar(t, w, makeTar(t, e))
	switch {
	case isRoot() && inUserns():
		if err == nil || !strings.Contains(err.Error(), "subordinate") {
			t.Errorf("%v", err)
		}
	case isRoot():
		if st := stat(t, d, "f"); err != nil || st.Uid != 100_000 || st.Gid != 5 {
			t.Errorf("%v %+v", err, st)
		}
	default:
		if got := readXattrs(t, filepath.Join(d.Name(), "f")); err != nil || len(got) != 1 || got[0] != `user.containers.override_stat="100000:5:0644:file"` {
			t.Errorf("%v %q", err, got)
		}
	}
	if w.OneID() == isRoot() {
		t.Errorf("OneID %v", w.OneID())
	}
}
