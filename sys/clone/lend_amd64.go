package clone

import "syscall"

const canLend = true

// vclone is clone3(2) with CLONE_VM and CLONE_VFORK and without a stack for the
// child: the parent sleeps, and the child goes on in the frame of the caller.
//
//go:noescape
func vclone(args *cloneArgs, size uintptr) (pid uintptr, errno syscall.Errno)
