package snapshot

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestTreeLinks removes a tree full of links: what they point to stays.
func TestTreeLinks(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "outside")
	must(t, os.MkdirAll(out+"/sub", 0o755))
	must(t, os.WriteFile(out+"/file", []byte("x"), 0o644))
	tree := filepath.Join(dir, "trees", "tree")
	must(t, os.MkdirAll(tree+"/a/b", 0o755))
	must(t, os.Symlink(out, tree+"/to-folder"))
	must(t, os.Symlink("../../../outside", tree+"/a/up"))
	must(t, os.Symlink("loop", tree+"/a/loop"))
	must(t, os.Link(out+"/file", tree+"/a/b/hard"))
	must(t, unix.Mkfifo(tree+"/a/fifo", 0o600))
	must(t, os.WriteFile(tree+"/a/b/\xff\n-bad name", nil, 0))
	must(t, removeTree(filepath.Join(dir, "trees"), "tree"))
	vanished(t, tree)
	if _, err := os.Stat(out + "/sub"); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(out + "/file"); err != nil || string(data) != "x" {
		t.Fatalf("%q, %v", data, err)
	}
	// The tree itself being a link, only the link goes.
	must(t, os.Symlink(out, tree))
	must(t, removeTree(filepath.Join(dir, "trees"), "tree"))
	if _, err := os.Stat(out + "/sub"); err != nil {
		t.Fatal(err)
	}
	must(t, removeTree(filepath.Join(dir, "trees"), "never was"))
}

// TestTreeDeep removes folders deeper than descriptors and path lengths go.
func TestTreeDeep(t *testing.T) {
	dir := t.TempDir()
	deepen(t, dir, 5000)
	var old unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &old))
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 200, Max: old.Max}))
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &old)
	must(t, removeTree(dir, "tree"))
	if list, err := os.ReadDir(dir); err != nil || len(list) != 0 {
		t.Fatalf("%v, %v", list, err)
	}
}

// deepen makes a chain of folders with two files each.
func deepen(t *testing.T, dir string, depth int) {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(t, err)
	name := "tree"
	for range depth {
		must(t, unix.Mkdirat(fd, name, 0o755))
		next, err := unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		must(t, err)
		unix.Close(fd)
		fd, name = next, "sub"
		f, err := unix.Openat(fd, "file", unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
		must(t, err)
		unix.Close(f)
	}
	unix.Close(fd)
}

// TestTreeMount leaves a mount alone that somebody put into the tree.
func TestTreeMount(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: mounts")
	}
	dir := t.TempDir()
	must(t, os.MkdirAll(dir+"/tree/m", 0o755))
	cmd := exec.Command("unshare", "-m", os.Args[0], "-test.run=TestTreeMount$")
	if os.Getenv("SNAPSHOT_TEST_TREE") == "" {
		must(t, os.MkdirAll(dir+"/other", 0o755))
		must(t, os.WriteFile(dir+"/other/file", nil, 0o644))
		cmd.Env = append(os.Environ(), "SNAPSHOT_TEST_TREE="+dir)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if _, err := os.Stat(dir + "/other/file"); err != nil {
			t.Fatal(err)
		}
		return
	}
	dir = os.Getenv("SNAPSHOT_TEST_TREE")
	must(t, unix.Mount(dir+"/other", dir+"/tree/m", "", unix.MS_BIND, ""))
	if err := removeTree(dir, "tree"); err == nil {
		t.Fatal("a tree with a mount in it was removed")
	}
}

// TestTreeModes removes, as an ordinary user, folders that the user's own mode
// bits shut.
func TestTreeModes(t *testing.T) {
	if dir := os.Getenv("SNAPSHOT_TEST_MODES"); dir != "" {
		must(t, os.MkdirAll(dir+"/tree/a/b/c", 0o755))
		must(t, os.WriteFile(dir+"/tree/a/b/file", nil, 0))
		must(t, os.Mkdir(dir+"/tree/work", 0))
		deepen(t, dir+"/tree", maxDepth+3)
		must(t, os.Chmod(dir+"/tree/a/b/c", 0))
		must(t, os.Chmod(dir+"/tree/a/b", 0o500))
		must(t, os.Chmod(dir+"/tree/a", 0o400))
		must(t, removeTree(dir, "tree"))
		vanished(t, dir+"/tree")
		return
	}
	if os.Getuid() != 0 {
		t.Skip("needs root: becomes another user")
	}
	dir, err := os.MkdirTemp("", "berth-modes-")
	must(t, err)
	defer os.RemoveAll(dir)
	must(t, os.Chmod(dir, 0o777))
	cmd := asUser(t, dir, "-test.run=TestTreeModes$")
	cmd.Env = append(os.Environ(), "SNAPSHOT_TEST_MODES="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

const userID = 64871 // an ordinary user that no file knows

// asUser makes a command of this test program, copied to where the user can
// execute it.
func asUser(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	data, err := os.ReadFile("/proc/self/exe")
	must(t, err)
	program := filepath.Join(dir, "program")
	must(t, os.WriteFile(program, data, 0o755))
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: userID, Gid: userID}}
	return cmd
}

