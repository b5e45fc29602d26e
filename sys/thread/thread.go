// Package thread runs a function on a system thread of its own, for what a
// thread cannot undo: another mount namespace, other ids.
//
// It knows nothing of what the function does. Row 1.
package thread

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// Apart runs f on a thread that ends with it, and waits. That is never the main
// thread, which does not end: /proc/self would show what f did to it.
func Apart(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread goes with the goroutine
		if unix.Gettid() == unix.Getpid() {
			Apart(f) // on another thread, as we keep this one
			runtime.UnlockOSThread()
			return
		}
		f()
	}()
	<-done
}
