//go:build amd64 || arm64

package inherited

import "unsafe"

//go:linkname rawSyscall6 syscall.RawSyscall6
//house:allow params the shape of the system call
func rawSyscall6(trap, a1, a2, a3, a4, a5, a6 uintptr) (r1, r2, errno uintptr)

//house:allow init reads the limit before package os raises it
func init() {
	got := NOFILE
	if _, _, errno := rawSyscall6(sysPrlimit64, 0, resourceNOFILE, 0, uintptr(unsafe.Pointer(&got)), 0, 0); errno == 0 {
		NOFILE = got
	}
}
