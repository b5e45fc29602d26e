package selinux

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"berth/base/fault"
)

const attribute = "security.selinux"

// Set labels one file; links are followed. A file system without labels is no error.
func Set(file, label string) error {
	err := unix.Setxattr(file, attribute, []byte(label), 0)
	if err != nil && err != unix.ENOTSUP {
		return fmt.Errorf("label %s as %s: %w", file, label, err)
	}
	return nil
}

// SetOnce is Set, unless it has the label.
func SetOnce(file, label string) error {
	if labelled(file, label) {
		return nil
	}
	return Set(file, label)
}

// kept are folders whose labels the system itself lives by.
var kept = []string{
	"/", "/bin", "/boot", "/dev", "/etc", "/etc/passwd", "/etc/pki", "/etc/shadow", "/home", "/lib", "/lib64", "/media", "/opt", "/proc", "/root",
	"/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/var", "/var/lib", "/var/log",
}

// Relabel labels a file, or a folder with all below it, for -v …:z and :Z. Links are
// followed on the way to it, never below it. Error: Invalid for what is the system's.
func Relabel(file, label string) error {
	fd, err := unix.Open(file, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("label %s: %w", file, err)
	}
	top := os.NewFile(uintptr(fd), file)
	defer top.Close()
	real, err := os.Readlink(at(top))
	if err != nil {
		return fmt.Errorf("label %s: %w", file, err)
	}
	if home, _ := os.UserHomeDir(); slices.Contains(kept, real) || real == home || path.Dir(real) == "/home" {
		return fault.New(fault.Invalid, "SELinux relabeling of %s is not allowed", file)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("label %s: %w", file, err)
	}
	if err := set(at(top), label); err != nil {
		return fmt.Errorf("label %s as %s: %w", file, label, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil
	}
	if err := below(top, label, 0); err != nil {
		return fmt.Errorf("label the files of %s as %s: %w", file, label, err)
	}
	return nil
}

// RelabelOnce is Relabel for a folder of ours, unless it has the label, which it is
// given last.
func RelabelOnce(dir, label string) error {
	if labelled(dir, label) {
		return nil
	}
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("label %s: %w", dir, err)
	}
	top := os.NewFile(uintptr(fd), dir)
	defer top.Close()
	if err = below(top, label, 0); err == nil {
		err = set(at(top), label)
	}
	if err != nil {
		return fmt.Errorf("label the files of %s as %s: %w", dir, label, err)
	}
	return nil
}

// labelled reports whether a file has the type and level of a label: whose it is says
// nothing.
func labelled(file, want string) bool {
	var has [4096]byte
	n, err := unix.Getxattr(file, attribute, has[:])
	if err == unix.ENOTSUP {
		return true
	}
	if err != nil {
		return false
	}
	a, err := parse(strings.TrimRight(string(has[:n]), "\x00"))
	b, wrong := parse(want)
	return err == nil && wrong == nil && a.kind == b.kind && a.level == b.level
}

// at is an open file's name among our descriptors.
func at(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }

// set labels what has another label; the last component may be a link among our
// descriptors, and is followed.
func set(name, label string) error {
	return write(name, label, unix.Getxattr, unix.Setxattr)
}

func write(name, label string, get func(string, string, []byte) (int, error), put func(string, string, []byte, int) error) error {
	var has [4096]byte
	if n, err := get(name, attribute, has[:]); err == nil && strings.TrimRight(string(has[:n]), "\x00") == label {
		return nil
	}
	err := put(name, attribute, []byte(label), 0)
	if err == unix.ENOTSUP || err == unix.ENOENT { // without labels; or gone meanwhile
		return nil
	}
	return err
}

const (
	maxDepth = 512 // open folders at once
	atOnce   = 1024
)

// below labels what is in a folder. A folder is opened before it is gone into, and a
// file is named by its folder's descriptor, so that who changes the tree meanwhile
// leads it nowhere else.
func below(dir *os.File, label string, depth int) error {
	if depth == maxDepth {
		return fault.New(fault.Invalid, "deeper than %d folders", maxDepth)
	}
	fd, err := unix.Openat(int(dir.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	list := os.NewFile(uintptr(fd), dir.Name())
	defer list.Close()
	for {
		entries, err := list.ReadDir(atOnce)
		for _, e := range entries {
			if err := one(list, e, label, depth); err != nil {
				return fmt.Errorf("%s: %w", e.Name(), err)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func one(dir *os.File, e os.DirEntry, label string, depth int) error {
	name := at(dir) + "/" + e.Name()
	if !e.IsDir() {
		return write(name, label, unix.Lgetxattr, unix.Lsetxattr)
	}
	fd, err := unix.Openat(int(dir.Fd()), e.Name(), unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT || err == unix.ENOTDIR {
		return nil // another one meanwhile
	}
	if err != nil {
		return err
	}
	next := os.NewFile(uintptr(fd), e.Name())
	defer next.Close()
	if err := set(at(next), label); err != nil {
		return err
	}
	return below(next, label, depth+1)
}
