package walk

import (
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

func open(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, unix.O_PATH, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func made(t *testing.T, folders []string, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range folders {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(dir, f), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// nodes lists what Each gives, by inode.
func nodes(t *testing.T, top *os.File) (inodes []uint64) {
	t.Helper()
	err := Each(top, func(dir int, name string) error {
		var st unix.Stat_t
		err := unix.Fstatat(dir, name, &st, unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW)
		inodes = append(inodes, st.Ino)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return inodes
}

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

func TestEach(t *testing.T) {
	dir := made(t, []string{"tree/a/b", "outside"}, "tree/f", "tree/a/b/g", "outside/h")
	if err := os.Symlink("../outside", dir+"/tree/link"); err != nil {
		t.Fatal(err)
	}
	var want []uint64
	for _, in := range []string{"", "a", "a/b", "f", "a/b/g", "link"} {
		want = append(want, inode(t, filepath.Join(dir, "tree", in)))
	}
	got := nodes(t, open(t, dir+"/tree"))
	if len(got) == 0 || got[len(got)-1] != want[0] {
		t.Error("the folder itself is not the last")
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%v, not %v", got, want)
	}
	if got := nodes(t, open(t, dir+"/tree/f")); len(got) != 1 || got[0] != inode(t, dir+"/tree/f") {
		t.Errorf("a file: %v", got)
	}
}

// TestEachRaced exchanges a folder for a link to another while it is walked.
func TestEachRaced(t *testing.T) {
	dir := made(t, []string{"tree/a", "outside"}, "tree/a/f", "outside/secret")
	if err := os.Symlink("../outside", dir+"/tree/b"); err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for !stop.Load() {
			_ = unix.Renameat2(unix.AT_FDCWD, dir+"/tree/a", unix.AT_FDCWD, dir+"/tree/b", unix.RENAME_EXCHANGE)
		}
	}()
	secret, top := inode(t, dir+"/outside/secret"), open(t, dir+"/tree")
	for range 3000 {
		if slices.Contains(nodes(t, top), secret) {
			t.Error("it was led out of the tree")
			break
		}
	}
	stop.Store(true)
	<-ended
}

func TestSystem(t *testing.T) {
	dir := made(t, []string{"mine"})
	if err := os.Symlink("/etc", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{"/": true, "/etc": true, "/usr": true, dir + "/link": true, dir + "/mine": false, "/etc/alternatives": false} {
		if got, err := System(open(t, path)); err != nil || got != want {
			t.Errorf("%s: %v, %v", path, got, err)
		}
	}
}
