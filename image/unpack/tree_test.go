package unpack

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// tree is what a folder holds, one line for each name.
type tree map[string]string

// readTree describes all below root and root itself (as "."). Link counts and
// who is linked to whom are in it; access times are not, nor are folders' sizes.
func readTree(t testing.TB, root string) tree {
	t.Helper()
	out := tree{}
	first := map[uint64]string{}
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, path)
		out[name] = describe(t, path, name, first)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func describe(t testing.TB, path, name string, first map[uint64]string) string {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	line := fmt.Sprintf("%06o %d:%d", st.Mode, st.Uid, st.Gid)
	if !isWhiteout(&st) {
		line += fmt.Sprintf(" %d", st.Mtim.Nano())
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		line += fmt.Sprintf(" %q", b)
	case unix.S_IFLNK:
		text, err := os.Readlink(path)
		if err != nil {
			t.Fatal(err)
		}
		line += fmt.Sprintf(" -> %q", text)
	case unix.S_IFCHR, unix.S_IFBLK:
		line += fmt.Sprintf(" dev %d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR && st.Nlink > 1 {
		if at := first[st.Ino]; at != "" {
			line += " = " + at
		} else {
			first[st.Ino] = name
		}
	}
	for _, x := range readXattrs(t, path) {
		line += " " + x
	}
	return line
}

func readXattrs(t testing.TB, path string) (out []string) {
	t.Helper()
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, buf)
	if err != nil && err != unix.EOPNOTSUPP {
		t.Fatalf("%s: %v", path, err)
	}
	for name := range strings.SplitSeq(string(buf[:max(n, 0)]), "\x00") {
		if name == "" {
			continue
		}
		v := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(path, name, v)
		if err != nil {
			t.Fatalf("%s: %s: %v", path, name, err)
		}
		out = append(out, fmt.Sprintf("%s=%q", name, v[:n]))
	}
	sort.Strings(out)
	return out
}

func (a tree) diff(b tree) string {
	names := map[string]bool{}
	for n := range a {
		names[n] = true
	}
	for n := range b {
		names[n] = true
	}
	var out []string
	for n := range names {
		if a[n] != b[n] {
			out = append(out, fmt.Sprintf("%s\n\t- %s\n\t+ %s", n, a[n], b[n]))
		}
	}
	sort.Strings(out)
	return strings.Join(out, "\n")
}
