package snapshot

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"

	"berth/base/atomicfile"
	"berth/base/ids"

	"golang.org/x/sys/unix"
)

const (
	// maxDepth is how deep folders are followed with one descriptor each; what
	// lies deeper is first moved to the top.
	maxDepth = 32
	// maxPasses is how often a folder is read that does not become empty.
	maxPasses = 8
	direntBuf = 32 << 10
	// smallBuf is for the first look into a folder: most are small.
	smallBuf = 2 << 10
	// few is how much one goroutine removes before others help.
	few = 256
)

// removeTree removes the folder name in the folder dir and all in it, by
// openat(2) and unlinkat(2) on descriptors: no link is followed and no mount
// entered. What is gone already is no error, so two may remove one tree.
func removeTree(dir, name string) error {
	top, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer top.Close()
	r := &remover{top: int(top.Fd()), idle: make(chan struct{}, runtime.GOMAXPROCS(0)-1)}
	err = r.remove(r.top, name, 0)
	for err == nil {
		deep, ok := r.next()
		if !ok {
			return nil
		}
		err = r.remove(r.top, deep, 0)
	}
	return err
}

// remover removes one tree with as many goroutines as there are processors.
type remover struct {
	top  int           // the folder that holds the tree
	idle chan struct{} // one element for each goroutine that is out
	gone atomic.Int64  // what was unlinked so far

	mu   sync.Mutex
	deep []string // trees that were too deep, now in top
}

func (r *remover) next() (string, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.deep) == 0 {
		return "", false
	}
	name := r.deep[len(r.deep)-1]
	r.deep = r.deep[:len(r.deep)-1]
	return name, true
}

// remove removes name, a folder or anything else, in the folder at.
func (r *remover) remove(at int, name string, depth int) error {
	fd, err := openBelow(at, name)
	switch err {
	case nil:
	case unix.ENOENT:
		return nil
	case unix.ENOTDIR, unix.ELOOP:
		return failed("remove", name, unlink(at, name, 0))
	default:
		return failed("open", name, err)
	}
	defer unix.Close(fd)
	for range maxPasses {
		if err := r.empty(fd, depth); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err = unlink(at, name, unix.AT_REMOVEDIR); err != unix.ENOTEMPTY {
			break
		}
		if _, err := unix.Seek(fd, 0, 0); err != nil {
			return failed("read", name, err)
		}
	}
	return failed("remove", name, err)
}

// empty removes what is in the folder fd.
func (r *remover) empty(fd, depth int) error {
	var folders []string
	buf := make([]byte, smallBuf)
	for ; ; buf = grown(buf) {
		n, err := unix.Getdents(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err == unix.ENOENT { // another one removed the folder
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the folder: %w", err)
		}
		if n <= 0 {
			break
		}
		err = eachEntry(buf[:n], func(name string, kind byte) error {
			if kind == unix.DT_DIR {
				folders = append(folders, name)
				return nil
			}
			r.gone.Add(1)
			err := unlink(fd, name, 0)
			if err == unix.EISDIR {
				folders = append(folders, name)
				return nil
			}
			return failed("remove", name, err)
		})
		if err != nil {
			return err
		}
	}
	if depth >= maxDepth {
		return r.lift(fd, folders)
	}
	return r.removeAll(fd, folders, depth+1)
}

// grown is the buffer for the rest of a folder that did not fit into the first.
func grown(buf []byte) []byte {
	if len(buf) < direntBuf {
		return make([]byte, direntBuf)
	}
	return buf
}

// removeAll removes folders, some of them in other goroutines if those are idle.
func (r *remover) removeAll(fd int, folders []string, depth int) error {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		first error
	)
	note := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		if first == nil {
			first = err
		}
	}
	for _, name := range folders {
		out := r.idle
		if r.gone.Load() < few {
			out = nil // it would take longer to find it a processor
		}
		select {
		case out <- struct{}{}:
			wg.Go(func() {
				defer func() { <-r.idle }()
				note(r.remove(fd, name, depth))
			})
		default:
			note(r.remove(fd, name, depth))
		}
	}
	wg.Wait()
	return first
}

// lift moves folders to the top, where they count as not deep.
func (r *remover) lift(fd int, folders []string) error {
	for _, name := range folders {
		up := "." + ids.Hex(8)
		move := func() error { return unix.Renameat(fd, name, r.top, up) }
		err := writing(fd, move)
		if err == unix.EACCES && allow(fd, name) == nil { // ".." in it changes, too
			err = move()
		}
		if err == unix.ENOENT {
			continue
		}
		if err != nil {
			return failed("move", name, err)
		}
		r.mu.Lock()
		r.deep = append(r.deep, up)
		r.mu.Unlock()
	}
	return nil
}

// openBelow opens a folder to empty it: not through a link, not into a mount.
// A folder of ours that gives us no rights gets them first.
func openBelow(at int, name string) (int, error) {
	how := unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV,
	}
	for allowed := false; ; {
		fd, err := unix.Openat2(at, name, &how)
		switch {
		case err == unix.EINTR || err == unix.EAGAIN:
			continue
		case err == unix.EACCES && !allowed:
			// The folder may be shut, or the one that it is in.
			_ = unix.Fchmod(at, 0o700)
			_ = allow(at, name)
			allowed = true
			continue
		}
		return fd, err
	}
}

// allow gives the owner of a folder all rights over it.
func allow(at int, name string) error {
	fd, err := unix.Openat(at, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Chmod("/proc/self/fd/"+strconv.Itoa(fd), 0o700)
}

// unlink is unlinkat(2) to which what is gone already is no error. A folder of
// ours that may not be written to gets that right first.
func unlink(at int, name string, flags int) error {
	err := writing(at, func() error { return unix.Unlinkat(at, name, flags) })
	if err == unix.ENOENT {
		return nil
	}
	return err
}

// writing does something that writes to the folder at.
func writing(at int, do func() error) error {
	for allowed := false; ; {
		err := do()
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EACCES && !allowed && unix.Fchmod(at, 0o700) == nil:
			allowed = true
			continue
		}
		return err
	}
}

func failed(what, name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %q: %w", what, name, err)
}

// eachEntry calls f for the entries of a getdents64(2) buffer, except "." and
// "..", with their DT_* kinds.
func eachEntry(buf []byte, f func(name string, kind byte) error) error {
	const nameAt = 19 // of struct linux_dirent64: ino, off, reclen, type, name
	for len(buf) >= nameAt {
		size := int(binary.NativeEndian.Uint16(buf[16:]))
		if size < nameAt || size > len(buf) {
			return errors.New("read the folder: a malformed entry")
		}
		name := buf[nameAt:size]
		for i, c := range name {
			if c == 0 {
				name = name[:i]
				break
			}
		}
		if s := string(name); s != "." && s != ".." {
			if err := f(s, buf[18]); err != nil {
				return err
			}
		}
		buf = buf[size:]
	}
	return nil
}

// listNames lists a folder of the store, unsorted. A missing one is empty.
func listNames(dir string) ([]string, error) {
	names, err := atomicfile.Names(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return names, err
}
