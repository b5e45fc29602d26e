package thread_test

import (
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"berth/sys/thread"
)

// TestApart: what is done apart stays on threads that are neither the main one
// nor any that the program goes on with.
func TestApart(t *testing.T) {
	if err := unix.Unshare(0); err != nil {
		t.Skip("unshare(2) is forbidden here")
	}
	var mu sync.Mutex
	used := map[int]bool{}
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			thread.Apart(func() {
				// A thread's own umask, which it has once it shares it with nobody.
				if err := unix.Unshare(unix.CLONE_FS); err != nil {
					t.Error(err)
				}
				unix.Umask(0o123)
				mu.Lock()
				used[unix.Gettid()] = true
				mu.Unlock()
			})
		})
	}
	wg.Wait()
	if used[unix.Getpid()] {
		t.Error("it ran on the main thread")
	}
	for range 32 {
		wg.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			old := unix.Umask(0o22)
			if old == 0o123 {
				t.Error("the program goes on with a thread that was apart")
			}
		})
	}
	wg.Wait()
}
