package selinux

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/sys/walk"
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

// Relabel labels a file, or a folder with all below it, for -v …:z and :Z. Error:
// Invalid for what is the system's.
func Relabel(file, label string) error {
	top, err := os.OpenFile(file, unix.O_PATH, 0)
	if err != nil {
		return fmt.Errorf("label it as %s: %w", label, err)
	}
	defer top.Close()
	system, err := walk.System(top)
	if err != nil {
		return fmt.Errorf("label %s: %w", file, err)
	}
	if system {
		return fault.New(fault.Invalid, "SELinux relabeling of %s is not allowed", file)
	}
	return relabel(top, label)
}

// RelabelOnce is Relabel for a folder of ours, unless it has the label, which it is
// given last.
func RelabelOnce(dir, label string) error {
	if labelled(dir, label) {
		return nil
	}
	top, err := os.OpenFile(dir, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return fmt.Errorf("label it as %s: %w", label, err)
	}
	defer top.Close()
	return relabel(top, label)
}

func relabel(top *os.File, label string) error {
	err := walk.Each(top, func(dir int, name string) error {
		path, get, put := fmt.Sprintf("/proc/self/fd/%d", dir), unix.Getxattr, unix.Setxattr
		if name != "" {
			path, get, put = path+"/"+name, unix.Lgetxattr, unix.Lsetxattr
		}
		if has, err := read(get, path); err == nil && has == label {
			return nil
		}
		if err := put(path, attribute, []byte(label), 0); err != unix.ENOTSUP { // which a file system without labels says
			return err
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("label the files of %s as %s: %w", top.Name(), label, err)
	}
	return nil
}

// labelled reports whether a file has the type and level of a label: whose it is says
// nothing.
func labelled(file, want string) bool {
	has, err := read(unix.Getxattr, file)
	if err == unix.ENOTSUP {
		return true
	}
	if err != nil {
		return false
	}
	a, err := parse(has)
	b, wrong := parse(want)
	return err == nil && wrong == nil && a.kind == b.kind && a.level == b.level
}

// read reads a file's label, by getxattr(2) or lgetxattr(2).
func read(get func(path, attr string, dest []byte) (int, error), path string) (string, error) {
	var text [4096]byte
	n, err := get(path, attribute, text[:])
	return strings.TrimRight(string(text[:max(n, 0)]), "\x00"), err
}
