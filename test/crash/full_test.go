package crash

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestFull fills a file system to its last block or inode while pulls go on:
// images, rmi and prune work all the same, and then a pull does.
func TestFull(t *testing.T) {
	needRoot(t)
	for _, c := range []struct {
		name  string
		mount func(t *testing.T, dir string)
	}{
		{"blocks-tmpfs", func(t *testing.T, dir string) { mountTmpfs(t, dir, "size=6m,nr_inodes=5000") }},
		{"inodes-tmpfs", func(t *testing.T, dir string) { mountTmpfs(t, dir, "nr_inodes=420,size=64m") }},
		{"blocks-ext4", func(t *testing.T, dir string) { needLoop(t, dir, "10M", "-m", "0", "-O", "^has_journal") }},
		{"blocks-ext4-journal", func(t *testing.T, dir string) { needLoop(t, dir, "12M", "-m", "0") }},
		{"inodes-ext4", func(t *testing.T, dir string) { needLoop(t, dir, "32M", "-m", "0", "-N", "420") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			s, h := newStore(t, dir), newHub()
			defer h.close()
			if err := saved(s, h); err != nil {
				t.Fatal(err)
			}
			c.mount(t, dir)
			if err := full(s, h); err != nil {
				t.Error(err)
			}
		})
	}
}

func mountTmpfs(t *testing.T, dir, options string) {
	t.Helper()
	root := filepath.Join(dir, "root")
	if err := unix.Mount("tmpfs", root, "tmpfs", 0, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(root, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// full brings image 1, lets image 2 not fit, and cleans up with nothing free.
func full(s store, h *hub) error {
	if err := s.must("pull", "-q", h.app(1)); err != nil {
		return err
	}
	// Another name, so that rmi has something to leave.
	if err := s.must("tag", h.app(1), "kept:1"); err != nil {
		return err
	}
	root := filepath.Join(s.dir, "root")
	fill := func() {
		for k, size := 0, 1<<20; size > 0; k++ {
			if os.WriteFile(fmt.Sprintf("%s/lost+found-%d-%d", root, size, k), make([]byte, size), 0o600) != nil {
				size /= 4
			}
		}
		for k := 0; os.WriteFile(fmt.Sprintf("%s/lost+found-0-%d", root, k), nil, 0o600) == nil; k++ {
		}
	}
	fill()
	for _, words := range [][]string{{"pull", "-q", h.app(2)}, {"load", "-q", "-i", filepath.Join(s.dir, "both.tar")}, {"tag", h.app(1), "new:1"}} {
		r := s.do(words...)
		if r.code == 0 || r.code == -1 || strings.Count(strings.TrimSpace(r.errors), "\n") > 0 || !strings.Contains(r.errors, "no space left on device") {
			return fmt.Errorf("on a full disk: %s", r)
		}
		fill()
	}
	got, err := s.named()
	if err == nil {
		err = fits(got, nil, names{h.app(1): h.ids[0], "kept:1": h.ids[0]}, true)
	}
	if err = errors.Join(err, s.check(), s.must("rmi", "kept:1")); err != nil {
		return err
	}
	fill()
	if err := s.must("rmi", h.app(1)); err != nil {
		return err
	}
	if got, err := s.named(); err != nil || len(got) > 0 {
		return fmt.Errorf("after rmi: %v, %w", got, err)
	}
	fill()
	if err := s.must("image", "prune", "-a", "-f"); err != nil {
		return err
	}
	filled, _ := filepath.Glob(root + "/lost+found-*")
	for _, f := range filled {
		if err := os.Remove(f); err != nil {
			return err
		}
	}
	return errors.Join(s.emptied(false), s.check(), s.must("pull", "-q", h.app(2)), s.whole(h.app(2), ""), s.emptied(true))
}
