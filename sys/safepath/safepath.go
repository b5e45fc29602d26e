// Package safepath opens and creates files below a directory that somebody
// else may be changing at the same time: a container's root, a volume, an image.
// Nothing it does can touch a file outside, whatever symbolic links or renames
// the other side makes (security classes V5 and V6).
//
// It works on descriptors only: openat2(2) with RESOLVE_IN_ROOT, so that the
// kernel treats the directory as "/" for absolute links and "..", and
// RESOLVE_NO_MAGICLINKS, so that links of procfs do not lead out. What is
// missing is made one component at a time relative to an open directory.
// Callers keep the descriptor that they got and never look the same path up
// again.
//
// It has no policy, and links nothing that would slow the start of the helper
// that uses it. Row 1.
package safepath

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// maxLinks is how many links to missing files are followed, as in the
	// kernel's own lookups (path_resolution(7)).
	maxLinks = 40
	// maxComponents ends absurd paths; PATH_MAX allows no more.
	maxComponents = unix.PathMax / 2
	// maxRetries bounds EAGAIN, which openat2(2) gives when a rename raced with
	// a scoped lookup. Each try is a microsecond; an attacker who renames in a
	// loop may win some of them but cannot win all.
	maxRetries = 4096
)

// ErrNoName says that a path ends in "/", "." or "..", where a file was wanted.
var ErrNoName = errors.New("path names no file")

// OpenInRoot opens path as if root were "/": openat2(2) with RESOLVE_IN_ROOT and
// RESOLVE_NO_MAGICLINKS. flags are those of open(2); O_CLOEXEC and O_NOCTTY are
// always added.
func OpenInRoot(root int, path string, flags int) (int, error) {
	if path == "" {
		path = "."
	}
	return open(root, path, flags, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_MAGICLINKS)
}

// OpenInRootNoLinks is OpenInRoot that follows no symbolic link at all, also
// not in the middle: ELOOP.
func OpenInRootNoLinks(root int, path string, flags int) (int, error) {
	return open(root, path, flags, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_MAGICLINKS)
}

// OpenBeneath opens path relative to dir and fails with EXDEV where a link or
// ".." would leave it. Magic links are refused.
func OpenBeneath(dir int, path string, flags int) (int, error) {
	return open(dir, strings.TrimLeft(path, "/"), flags, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_MAGICLINKS)
}

func open(dir int, path string, flags int, resolve uint64) (int, error) {
	if !guardSafepath {
		return openUnguarded(dir, path, flags)
	}
	how := unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC | unix.O_NOCTTY), Resolve: resolve}
	if flags&unix.O_PATH != 0 {
		// openat2 refuses flags that mean nothing together.
		how.Flags &^= unix.O_NOCTTY
	}
	for try := 0; ; try++ {
		fd, err := unix.Openat2(dir, path, &how)
		if (err == unix.EAGAIN || err == unix.EINTR) && try < maxRetries {
			continue
		}
		return fd, err
	}
}

// openUnguarded is what a careless engine does: it prefixes the path and lets
// the kernel follow links out of the root.
func openUnguarded(dir int, path string, flags int) (int, error) {
	path = strings.TrimLeft(path, "/")
	if path == "" {
		path = "."
	}
	return unix.Openat(dir, path, flags|unix.O_CLOEXEC, 0)
}

// MkdirAllInRoot makes the directory path and its missing parents with mode,
// and returns an O_PATH descriptor of it. Links are followed inside root, also
// those to files that do not exist yet. ENOTDIR if something else is in the way.
func MkdirAllInRoot(root int, path string, mode uint32) (int, error) {
	const flags = unix.O_PATH | unix.O_DIRECTORY
	// Most directories exist: one system call.
	fd, err := OpenInRoot(root, path, flags)
	if err != unix.ENOENT {
		return fd, err
	}
	for link := 0; link < maxLinks; link++ {
		fd, next, err := mkdirAll(root, path, mode)
		if err != nil || next == "" {
			return fd, err
		}
		path = next
	}
	return -1, unix.ELOOP
}

// mkdirAll is one walk along path. A link to a missing file ends it: next is
// then path with the link replaced by its text.
func mkdirAll(root int, path string, mode uint32) (fd int, next string, err error) {
	parts := split(path)
	if len(parts) > maxComponents {
		return -1, "", unix.ENAMETOOLONG
	}
	have, dir, err := deepest(root, parts)
	if err != nil {
		return -1, "", err
	}
	for i := have; i < len(parts); i++ {
		sub, link, err := mkdirOne(dir, parts[i], mode)
		unix.Close(dir)
		if err != nil {
			return -1, "", err
		}
		if link != "" {
			return -1, splice(parts[:i], link, parts[i+1:]), nil
		}
		dir = sub
	}
	return dir, "", nil
}

