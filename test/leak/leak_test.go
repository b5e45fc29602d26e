package leak_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/test/bundle"
	"berth/test/leak"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The main goroutine keeps the main thread, so that inThread never changes
// that one: it cannot end, and /proc/self speaks of it.
func init() { runtime.LockOSThread() }

// leakers leave one thing of each kind behind. Each returns how to take it
// away again.
var leakers = []struct {
	kind leak.Kind
	want string // what the line must say
	leak func(t *testing.T, dir string) (undo func())
}{
	{leak.Process, "(sleep)", leakProcess},
	{leak.Process, "(sleep)", leakOrphan},
	{leak.Namespace, "uts:[", leakNamespace},
	{leak.Namespace, "mounted on", leakMountedNamespace},
	{leak.Namespace, "open in process", leakOpenNamespace},
	{leak.Mount, "tmpfs on", leakMount},
	{leak.Mount, " in mnt:[", leakForeignMount},
	{leak.Link, "bridge", leakLink},
	{leak.NFT, "table", leakTable},
	{leak.Cgroup, "/pids/", leakCgroup},
	{leak.Key, "keyring", leakKey},
	{leak.Loop, "/dev/loop", leakLoop},
	{leak.File, "left.json", leakFile},
	{leak.FD, "left.fd", leakFD},
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: makes one of each thing that can leak")
	}
}

// TestEachKind leaks one of each kind: it must be reported while it is
// there, and nothing must be reported once it is gone.
func TestEachKind(t *testing.T) {
	needRoot(t)
	for i, l := range leakers {
		t.Run(fmt.Sprintf("%d-%s", i, l.kind), func(t *testing.T) {
			dir := t.TempDir()
			cfg := leak.Config{Folders: []string{dir}, Names: []string{bundle.Prefix}}
			before, err := leak.Take(cfg)
			if err != nil {
				t.Fatal(err)
			}
			undo := l.leak(t, dir)
			lines, err := leak.Compare(cfg, before, 0)
			if err != nil {
				t.Error(err)
			}
			found := false
			for _, line := range lines {
				found = found || strings.HasPrefix(line, "left behind: "+string(l.kind)+" ") && strings.Contains(line, l.want)
			}
			if !found {
				t.Errorf("no line about a %s with %q in %q", l.kind, l.want, lines)
			}
			undo()
			lines, err = leak.Compare(cfg, before, leak.Settle)
			if err != nil || len(lines) != 0 {
				t.Errorf("after undoing it: %q, %v", lines, err)
			}
		})
	}
}

// start starts a program; the returned function ends and collects it.
func start(t *testing.T, flags uintptr, name string, args ...string) (*exec.Cmd, func()) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }
}

func leakProcess(t *testing.T, _ string) func() {
	_, stop := start(t, 0, "/bin/sleep", "50")
	return stop
}

// leakOrphan leaves a process whose parent is gone, with another session and
// an empty environment: only the subreaper gives it to us.
func leakOrphan(t *testing.T, dir string) func() {
	out, err := exec.Command("/bin/sh", "-c", "cd /; setsid env -i sleep 51 >/dev/null 2>&1 & echo $!").Output()
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(string(out), &pid); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	return func() { _ = unix.Kill(pid, unix.SIGKILL) } // the zombie is for reap
}

func leakNamespace(t *testing.T, _ string) func() {
	_, stop := start(t, unix.CLONE_NEWUTS, "/bin/sleep", "52")
	return stop
}

// inThread runs f in a thread that ends with it, so that it may change the
// thread's namespaces.
func inThread(t *testing.T, f func() error) {
	t.Helper()
	done := make(chan error)
	go func() { runtime.LockOSThread(); done <- f() }()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond) // the thread ends after its goroutine
}

func leakMountedNamespace(t *testing.T, dir string) func() {
	target := filepath.Join(dir, "ns")
	if err := os.WriteFile(target, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	inThread(t, func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		return unix.Mount("/proc/thread-self/ns/net", target, "", unix.MS_BIND, "")
	})
	return func() { _ = unix.Unmount(target, 0); _ = os.Remove(target) }
}

func leakOpenNamespace(t *testing.T, _ string) func() {
	var f *os.File
	inThread(t, func() (err error) {
		if err = unix.Unshare(unix.CLONE_NEWIPC); err == nil {
			f, err = os.Open("/proc/thread-self/ns/ipc")
		}
		return err
	})
	return func() { f.Close() }
}

func leakMount(t *testing.T, dir string) func() {
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	return func() { _ = unix.Unmount(dir, 0) }
}

func leakForeignMount(t *testing.T, _ string) func() {
	_, stop := start(t, unix.CLONE_NEWNS, "/bin/sleep", "53")
	return stop
}

func leakLink(t *testing.T, _ string) func() {
	l := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: bundle.Prefix + "br"}}
	if err := netlink.LinkAdd(l); err != nil {
		t.Skipf("needs a kernel with bridges: %v", err)
	}
	return func() { _ = netlink.LinkDel(l) }
}

func leakTable(t *testing.T, _ string) func() {
	c, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: bundle.Prefix + "t"})
	chain := c.AddChain(&nftables.Chain{Name: "c", Table: table})
	c.AddRule(&nftables.Rule{Table: table, Chain: chain})
	if err := c.Flush(); err != nil {
		t.Skipf("needs a kernel with nf_tables: %v", err)
	}
	return func() { c.DelTable(table); _ = c.Flush() }
}

