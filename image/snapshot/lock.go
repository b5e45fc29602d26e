package snapshot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"berth/base/flock"

	"golang.org/x/sys/unix"
)

// lockCount is how many lock files the keys share. They are made once and never
// removed: a verb that frees space must not need any.
const lockCount = 64

func (o *lockFiles) lockPath(n int) string {
	return filepath.Join(o.dir, strconv.Itoa(100 + n)[1:])
}

// lockFiles is the folder of the lock files.
type lockFiles struct{ dir string }

// held are the locks of some keys.
type held []*flock.Held

func (h held) unlock() {
	for _, l := range h {
		_ = l.Unlock()
	}
}

// lock takes the locks of the keys, empty ones left out, in ascending order.
func (o *lockFiles) lock(keys ...string) (held, error) {
	var hashes []string
	for _, key := range keys {
		if key != "" {
			hashes = append(hashes, hashOf(key))
		}
	}
	return o.lockHashes(hashes...)
}

func (o *lockFiles) lockHashes(hashes ...string) (held, error) {
	var numbers []int
	for _, h := range hashes {
		b, err := strconv.ParseUint(h[:2], 16, 8)
		if err != nil {
			return nil, fmt.Errorf("lock %q: %w", h, err)
		}
		numbers = append(numbers, int(b)%lockCount)
	}
	slices.Sort(numbers)
	var got held
	for _, n := range slices.Compact(numbers) {
		l, err := flock.Lock(o.lockPath(n))
		if err != nil {
			got.unlock()
			return nil, err
		}
		got = append(got, l)
	}
	return got, nil
}

// errGone says that a folder was removed before its lock was got.
var errGone = errors.New("the folder is gone")

// holdFolder locks the folder of an id; wait says whether to wait for it. The
// file is the folder's and frees the lock when it is closed. Without wait, a
// folder that somebody holds gives EWOULDBLOCK.
func (o *folders) holdFolder(id string, wait bool) (*os.File, error) {
	path := filepath.Join(o.d, id)
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	how := unix.LOCK_EX
	if !wait {
		how |= unix.LOCK_NB
	}
	for {
		if err = unix.Flock(int(f.Fd()), how); err != unix.EINTR {
			break
		}
	}
	if err == nil {
		err = sameFile(f, path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// sameFile gives errGone if path names another file by now.
func sameFile(f *os.File, path string) error {
	here, err := f.Stat()
	if err != nil {
		return err
	}
	there, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(here, there) {
		return errGone
	}
	return err
}