// deepest opens the longest prefix of parts that exists. All of them did not a
// moment ago.
func deepest(root int, parts []string) (n, fd int, err error) {
	for n = max(len(parts)-1, 0); ; n-- {
		fd, err = OpenInRoot(root, strings.Join(parts[:n], "/"), unix.O_PATH|unix.O_DIRECTORY)
		if err != unix.ENOENT || n == 0 {
			return n, fd, err
		}
	}
}

// mkdirOne makes and opens one component; link is its text if it is a link.
func mkdirOne(dir int, name string, mode uint32) (fd int, link string, err error) {
	if name == ".." {
		return -1, "", unix.ENOENT // after a missing directory, as in the kernel
	}
	if err := unix.Mkdirat(dir, name, mode); err != nil && err != unix.EEXIST {
		return -1, "", err
	}
	fd, err = openName(dir, name, unix.O_PATH|unix.O_DIRECTORY)
	if err != unix.ELOOP && err != unix.ENOTDIR {
		return fd, "", err
	}
	link, lerr := readlink(dir, name)
	if lerr != nil {
		return -1, "", err
	}
	return -1, link, nil
}

// openName opens one component of dir without following it.
func openName(dir int, name string, flags int) (int, error) {
	if !guardSafepath {
		return openUnguarded(dir, name, flags)
	}
	return open(dir, name, flags|unix.O_NOFOLLOW, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS)
}

// ParentInRoot opens the directory that path's last component is in, making
// it if it is missing, and returns the component: for mknodat, symlinkat and the
// like. The component itself may be anything, also a link.
func ParentInRoot(root int, path string, mode uint32) (dir int, name string, err error) {
	parts := split(path)
	if len(parts) == 0 || parts[len(parts)-1] == ".." || strings.HasSuffix(path, "/.") {
		return -1, "", ErrNoName
	}
	n := len(parts) - 1
	dir, err = MkdirAllInRoot(root, strings.Join(parts[:n], "/"), mode)
	return dir, parts[n], err
}

// MkfileInRoot opens the file path, or makes an empty regular file there with
// mode and its parents with mode 0755, and returns an O_PATH descriptor. Links
// are followed inside root. What exists may be of any type.
func MkfileInRoot(root int, path string, mode uint32) (int, error) {
	for link := 0; link < maxLinks; link++ {
		fd, err := OpenInRoot(root, path, unix.O_PATH)
		if err != unix.ENOENT {
			return fd, err
		}
		dir, name, err := ParentInRoot(root, path, 0o755)
		if err != nil {
			return -1, err
		}
		fd, err = MkfileAt(dir, name, mode)
		if err != unix.EEXIST {
			unix.Close(dir)
			return fd, err
		}
		text, lerr := readlink(dir, name)
		unix.Close(dir)
		if lerr != nil {
			continue // it changed under us; look again
		}
		parts := split(path)
		path = splice(parts[:len(parts)-1], text, nil)
	}
	return -1, unix.ELOOP
}

// MkfileAt makes an empty regular file that must not exist yet and returns an
// O_PATH descriptor of it.
func MkfileAt(dir int, name string, mode uint32) (int, error) {
	fd, err := unix.Openat(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
	if err != nil {
		return -1, err
	}
	unix.Close(fd)
	return openName(dir, name, unix.O_PATH)
}

func readlink(dir int, name string) (string, error) {
	var buf [unix.PathMax]byte
	n, err := unix.Readlinkat(dir, name, buf[:])
	if err != nil {
		return "", err
	}
	if n == 0 || n == len(buf) {
		return "", unix.ENAMETOOLONG
	}
	return string(buf[:n]), nil
}

// split cuts a path into components without empty ones and ".".
func split(path string) []string {
	parts := make([]string, 0, strings.Count(path, "/")+1)
	for part := range strings.SplitSeq(path, "/") {
		if part != "" && part != "." {
			parts = append(parts, part)
		}
	}
	return parts
}

// splice replaces a link between before and after by its text.
func splice(before []string, link string, after []string) string {
	rest := append([]string{link}, after...)
	if !strings.HasPrefix(link, "/") {
		rest = append(append([]string(nil), before...), rest...)
	}
	return strings.Join(rest, "/")
}
