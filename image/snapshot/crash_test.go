package snapshot

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/base/ids"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// As a child process the test program uses a store at random until it is
// killed. An error that no race explains ends it with status 1.
func TestMain(m *testing.M) {
	if dir := os.Getenv("SNAPSHOT_TEST_WORKER"); dir != "" {
		fmt.Fprintln(os.Stderr, work(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

const (
	workerKeys  = 6
	workerFiles = 30
)

// work does random verbs on few keys, so that workers meet.
func work(dir string) error {
	o, err := Open(dir, LaterSync())
	if err != nil {
		return err
	}
	ctx := context.Background()
	for {
		chain := func() string { return "c" + strconv.Itoa(rand.IntN(workerKeys)) }
		key := "k" + strconv.Itoa(rand.IntN(workerKeys))
		parent := ""
		if rand.IntN(2) == 0 {
			parent = chain()
		}
		switch rand.IntN(11) {
		case 0, 1, 2:
			err = pullLayer(ctx, o, chain(), parent)
		case 3:
			_, err = o.Prepare(ctx, key, parent)
		case 4:
			_, err = o.View(ctx, key, parent)
		case 5:
			_, err = o.Update(ctx, Info{Name: chain(), Labels: map[string]string{"a": key}}, "labels.a")
		case 6:
			err = o.Remove(ctx, chain())
		case 7:
			err = o.Remove(ctx, key)
		case 8:
			err = o.Cleanup(ctx)
		case 9:
			err = o.Commit(ctx, chain(), key)
		case 10:
			if err = o.Walk(ctx, func(context.Context, Info) error { return nil }); err == nil {
				_, err = o.Mounts(ctx, key)
			}
		}
		switch {
		case err == nil, errdefs.IsNotFound(err), errdefs.IsAlreadyExists(err), errdefs.IsFailedPrecondition(err), errdefs.IsInvalidArgument(err):
		default:
			return err
		}
	}
}

// pullLayer does what a pull does with one layer.
func pullLayer(ctx context.Context, o *Overlay, name, parent string) error {
	key := "pull-" + ids.Hex(4)
	f, err := o.PrepareLayer(ctx, key)
	if err != nil {
		return err
	}
	defer f.Close()
	for i := range workerFiles {
		dir := fmt.Sprintf("/proc/self/fd/%d/%d", f.Fd(), i%3)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(fmt.Sprintf("%s/%d", dir, i), []byte(key), 0o644); err != nil {
			return err
		}
	}
	err = o.CommitLayer(ctx, Layer{Name: name, Parent: parent, Key: key, Labels: map[string]string{"of": key}})
	if err != nil {
		if err := o.Remove(ctx, key); err != nil {
			return fmt.Errorf("drop our own: %w", err)
		}
	}
	return err
}

// TestKill kills processes that use a store at random points. What is there is
// right at any time, and after a Cleanup nothing else is there.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	o := open(t, dir, LaterSync())
	end := time.Now().Add(6 * time.Second)
	var wg sync.WaitGroup
	kills := 0
	var mu sync.Mutex
	for range 4 {
		wg.Go(func() {
			for time.Now().Before(end) {
				cmd := exec.Command("/proc/self/exe", "-test.run=^$")
				cmd.Env = append(os.Environ(), "SNAPSHOT_TEST_WORKER="+dir)
				var out strings.Builder
				cmd.Stderr = &out
				if err := cmd.Start(); err != nil {
					t.Error(err)
					return
				}
				time.Sleep(20*time.Millisecond + time.Duration(rand.IntN(150))*time.Millisecond)
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
				if out.Len() > 0 {
					t.Errorf("a worker failed: %s", out.String())
				}
				mu.Lock()
				kills++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	t.Logf("%d kills; %d snapshots, %d folders, %d in the trash, %d staged", kills, entries(t, o, recordsDir),
		entries(t, o, foldersDir), entries(t, o, trashDir), entries(t, o, stageDir))
	check(t, o, false)
	must(t, o.Cleanup(t.Context()))
	check(t, o, true)
	removeEverything(t, o)
}

// check holds what must be true of a store; tidy says that nothing half-made
// may be left.
func check(t *testing.T, o *Overlay, tidy bool) {
	t.Helper()
	all, err := o.readAll()
	must(t, err)
	folders, marks := map[string]bool{}, map[string]bool{}
	for _, e := range all {
		if e.err != nil {
			t.Fatal(e.err)
		}
		if folders[e.rec.ID] {
			t.Errorf("two snapshots have the folder %s", e.rec.ID)
		}
		folders[e.rec.ID] = true
		checkContent(t, o, e.rec)
		if e.rec.Parent == "" {
			continue
		}
		if _, err := o.parentOf(e.rec.Key, e.rec.Parent); err != nil {
			t.Error(err)
		}
		mark := hashOf(e.rec.Parent) + "/" + e.hash
		marks[mark] = true
		if _, err := os.Lstat(o.path(childrenDir, mark)); err != nil {
			t.Errorf("%s: %v", e.rec.Key, err)
		}
	}
	if !tidy {
		return
	}
	for dir, want := range map[string]int{trashDir: 0, stageDir: 0, foldersDir: len(folders)} {
		if n := entries(t, o, dir); n != want {
			t.Errorf("%d entries in %s, want %d", n, dir, want)
		}
	}
	parents, err := listNames(o.path(childrenDir))
	must(t, err)
	for _, p := range parents {
		children, err := listNames(o.path(childrenDir, p))
		must(t, err)
		for _, c := range children {
			if !marks[p+"/"+c] {
				t.Errorf("mark %s/%s has no child", p, c)
			}
		}
		if len(children) == 0 {
			t.Errorf("no marks in %s", p)
		}
	}
	unsynced, err := listNames(o.path(unsyncedDir))
	must(t, err)
	for _, hash := range unsynced {
		if _, err := o.loadHash(hash); err != nil {
			t.Errorf("unsynced: %v", err)
		}
	}
}

// checkContent holds that a committed layer is a whole one.
func checkContent(t *testing.T, o *Overlay, rec *record) {
	t.Helper()
	if _, err := os.Stat(o.upper(rec.ID)); err != nil {
		t.Errorf("%s: %v", rec.Key, err)
	}
	if rec.Kind != Committed || rec.Labels["of"] == "" {
		return
	}
	for i := range workerFiles {
		data, err := os.ReadFile(fmt.Sprintf("%s/%d/%d", o.upper(rec.ID), i%3, i))
		if err != nil || string(data) != rec.Labels["of"] {
			t.Errorf("%s (%s): file %d is %q, %v", rec.Key, rec.Labels["of"], i, data, err)
			return
		}
	}
}

// removeEverything removes children before parents and holds that nothing is
// left.
func removeEverything(t *testing.T, o *Overlay) {
	t.Helper()
	for range 2 * workerKeys {
		for _, key := range names(t, o) {
			if err := o.Remove(t.Context(), key); err != nil && !errdefs.IsFailedPrecondition(err) {
				t.Error(err)
			}
		}
	}
	must(t, o.Cleanup(t.Context()))
	for _, dir := range []string{recordsDir, foldersDir, childrenDir, unsyncedDir, stageDir, trashDir} {
		if n := entries(t, o, dir); n != 0 {
			t.Errorf("%d entries are left in %s", n, dir)
		}
	}
}

// TestKilledRemove is a kill while the tree is removed: the snapshot is gone and
// Cleanup frees the space.
func TestKilledRemove(t *testing.T) {
	o := open(t, t.TempDir(), LaterSync())
	layer(t, o, "one", "")
	rec, err := o.load("one")
	must(t, err)
	fill(t, o.upper(rec.ID)+"/x", 400)
	locks, err := o.lock("one")
	must(t, err)
	trash, err := o.removeLocked("one")
	locks.unlock()
	must(t, err)
	if trash == "" || len(names(t, o)) != 0 {
		t.Fatalf("trash %q, snapshots %q", trash, names(t, o))
	}
	must(t, o.Cleanup(t.Context()))
	check(t, o, true)
}

// TestFull fills a small file system: verbs fail with the kernel's error and
// leave nothing, and removal works.
func TestFull(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: mounts")
	}
	for name, option := range map[string]string{"bytes": "size=1m", "inodes": "size=64m,nr_inodes=160"} {
		t.Run(name, func(t *testing.T) { full(t, smallFS(t, option)) })
	}
}

func full(t *testing.T, dir string) {
	o := open(t, dir, LaterSync())
	ctx := t.Context()
	made := []string{}
	var err error
	for i := range 300 {
		name := fmt.Sprintf("c%d", i)
		if err = pullLayer(ctx, o, name, ""); err != nil {
			break
		}
		made = append(made, name)
	}
	if err == nil || !strings.Contains(err.Error(), unix.ENOSPC.Error()) {
		t.Fatalf("%d layers, then %v", len(made), err)
	}
	for i := range 20 { // the disk is full: whatever happens, it is no half snapshot
		_, _ = o.Prepare(ctx, fmt.Sprintf("box%d", i), made[0])
		_, _ = o.Update(ctx, Info{Name: made[0], Labels: map[string]string{"of": "x"}}, "labels.y")
	}
	check(t, o, false)
	must(t, o.Remove(ctx, made[len(made)-1]))
	must(t, o.Cleanup(ctx))
	for _, key := range names(t, o) {
		if strings.HasPrefix(key, "pull-") || strings.HasPrefix(key, "box") {
			must(t, o.Remove(ctx, key))
		}
	}
	must(t, o.Cleanup(ctx))
	check(t, o, true)
	if got := names(t, o); len(got) != len(made)-1 {
		t.Fatalf("there are %q", got)
	}
	must(t, pullLayer(ctx, o, "after", made[0]))
	removeEverything(t, o)
}

// smallFS is a tmpfs in no mount namespace.
func smallFS(t *testing.T, option string) string {
	t.Helper()
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	must(t, err)
	defer unix.Close(fs)
	for o := range strings.SplitSeq(option, ",") {
		k, v, _ := strings.Cut(o, "=")
		must(t, unix.FsconfigSetString(fs, k, v))
	}
	must(t, unix.FsconfigCreate(fs))
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	return fmt.Sprintf("/proc/self/fd/%d", fd)
}

// TestSuspects puts folders without a record beside one that is being made.
func TestSuspects(t *testing.T) {
	o := open(t, t.TempDir(), LaterSync())
	layer(t, o, "one", "")
	for _, id := range []string{"aaaaaa", "bbbbbb"} {
		must(t, os.MkdirAll(o.path(foldersDir, id, "fs", "x"), 0o755))
	}
	f, err := o.holdFolder("bbbbbb", false) // as if it were being made
	must(t, err)
	must(t, o.Cleanup(t.Context()))
	list, err := listNames(o.path(foldersDir))
	must(t, err)
	if len(list) != 2 || !slices.Contains(list, "bbbbbb") {
		t.Fatalf("folders %q", list)
	}
	f.Close()
	must(t, o.Cleanup(t.Context()))
	check(t, o, true)
}
