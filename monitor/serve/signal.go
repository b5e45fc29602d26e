package serve

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// action is the kernel's struct sigaction on all machines that Go's runtime
// starts a monitor on, see rt_sigaction(2).
type action struct {
	handler, flags, restorer uintptr
	mask                     uint64
}

// honour gives signals that the engine's caller ignored their default action:
// under nohup a container would ignore SIGHUP, which execve(2) hands on.
func honour() {
	const ignored = 1
	for s := uintptr(1); s <= 64; s++ {
		var now action
		_, _, e := unix.RawSyscall6(unix.SYS_RT_SIGACTION, s, 0, uintptr(unsafe.Pointer(&now)), 8, 0, 0)
		if e == 0 && now.handler == ignored {
			var def action
			unix.RawSyscall6(unix.SYS_RT_SIGACTION, s, uintptr(unsafe.Pointer(&def)), 0, 8, 0, 0)
		}
	}
}
