package cgroup

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// as runs f on a thread of its own with the file system rights of uid.
func as(t *testing.T, uid int, f func() error) error {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with f
		// The raw call changes this thread alone; dropping fsuid takes the
		// capabilities that override file permissions with it.
		if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), 0); e != 0 {
			done <- e
			return
		}
		done <- f()
	}()
	return <-done
}
