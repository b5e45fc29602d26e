package main

import (
	"golang.org/x/sys/unix"
)

// divert makes another call of the one that begins: getpid, which is allowed
// everywhere and changes nothing.
func divert(tid int) error {
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(tid, &regs); err != nil {
		return err
	}
	regs.Orig_rax = unix.SYS_GETPID
	return unix.PtraceSetRegs(tid, &regs)
}

// fail lets a call that ends have failed.
func fail(tid int, errno unix.Errno) error {
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(tid, &regs); err != nil {
		return err
	}
	regs.Rax = -uint64(errno)
	return unix.PtraceSetRegs(tid, &regs)
}

// skip lets a call that begins, at which a filter stopped, have failed: seccomp(2)
// has no call made whose number is -1.
func skip(tid int, errno unix.Errno) error {
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(tid, &regs); err != nil {
		return err
	}
	regs.Orig_rax, regs.Rax = ^uint64(0), -uint64(errno)
	return unix.PtraceSetRegs(tid, &regs)
}
