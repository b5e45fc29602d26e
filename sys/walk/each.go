// Package walk visits all files below one in a tree that others may change meanwhile,
// by open folders. Row 1.
package walk

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

const (
	maxDepth = 512  // open folders at once
	atOnce   = 1024 // entries of a folder
)

// Each calls do for an open file, or a folder and all below it, the folder last; O_PATH
// is enough. Links are never followed: what do gets is an open folder and a name in it
// that is one component, "." for the folder itself, "" for a file that is open; with
// AT_EMPTY_PATH and AT_SYMLINK_NOFOLLOW it reaches nothing else, whoever changes the tree
// meanwhile. What has gone meanwhile is left out.
func Each(top *os.File, do func(dir int, name string) error) error {
	fd := int(top.Fd())
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return do(fd, "")
	}
	own, err := unix.Openat(fd, ".", folder, 0)
	if err != nil {
		return err
	}
	return eachBelow(os.NewFile(uintptr(own), "folder"), do, 0)
}

const folder = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC

// eachBelow closes the folder.
func eachBelow(list *os.File, do func(dir int, name string) error, depth int) error {
	defer list.Close()
	if depth == maxDepth {
		return fmt.Errorf("deeper than %d folders", maxDepth)
	}
	for {
		entries, err := list.ReadDir(atOnce)
		for _, e := range entries {
			if err := eachEntry(int(list.Fd()), e, do, depth); err != nil {
				return fmt.Errorf("%s: %w", e.Name(), err)
			}
		}
		if errors.Is(err, io.EOF) {
			return do(int(list.Fd()), ".")
		}
		if err != nil {
			return err
		}
	}
}

func eachEntry(dir int, e os.DirEntry, do func(dir int, name string) error, depth int) error {
	if !e.IsDir() {
		err := do(dir, e.Name())
		if errors.Is(err, unix.ENOENT) {
			return nil
		}
		return err
	}
	next, err := unix.Openat(dir, e.Name(), folder, 0)
	if err == unix.ENOENT || err == unix.ENOTDIR {
		return nil // another one meanwhile
	}
	if err != nil {
		return err
	}
	return eachBelow(os.NewFile(uintptr(next), "folder"), do, depth+1)
}
