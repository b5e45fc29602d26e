package mount

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestSub: a path of a detached tree, on this kernel's way and on that of old ones.
func TestSub(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("root alone mounts")
	}
	for name, sub := range map[string]func(int, string) (int, error){
		"now": Sub,
		"before 6.15": func(tree int, path string) (int, error) {
			at, err := unix.Openat(tree, path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
			if err != nil {
				return -1, err
			}
			defer unix.Close(at)
			return subApart(tree, at)
		},
	} {
		tree, err := New("tmpfs", "tmpfs", nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, dir := range []string{"a", "a/b"} {
			if err := unix.Mkdirat(tree, dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := unix.Symlinkat("/etc", tree, "out"); err != nil {
			t.Fatal(err)
		}
		if _, err := Sub(tree, "out"); err != unix.EXDEV {
			t.Errorf("%s: a link out: %v", name, err)
		}
		if _, err := Sub(tree, "none"); err != unix.ENOENT {
			t.Errorf("%s: what is missing: %v", name, err)
		}
		fd, err := sub(tree, "a")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		unix.Close(tree)
		var st unix.Stat_t
		if err := unix.Fstatat(fd, "b", &st, 0); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		unix.Close(fd)
	}
}
