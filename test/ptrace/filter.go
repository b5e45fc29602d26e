package ptrace

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Exec becomes a command that stops, with all that it makes, at the calls of these
// numbers alone (seccomp(2), SECCOMP_RET_TRACE): a stop at every call costs more
// than what the command does. Without a tracer these calls fail with ENOSYS, so
// nothing of the command may be let go. Needs CAP_SYS_ADMIN; the command is another
// user's unless as is nil.
func Exec(words, environ []string, calls []uint64, as *syscall.Credential) error {
	runtime.LockOSThread()
	const numberAt, archAt = 0, 4 // struct seccomp_data
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	equal := func(k uint32, yes, no int) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: uint8(yes), Jf: uint8(no), K: k}
	}
	end := func(k uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k} }
	n := len(calls)
	prog := []unix.SockFilter{load(archAt), equal(arch, 0, n+1), load(numberAt)}
	for i, nr := range calls {
		prog = append(prog, equal(uint32(nr), n-i, 0))
	}
	prog = append(prog, end(unix.SECCOMP_RET_ALLOW), end(unix.SECCOMP_RET_TRACE))
	f := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&f)), 0, 0); err != nil {
		return fmt.Errorf("stop at %d calls: %w", n, err)
	}
	if as != nil {
		if err := errors.Join(unix.Setgroups(nil), unix.Setgid(int(as.Gid)), unix.Setuid(int(as.Uid))); err != nil {
			return fmt.Errorf("become user %d: %w", as.Uid, err)
		}
	}
	return fmt.Errorf("run %s: %w", words[0], unix.Exec(words[0], words, environ))
}
