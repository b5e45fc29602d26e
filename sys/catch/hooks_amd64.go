package catch

import (
	"os"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// hooks are the actions that Start has replaced.
type hooks struct {
	list []unix.Signal
	old  []action
}

// action is the kernel's struct sigaction, see rt_sigaction(2).
type action struct {
	handler, flags, restorer uintptr
	mask                     uint64
}

const (
	saRestorer = 0x04000000
	saOnStack  = 0x08000000 // Go's stacks are too small; each thread has one for signals
	saRestart  = 0x10000000
)

// handlers returns the addresses of the handler and of what returns from it.
func handlers() (handler, restorer uintptr)

func (h *hooks) start(list []unix.Signal, _ int) error {
	handler, restorer := handlers()
	ours := action{handler: handler, restorer: restorer, flags: saRestorer | saOnStack | saRestart, mask: ^uint64(0)}
	for _, s := range list {
		var old action
		if err := sigaction(s, &ours, &old); err != nil {
			return os.NewSyscallError("catch signal "+strconv.Itoa(int(s)), err)
		}
		h.list, h.old = append(h.list, s), append(h.old, old)
	}
	return nil
}

// stop leaves alone what somebody else has taken over.
func (h *hooks) stop() {
	handler, _ := handlers()
	for i, s := range h.list {
		var now action
		if sigaction(s, nil, &now) == nil && now.handler == handler {
			_ = sigaction(s, &h.old[i], nil) // it was good before
		}
	}
}

func sigaction(s unix.Signal, new, old *action) error {
	_, _, e := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(new)), uintptr(unsafe.Pointer(old)), 8, 0, 0)
	if e != 0 {
		return e
	}
	return nil
}
