//go:build !amd64

package clone

import "syscall"

const canLend = false

func vclone(*cloneArgs, uintptr) (uintptr, syscall.Errno) { return 0, syscall.ENOSYS }
