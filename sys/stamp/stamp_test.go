package stamp_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/base/atomicfile"
	"berth/sys/stamp"
)

// A file that is replaced after it was looked at and settled has another stamp,
// however quickly.
func TestStamp(t *testing.T) {
	dir := t.TempDir()
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	path := filepath.Join(dir, "f")
	look := func() stamp.Stamp {
		s, err := stamp.At(int(d.Fd()), "f")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	write := func() {
		if err := atomicfile.Write(path, []byte("same size"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write()
	if s := look(); s.Settled(time.Unix(0, s.Ctime).Add(stamp.Tick - 1)) {
		t.Errorf("%+v counts at once", s)
	}
	for range 50 {
		s, now := look(), time.Now()
		for !s.Settled(now) {
			s, now = look(), time.Now()
		}
		for range 5 { // so that inodes come back
			write()
		}
		if look() == s {
			t.Fatalf("a new file has the old one's stamp: %+v", s)
		}
	}
	if err := os.Symlink("f", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if l, err := stamp.At(int(d.Fd()), "link"); err != nil || l == look() {
		t.Errorf("a link is what it leads to: %+v, %v", l, err)
	}
	if _, err := stamp.At(int(d.Fd()), "none"); err != unix.ENOENT {
		t.Errorf("a missing file: %v", err)
	}
	whole := stamp.Stamp{Inode: 1, Ctime: 5e9, Size: 1}
	if whole.Settled(time.Unix(6, 0)) || !whole.Settled(time.Unix(7, 0)) {
		t.Error("on a file system that counts seconds, less than two are enough, or two are not")
	}
}