// TestTreeTwice removes one tree from two sides at once.
func TestTreeTwice(t *testing.T) {
	for range 5 {
		dir := t.TempDir()
		fill(t, dir+"/tree", 2000)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if err := removeTree(dir, "tree"); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		vanished(t, dir+"/tree")
	}
}

// fill makes about n files of 8 KiB, 20 in each folder.
func fill(t testing.TB, dir string, n int) {
	t.Helper()
	data := make([]byte, 8<<10)
	for i := range n / 20 {
		sub := fmt.Sprintf("%s/%d/%d", dir, i%40, i)
		must(t, os.MkdirAll(sub, 0o755))
		for j := range 20 {
			must(t, os.WriteFile(fmt.Sprintf("%s/%d", sub, j), data, 0o644))
		}
	}
}

// bare is the floor of a removal: the plainest program that does it.
func bare(t testing.TB, dir string) {
	t.Helper()
	f, err := os.Open(dir)
	must(t, err)
	list, err := f.ReadDir(-1)
	must(t, err)
	for _, e := range list {
		if e.IsDir() {
			bare(t, dir+"/"+e.Name())
		} else {
			must(t, unix.Unlinkat(int(f.Fd()), e.Name(), 0))
		}
	}
	f.Close()
	must(t, unix.Rmdir(dir))
}

// BenchmarkRemove removes a layer of 24,000 files, and such a tree by the
// plainest program, in turn.
func BenchmarkRemove(b *testing.B) {
	var ours, floor, oursCPU, floorCPU time.Duration
	o := open(b, b.TempDir(), LaterSync())
	for range b.N {
		f, err := o.PrepareLayer(b.Context(), "k")
		must(b, err)
		fill(b, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), 24000)
		f.Close()
		must(b, o.CommitLayer(b.Context(), Layer{Name: "c", Key: "k"}))
		other := b.TempDir() + "/tree"
		fill(b, other, 24000)
		must(b, o.syncFS())
		t, c := time.Now(), cpuTime()
		bare(b, other)
		floor, floorCPU = floor+time.Since(t), floorCPU+cpuTime()-c
		must(b, o.syncFS())
		t, c = time.Now(), cpuTime()
		must(b, o.Remove(b.Context(), "c"))
		ours, oursCPU = ours+time.Since(t), oursCPU+cpuTime()-c
	}
	b.ReportMetric(float64(ours.Milliseconds())/float64(b.N), "ms/removal")
	b.ReportMetric(float64(floor.Milliseconds())/float64(b.N), "ms/floor")
	b.ReportMetric(float64(ours)/float64(floor), "x-floor")
	b.ReportMetric(float64(oursCPU)/float64(floorCPU), "x-floor-cpu")
}

// BenchmarkWalk lists 1,000 snapshots.
func BenchmarkWalk(b *testing.B) {
	o := open(b, b.TempDir(), LaterSync())
	for i := range 1000 {
		layer(b, o, fmt.Sprintf("sha256:%064d", i), "")
	}
	b.ResetTimer()
	best, cpu := time.Hour, cpuTime()
	for range b.N {
		t := time.Now()
		if n := len(names(b, o)); n != 1000 {
			b.Fatal(n)
		}
		best = min(best, time.Since(t))
	}
	b.ReportMetric(float64(best.Microseconds())/1000, "ms-best")
	b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/1000/float64(b.N), "ms-cpu")
}

func cpuTime() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func vanished(t testing.TB, path string) {
	t.Helper()
	if _, err := os.Lstat(path); err == nil {
		t.Fatalf("%s is still there", path)
	}
}
