// Command floor does the bare kernel work of a container and nothing else:
// new namespaces, an overlay mount, pivot_root, execve of a static program. It
// is what `make bench` holds the runtime's time against.
//
// It checks little and is no part of the product. Row 7.
package main

import (
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

//go:linkname beforeFork syscall.runtime_BeforeFork
func beforeFork()

//go:linkname afterFork syscall.runtime_AfterFork
func afterFork()

//go:linkname afterForkInChild syscall.runtime_AfterForkInChild
func afterForkInChild()

const flags = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP

// usage: floor OVERLAY-OPTIONS MERGED PROGRAM
func main() {
	runtime.LockOSThread()
	options, _ := syscall.BytePtrFromString(os.Args[1])
	merged, _ := syscall.BytePtrFromString(os.Args[2])
	program, _ := syscall.BytePtrFromString(os.Args[3])
	w := &work{options: options, merged: merged, program: program}
	w.overlay, _ = syscall.BytePtrFromString("overlay")
	w.dot, _ = syscall.BytePtrFromString(".")
	w.slash, _ = syscall.BytePtrFromString("/")
	w.argv = [2]*byte{program, nil}
	pid, errno := fork(w)
	if errno != 0 {
		os.Exit(2)
	}
	var ws unix.WaitStatus
	if _, err := unix.Wait4(int(pid), &ws, 0, nil); err != nil {
		os.Exit(2)
	}
	os.Exit(ws.ExitStatus())
}

type work struct {
	options, merged, program, overlay, dot, slash *byte
	argv                                          [2]*byte
	envp                                          [1]*byte
}

//go:norace
//go:noinline
func fork(w *work) (pid uintptr, errno syscall.Errno) {
	p := func(b *byte) uintptr { return uintptr(unsafe.Pointer(b)) }
	var e syscall.Errno
	beforeFork()
	pid, _, errno = syscall.RawSyscall6(unix.SYS_CLONE, flags|uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 || pid != 0 {
		afterFork()
		return pid, errno
	}
	afterForkInChild()
	code := uintptr(10)
	if _, _, e = syscall.RawSyscall6(unix.SYS_MOUNT, 0, p(w.slash), 0, unix.MS_REC|unix.MS_SLAVE, 0, 0); e != 0 {
		goto fail
	}
	code++
	if _, _, e = syscall.RawSyscall6(unix.SYS_MOUNT, p(w.overlay), p(w.merged), p(w.overlay), 0, p(w.options), 0); e != 0 {
		goto fail
	}
	code++
	if _, _, e = syscall.RawSyscall(unix.SYS_CHDIR, p(w.merged), 0, 0); e != 0 {
		goto fail
	}
	code++
	if _, _, e = syscall.RawSyscall(unix.SYS_PIVOT_ROOT, p(w.dot), p(w.dot), 0); e != 0 {
		goto fail
	}
	code++
	if _, _, e = syscall.RawSyscall(unix.SYS_UMOUNT2, p(w.dot), unix.MNT_DETACH, 0); e != 0 {
		goto fail
	}
	code++
	_, _, _ = syscall.RawSyscall(unix.SYS_EXECVE, p(w.program), uintptr(unsafe.Pointer(&w.argv)), uintptr(unsafe.Pointer(&w.envp)))
fail:
	for {
		syscall.RawSyscall(unix.SYS_EXIT_GROUP, code, 0, 0)
	}
}
