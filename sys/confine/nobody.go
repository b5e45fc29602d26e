package confine

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// nobody owns no file and may read those of everybody.
const nobody = 65534

// Nobody gives up who the process is, where it is root, and all rights: for a helper that
// lives on and reads what others send. Nobody of that user may trace it either. In a user
// namespace that has no such user, as one of a single id, it stays who it is.
func Nobody() error { return NobodyWith(0) }

// NobodyWith is Nobody, but for the first 32 capabilities that caps has.
func NobodyWith(caps uint32) error {
	if os.Geteuid() == 0 {
		if err := become(caps); err != nil {
			return err
		}
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl", err)
	}
	return KeepCaps(AllThreads, caps)
}

// become makes root nobody.
func become(caps uint32) error {
	if caps != 0 { // else a change of the user takes all: capabilities(7)
		if err := AllThreads.call("prctl", unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 1, 0); err != nil {
			return err
		}
	}
	switch err := syscall.Setresgid(nobody, nobody, nobody); {
	case err == unix.EINVAL: // user_namespaces(7): it is mapped nowhere
		return nil
	case err != nil:
		return os.NewSyscallError("setresgid", err)
	}
	if err := syscall.Setgroups(nil); err != nil {
		return os.NewSyscallError("setgroups", err)
	}
	if err := syscall.Setresuid(nobody, nobody, nobody); err != nil {
		return os.NewSyscallError("setresuid", err)
	}
	return nil
}

// Bounds are limits of the whole process, each as low as it is already or lower.
type Bounds struct {
	Files uint64 // open at once
	Data  uint64 // bytes, 0: as it is; Go's own limit, in its environment, is far lower
}

// Bind sets them. No file is written, and none is left of a crash.
func (b Bounds) Bind() error {
	for _, l := range [...]struct {
		what  int
		limit uint64
	}{{unix.RLIMIT_NOFILE, b.Files}, {unix.RLIMIT_DATA, b.Data}, {unix.RLIMIT_FSIZE, 0}, {unix.RLIMIT_CORE, 0}} {
		if l.what == unix.RLIMIT_DATA && l.limit == 0 {
			continue
		}
		var now unix.Rlimit
		if err := unix.Getrlimit(l.what, &now); err != nil {
			return os.NewSyscallError("getrlimit", err)
		}
		n := min(l.limit, now.Max)
		if err := unix.Setrlimit(l.what, &unix.Rlimit{Cur: n, Max: n}); err != nil {
			return os.NewSyscallError("setrlimit", err)
		}
	}
	return nil
}
