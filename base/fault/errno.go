package fault

import (
	"context"
	"io/fs"
	"syscall"
)

// kindOfSystem maps the errors of the kernel (errno(3)) and of io/fs. Only
// what has one meaning everywhere is in the table: EIO, for example, is not.
func kindOfSystem(err error) Kind {
	if no, ok := err.(syscall.Errno); ok {
		return kindOfErrno(no)
	}
	switch err {
	case fs.ErrNotExist:
		return NotFound
	case fs.ErrExist:
		return Exists
	case fs.ErrPermission:
		return Permission
	case fs.ErrInvalid:
		return Invalid
	case context.DeadlineExceeded:
		return Unavailable
	}
	return Unknown
}

func kindOfErrno(no syscall.Errno) Kind {
	switch no {
	case syscall.ENOENT, syscall.ESRCH:
		return NotFound
	case syscall.EEXIST, syscall.ENOTEMPTY:
		return Exists
	case syscall.EINVAL, syscall.ENOTDIR, syscall.ELOOP, syscall.ENAMETOOLONG,
		syscall.ERANGE, syscall.EILSEQ, syscall.E2BIG:
		return Invalid
	case syscall.EPERM, syscall.EACCES, syscall.EROFS:
		return Permission
	case syscall.ENOSPC, syscall.EDQUOT:
		return NoSpace
	case syscall.ENOSYS, syscall.EOPNOTSUPP, syscall.EAFNOSUPPORT,
		syscall.EPROTONOSUPPORT, syscall.ESOCKTNOSUPPORT:
		return Unsupported
	case syscall.EBUSY, syscall.ETXTBSY:
		return Busy
	case syscall.EAGAIN, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE,
		syscall.ECONNREFUSED, syscall.ETIMEDOUT:
		return Unavailable
	}
	return Unknown
}
