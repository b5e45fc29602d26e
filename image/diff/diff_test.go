package diff

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/test/peer"
)

// tree makes a folder of files, all of one time; a name that ends in / is a folder.
func tree(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range files {
		path := filepath.Join(dir, f)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if f[len(f)-1] == '/' {
			if err := os.MkdirAll(path, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(path, []byte(f), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, time.Unix(1e9, 0), time.Unix(1e9, 0)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func whiteout(t *testing.T, path string) {
	t.Helper()
	if err := unix.Mknod(path, unix.S_IFCHR, 0); err != nil {
		t.Fatal(err)
	}
}

// A file of the same size and time whose capabilities alone are others.
func TestCapabilities(t *testing.T) {
	peer.NeedRoot(t)
	lower, upper := tree(t, "d/ping", "d/same"), tree(t, "d/ping", "d/same")
	value := []byte{1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	if err := unix.Setxattr(upper+"/d/ping", "security.capability", value, 0); err != nil {
		t.Fatal(err)
	}
	list, err := Changes(t.Context(), folder(t, upper), []*os.File{folder(t, lower)})
	if diff := cmp.Diff([]string{"C /d", "C /d/ping"}, told(t, list, err)); diff != "" {
		t.Error(diff)
	}
}

// What makes a folder opaque in a user's store means nothing in root's.
func TestOpaqueXattr(t *testing.T) {
	peer.NeedRoot(t)
	lower, upper := tree(t, "d/old", "d/both"), tree(t, "d/both")
	if err := unix.Setxattr(upper+"/d", "user.overlay.opaque", []byte("y"), 0); err != nil {
		t.Fatal(err)
	}
	up, low := folder(t, upper), []*os.File{folder(t, lower)}
	list, err := Changes(t.Context(), up, low)
	if diff := cmp.Diff([]string(nil), told(t, list, err)); diff != "" {
		t.Error(diff)
	}
	list, err = Rules{Opaque: "user.overlay.opaque"}.Changes(t.Context(), up, low)
	if diff := cmp.Diff([]string{"C /d", "D /d/old"}, told(t, list, err)); diff != "" {
		t.Error(diff)
	}
}

// Layers in the middle hide what is below them.
func TestManyLayers(t *testing.T) {
	peer.NeedRoot(t)
	l1, l2, l3 := tree(t, "a/x", "b/y", "c", "e/f"), tree(t, "c/in", "e/g"), tree(t, "a/x", "c/in2")
	whiteout(t, l2+"/a")
	whiteout(t, l2+"/b")
	whiteout(t, l2+"/e/f")
	whiteout(t, l3+"/b") // nothing is there any more
	whiteout(t, l3+"/e")
	files := func(dirs ...string) (out []*os.File) {
		for _, d := range dirs {
			out = append(out, folder(t, d))
		}
		return out
	}
	list, err := Changes(t.Context(), folder(t, l3), files(l2, l1))
	if diff := cmp.Diff([]string{"A /a", "A /a/x", "C /c", "A /c/in2", "D /e"}, told(t, list, err)); diff != "" {
		t.Error(diff)
	}
	list, err = Rules{}.Between(t.Context(), files(l1), files(l3, l2, l1))
	if diff := cmp.Diff([]string{"A /b", "A /b/y", "C /c", "A /e", "A /e/f"}, told(t, list, err)); diff != "" {
		t.Error(diff)
	}
	list, err = Rules{}.Between(t.Context(), files(l2, l1), files(l2, l1))
	if len(list) > 0 || err != nil {
		t.Errorf("the same tree: %v, %v", list, err)
	}
}

// A container exchanges a folder for a link to the host's while we look.
func TestRace(t *testing.T) {
	canary := tree(t, "secret")
	upper, lower := tree(t, "d/in"), tree(t, "d/in")
	if err := os.Symlink(canary, upper+"/l"); err != nil {
		t.Fatal(err)
	}
	var done atomic.Bool
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for !done.Load() {
			_ = unix.Renameat2(unix.AT_FDCWD, upper+"/d", unix.AT_FDCWD, upper+"/l", unix.RENAME_EXCHANGE)
		}
	}()
	defer func() { done.Store(true); <-ended }()
	up, low := folder(t, upper), []*os.File{folder(t, lower)}
	for _, rules := range []Rules{{}, {Podman: true}} {
		for range 1000 {
			list, err := rules.Changes(t.Context(), up, low)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range list {
				if filepath.Base(c.Path) == "secret" {
					t.Fatalf("it looked outside: %v", list)
				}
			}
		}
	}
}

func TestTrouble(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f := folder(t, tree(t, "a"))
	if _, err := Changes(ctx, f, nil); err != context.Canceled {
		t.Errorf("cancelled: %v", err)
	}
	w, err := Rules{}.walker(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w.left = 2
	roots, err := w.roots([]*os.File{folder(t, tree(t, "a", "b", "c"))})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.trees("", roots, nil); !fault.Is(err, fault.Invalid) {
		t.Errorf("too many files: %v", err)
	}
}

func BenchmarkChanges(b *testing.B) {
	lower, upper := b.TempDir(), b.TempDir()
	for i := range 10_000 {
		dir := fmt.Sprintf("/%d", i%100)
		for _, root := range []string{lower, upper} {
			if root == upper && i%100 > 10 {
				continue
			}
			os.MkdirAll(root+dir, 0o755)
			os.WriteFile(fmt.Sprint(root, dir, "/", i), nil, 0o644)
		}
	}
	up, _ := os.Open(upper)
	low, _ := os.Open(lower)
	for b.Loop() {
		if _, err := Changes(b.Context(), up, []*os.File{low}); err != nil {
			b.Fatal(err)
		}
	}
}
