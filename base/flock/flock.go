// Package flock is a lock between processes, exclusive or shared, held on a
// file of its own outside the folder that it guards. It is not for goroutines
// of one process to share a lock, and it is not fair: shared holders that
// overlap without a gap keep an exclusive waiter out. Row 0 (base): standard
// library only.
//
// The lock file may be removed by its holder (Remove), so a waiter can wake up
// with a lock on a file that nobody else will ever find again. Therefore the
// inode is looked at again after the lock was got:
//
//	open path ──► flock(fd) ──► does path still name the inode of fd?
//	   ▲                              │ no: close, start again
//	   └──────────────────────────────┘
//
// The kernel frees the lock when the last copy of the descriptor is closed
// (flock(2)); ours is O_CLOEXEC, and a child made by a raw clone must close it.
package flock

import (
	"fmt"
	"os"
	"syscall"

	"berth/base/fault"
)

// Held is a lock that is held until Unlock or Remove.
type Held struct {
	file *os.File
}

// Lock waits until it holds the lock at path. The file is made with mode
// 0600 when it is missing; its folder must exist.
func Lock(path string) (*Held, error) { return acquire(path, syscall.LOCK_EX) }

// TryLock is Lock without waiting: kind Busy when another holds the lock.
func TryLock(path string) (*Held, error) {
	return acquire(path, syscall.LOCK_EX|syscall.LOCK_NB)
}

// Shared waits until it holds the lock at path together with any number of
// other shared holders and no exclusive one. Its holder must not Remove it.
func Shared(path string) (*Held, error) { return acquire(path, syscall.LOCK_SH) }

func acquire(path string, how int) (*Held, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0o600)
		if err != nil {
			return nil, fmt.Errorf("open lock %s: %w", path, err)
		}
		if err := flock(int(f.Fd()), how); err != nil {
			f.Close()
			if err == syscall.EWOULDBLOCK {
				return nil, fault.New(fault.Busy, "lock %s: held by another process", path)
			}
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		same, err := names(path, f)
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("check lock %s: %w", path, err)
		}
		if same {
			return &Held{file: f}, nil
		}
		f.Close() // removed or replaced while we waited
	}
}

// flock is flock(2) without the interruptions by signals.
func flock(fd, how int) error {
	for {
		if err := syscall.Flock(fd, how); err != syscall.EINTR {
			return err
		}
	}
}

// names reports whether path still names the file that f has open.
func names(path string, f *os.File) (bool, error) {
	held, err := f.Stat()
	if err != nil {
		return false, err
	}
	now, err := os.Lstat(path)
	if fault.Is(err, fault.NotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return os.SameFile(held, now), nil
}

// Unlock gives the lock back and leaves the file. A second call does nothing.
func (l *Held) Unlock() error {
	if l.file == nil {
		return nil
	}
	f := l.file
	l.file = nil
	return f.Close()
}

// Remove removes the lock file and then gives the lock back: for the verb that
// deletes what the lock guards. Waiters see that the file is gone and make a
// new one.
func (l *Held) Remove() error {
	if l.file == nil {
		return nil
	}
	if err := os.Remove(l.file.Name()); err != nil && !fault.Is(err, fault.NotFound) {
		_ = l.Unlock()
		return fmt.Errorf("remove lock: %w", err)
	}
	return l.Unlock()
}
