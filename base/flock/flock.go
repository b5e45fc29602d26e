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
	fd   int
	path string // "": given back
}

// Lock waits until it holds the lock at path. The file is made with mode
// 0600 when it is missing; its folder must exist.
func Lock(path string) (*Held, error) { return acquire(path, syscall.LOCK_EX, syscall.O_CREAT) }

// TryLock is Lock without waiting: kind Busy when another holds the lock.
func TryLock(path string) (*Held, error) {
	return acquire(path, syscall.LOCK_EX|syscall.LOCK_NB, syscall.O_CREAT)
}

// TryFound is TryLock of a file that is there already: kind NotFound when it is
// not.
func TryFound(path string) (*Held, error) {
	return acquire(path, syscall.LOCK_EX|syscall.LOCK_NB, 0)
}

// Shared waits until it holds the lock at path together with any number of
// other shared holders and no exclusive one. Its holder must not Remove it.
func Shared(path string) (*Held, error) { return acquire(path, syscall.LOCK_SH, syscall.O_CREAT) }

// Make makes lock files that are missing: beforehand, for verbs that free space
// and must not need any for a lock.
func Make(paths ...string) error {
	for _, path := range paths {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

// acquire takes the lock by bare system calls: os.File adds as many again, and
// verbs take thousands of locks.
func acquire(path string, how, create int) (*Held, error) {
	for {
		fd, err := open(path, create)
		if err != nil {
			return nil, fmt.Errorf("open lock %s: %w", path, err)
		}
		if err := flock(fd, how); err != nil {
			syscall.Close(fd)
			if err == syscall.EWOULDBLOCK {
				return nil, fault.New(fault.Busy, "lock %s: held by another process", path)
			}
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		same, err := names(path, fd)
		if err != nil {
			syscall.Close(fd)
			return nil, fmt.Errorf("check lock %s: %w", path, err)
		}
		if same {
			return &Held{fd, path}, nil
		}
		syscall.Close(fd) // removed or replaced while we waited
	}
}

// open opens the lock file; create says to make it.
func open(path string, create int) (int, error) {
	for {
		fd, err := syscall.Open(path, syscall.O_RDWR|create|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0o600)
		if err != syscall.EINTR {
			return fd, err
		}
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

// names reports whether path still names the file that is open as fd.
func names(path string, fd int) (bool, error) {
	var held, now syscall.Stat_t
	if err := syscall.Fstat(fd, &held); err != nil {
		return false, err
	}
	err := syscall.Lstat(path, &now)
	if err == syscall.ENOENT || err == syscall.ENOTDIR {
		return false, nil
	}
	return held.Dev == now.Dev && held.Ino == now.Ino, err
}

// Note puts a few bytes into the lock file in the place of what is there: for
// whoever finds the lock free because its holder was killed.
func (l *Held) Note(b []byte) error {
	err := syscall.Ftruncate(l.fd, 0)
	if err == nil && len(b) > 0 {
		_, err = syscall.Pwrite(l.fd, b, 0)
	}
	if err != nil {
		return fmt.Errorf("write into lock %s: %w", l.path, err)
	}
	return nil
}

// FD is the descriptor whose copies hold the lock, too: for a process that is to hold it
// in our place.
func (l *Held) FD() int { return l.fd }

// Copy is a file that holds the lock, too, for a process that is started with it. It is
// the caller's.
func (l *Held) Copy() (*os.File, error) {
	fd, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(l.fd), syscall.F_DUPFD_CLOEXEC, 3)
	if errno != 0 {
		return nil, os.NewSyscallError("fcntl", errno)
	}
	return os.NewFile(fd, l.path), nil
}

// Unlock gives the lock back and leaves the file. A second call does nothing.
func (l *Held) Unlock() error {
	if l.path == "" {
		return nil
	}
	path := l.path
	l.path = ""
	if err := syscall.Close(l.fd); err != nil {
		return fmt.Errorf("close lock %s: %w", path, err)
	}
	return nil
}

// Remove removes the lock file and then gives the lock back: for the verb that
// deletes what the lock guards. Waiters see that the file is gone and make a
// new one.
func (l *Held) Remove() error {
	if l.path == "" {
		return nil
	}
	if err := os.Remove(l.path); err != nil && !fault.Is(err, fault.NotFound) {
		_ = l.Unlock()
		return fmt.Errorf("remove lock: %w", err)
	}
	return l.Unlock()
}