func leakCgroup(t *testing.T, _ string) func() {
	path := "/sys/fs/cgroup/pids/" + bundle.Name("leak")
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Skipf("needs cgroup v1's pids hierarchy: %v", err)
	}
	return func() { _ = os.Remove(path) }
}

// leakKey joins a session keyring in a thread of a child that stays.
func leakKey(t *testing.T, _ string) func() {
	ring, err := unix.AddKey("keyring", bundle.Name("key"), nil, unix.KEY_SPEC_USER_KEYRING)
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if _, err := unix.KeyctlInt(unix.KEYCTL_UNLINK, ring, unix.KEY_SPEC_USER_KEYRING, 0, 0); err != nil {
			t.Error(err)
		}
	}
}

func leakLoop(t *testing.T, dir string) func() {
	path := filepath.Join(dir, "image")
	if err := os.WriteFile(path, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("losetup", "--find", "--show", path).CombinedOutput()
	if err != nil {
		t.Skipf("needs a kernel with loop devices: %v: %s", err, out)
	}
	dev := strings.TrimSpace(string(out))
	return func() { _ = exec.Command("losetup", "--detach", dev).Run(); _ = os.Remove(path) }
}

func leakFile(t *testing.T, dir string) func() {
	path := filepath.Join(dir, "left.json")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return func() { _ = os.Remove(path) }
}

func leakFD(t *testing.T, dir string) func() {
	path := filepath.Join(dir, "left.fd")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	return func() { f.Close(); _ = os.Remove(path) }
}

// TestMarker finds a process that is no descendant of the one that looks (the
// command; both are children of this test) by its environment.
func TestMarker(t *testing.T) {
	path, err := bundle.Build("test/leak/snapshot", "snapshot")
	if err != nil {
		t.Fatal(err)
	}
	look := func(token string) string {
		cmd := exec.Command(path)
		cmd.Env = []string{"BERTH_LEAK=" + token}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%v: %s", err, out)
		}
		return string(out)
	}
	cmd := exec.Command("/bin/sleep", "54")
	cmd.Env = []string{"BERTH_LEAK=0123456789abcdef"}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	name := fmt.Sprintf("%d (", cmd.Process.Pid)
	if out := look("0123456789abcdef"); !strings.Contains(out, name) {
		t.Errorf("process %d is not in %s", cmd.Process.Pid, out)
	}
	if out := look("fedcba9876543210"); strings.Contains(out, name) {
		t.Errorf("process %d has another marker but is in %s", cmd.Process.Pid, out)
	}
}

// TestOthers holds that what other people do at the same time is not
// reported: their processes, cgroups, files, links.
func TestOthers(t *testing.T) {
	needRoot(t)
	dir, other := t.TempDir(), t.TempDir()
	cfg := leak.Config{Folders: []string{dir}, Names: []string{bundle.Prefix}}
	before, err := leak.Take(cfg)
	if err != nil {
		t.Fatal(err)
	}
	cgroup := "/sys/fs/cgroup/pids/somebody-else"
	if err := os.Mkdir(cgroup, 0o755); err == nil {
		defer os.Remove(cgroup)
	}
	if err := unix.Mount("tmpfs", other, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Unmount(other, 0) }()
	if err := os.WriteFile(filepath.Join(other, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if lines, err := leak.Compare(cfg, before, 0); err != nil || len(lines) != 0 {
		t.Errorf("got %q, %v", lines, err)
	}
	strict := cfg
	strict.Strict = true
	first, err := leak.Take(strict)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := first[leak.Cgroup][cgroup]; !ok {
		t.Errorf("strict: %s is not listed", cgroup)
	}
	if len(first[leak.Process]) <= len(before[leak.Process]) {
		t.Errorf("strict: only %d processes", len(first[leak.Process]))
	}
}

// TestLost reports a mount that is gone.
func TestLost(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	undo := leakMount(t, dir)
	cfg := leak.Config{Folders: []string{dir}}
	before, err := leak.Take(cfg)
	if err != nil {
		t.Fatal(err)
	}
	undo()
	lines, err := leak.Compare(cfg, before, 0)
	if err != nil || len(lines) != 1 || !strings.HasPrefix(lines[0], "lost: mount tmpfs on ") {
		t.Errorf("got %q, %v", lines, err)
	}
}

// TestCommand runs the command before and after.
func TestCommand(t *testing.T) {
	path, err := bundle.Build("test/leak/snapshot", "snapshot")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	out, err := exec.Command(path, "-folder", dir).Output()
	if err != nil {
		t.Fatal(err)
	}
	before := filepath.Join(t.TempDir(), "before.json")
	if err := os.WriteFile(before, out, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(path, "-folder", dir, "-since", before).CombinedOutput(); err != nil {
		t.Errorf("nothing changed: %v: %s", err, out)
	}
	leakFile(t, dir)
	out, err = exec.Command(path, "-folder", dir, "-since", before).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "left.json") {
		t.Errorf("a file was left: %v: %s", err, out)
	}
}

// TestCheckAfterContainer is the use that everything else makes of it: a
// container that is run, entered and removed leaves nothing.
func TestCheckAfterContainer(t *testing.T) {
	needRoot(t)
	rt := bundle.Ours(t)
	b := bundle.New(t, bundle.Args("/probe", "sleep", "100"))
	leak.Check(t, rt.Root, b.Dir)
	id := rt.Start(b)
	rt.Must("exec", id, "/probe", "echo", "hi")
	rt.Must("delete", "--force", id)
}
