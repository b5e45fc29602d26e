package initproc

import (
	"runtime"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Label makes the next execve(2) change to an AppArmor profile or an SELinux
// context. The parent has checked that the security module is there.
type Label struct{ AppArmor, SELinux string }

func (s *Label) Name() string {
	if s.AppArmor != "" {
		return "apply AppArmor profile " + quote(s.AppArmor)
	}
	return "apply SELinux label " + quote(s.SELinux)
}
func (s *Label) op() op        { return opLabel }
func (s *Label) wire(c *coder) { c.Str(&s.AppArmor); c.Str(&s.SELinux) }

func (s *Label) do(p *process) error {
	if s.AppArmor != "" {
		text := []byte("exec " + s.AppArmor)
		err := p.writeProc("thread-self/attr/apparmor/exec", text)
		if err == unix.ENOENT {
			// Before Linux 5.8 the modules shared one set of files.
			err = p.writeProc("thread-self/attr/exec", text)
		}
		if err == unix.ENOENT {
			return fail("the profile is not loaded", err)
		}
		if err != nil {
			return err
		}
	}
	if s.SELinux != "" {
		if err := p.writeProc("thread-self/attr/exec", []byte(s.SELinux)); err != nil {
			return fail("SELinux label "+quote(s.SELinux), err)
		}
	}
	return nil
}

// NoNewPrivileges sets no_new_privs, see prctl(2).
type NoNewPrivileges struct{}

func (s *NoNewPrivileges) Name() string  { return "set no_new_privs" }
func (s *NoNewPrivileges) op() op        { return opNoNewPrivileges }
func (s *NoNewPrivileges) wire(c *coder) {}

func (s *NoNewPrivileges) do(*process) error {
	return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
}

// Seccomp installs a filter. It becomes active inside Exec, so that only
// execve(2), and capset(2) without no_new_privs, come after it.
//
// A filter with a listener is loaded at once, for the parent must still be
// there to receive the listener: FrameNotify carries its number, and the
// descriptor itself as SCM_RIGHTS. A second thread, which the filter does not
// hold, sends it and waits for the parent's byte: any call of this thread may
// by then hang until the listener answers.
type Seccomp struct {
	Insns  []unix.SockFilter
	Flags  uint32 // SECCOMP_FILTER_FLAG_*
	Notify bool
}

func (s *Seccomp) Name() string { return "install seccomp filter" }
func (s *Seccomp) op() op       { return opSeccomp }
func (s *Seccomp) wire(c *coder) {
	// Raw bytes: parent and helper run on one machine.
	const size = int(unsafe.Sizeof(unix.SockFilter{}))
	var raw []byte
	if len(s.Insns) != 0 {
		raw = unsafe.Slice((*byte)(unsafe.Pointer(&s.Insns[0])), size*len(s.Insns))
	}
	c.Bytes(&raw)
	if c.Decoding() && len(raw) >= size {
		s.Insns = make([]unix.SockFilter, len(raw)/size)
		copy(unsafe.Slice((*byte)(unsafe.Pointer(&s.Insns[0])), size*len(s.Insns)), raw)
	}
	c.U32(&s.Flags)
	c.Bool(&s.Notify)
}

func (s *Seccomp) do(p *process) error {
	if len(s.Insns) == 0 || len(s.Insns) > 0xffff {
		return unix.EINVAL
	}
	if s.Notify {
		return p.loadNotify(s)
	}
	p.attr.filter = s
	return nil
}

// load installs the filter on the calling thread. Only raw system calls: the
// first one after it is already filtered.
func (p *process) load(s *Seccomp, flags uint32) (uintptr, error) {
	prog := unix.SockFprog{Len: uint16(len(s.Insns)), Filter: &s.Insns[0]}
	if p.attr.keepAdmin {
		with := p.attr.final
		with.permitted |= capSysAdmin
		with.effective |= capSysAdmin
		_ = with.set() // if it is not held, seccomp(2) says so
	}
	// This thread alone survives execve(2); the others need no filter.
	flags &^= unix.SECCOMP_FILTER_FLAG_TSYNC
	r, _, e := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, uintptr(flags), uintptr(unsafe.Pointer(&prog)))
	if e == unix.EACCES {
		return 0, fail("install seccomp filter: it takes no_new_privs or CAP_SYS_ADMIN", e)
	}
	if e != 0 {
		return 0, fail("install seccomp filter", e)
	}
	return r, nil
}

// settle drops what load raised.
func (p *process) settle() error {
	if !p.attr.keepAdmin {
		return nil
	}
	if err := p.attr.final.set(); err != nil {
		return fail("drop CAP_SYS_ADMIN under the seccomp filter, which has to allow capset", err)
	}
	return nil
}

// loadNotify loads a filter with a listener and hands the listener over.
func (p *process) loadNotify(s *Seccomp) error {
	// The helper runs with one processor and is not preempted: without a second
	// one the sender would never run beside the loop below.
	runtime.GOMAXPROCS(2)
	var listener, done atomic.Int32
	var sent error
	go func() {
		for listener.Load() == 0 {
			unix.Nanosleep(&unix.Timespec{Nsec: 50e3}, nil)
		}
		if fd := listener.Load(); fd > 0 {
			sent = p.sendListener(int(fd))
		}
		done.Store(1)
	}()
	fd, err := p.load(s, s.Flags|unix.SECCOMP_FILTER_FLAG_NEW_LISTENER)
	if err != nil {
		listener.Store(-1)
		return err
	}
	listener.Store(int32(fd))
	for done.Load() == 0 {
		// No call may be made here, not even one that sleeps.
	}
	if sent != nil {
		return fail("hand over the seccomp listener", sent)
	}
	return p.settle()
}

func (p *process) sendListener(fd int) error {
	defer unix.Close(fd)
	frame := appendU32([]byte{FrameNotify, 0, 0, 0}, 4)
	frame = appendU32(frame, uint32(fd))
	if err := sendAll(p.sock, frame, unix.UnixRights(fd)); err != nil {
		return err
	}
	return p.waitByte()
}

//go:linkname runtimeBeforeExec syscall.runtime_BeforeExec
func runtimeBeforeExec()

//go:linkname runtimeAfterExec syscall.runtime_AfterExec
func runtimeAfterExec()

// execve replaces the process, loading the waiting seccomp filter first. It
// returns only on failure. Unlike syscall.Exec it makes no call between the
// filter and execve(2) that the filter might forbid.
func (p *process) execve(path string, args, env []string) error {
	name, err := syscall.BytePtrFromString(path)
	if err != nil {
		return err
	}
	argv, err := syscall.SlicePtrFromStrings(args)
	if err != nil {
		return err
	}
	envp, err := syscall.SlicePtrFromStrings(env)
	if err != nil {
		return err
	}
	// No thread may be born while execve ends all others.
	runtimeBeforeExec()
	defer runtimeAfterExec()
	if p.attr.filter != nil {
		if _, err := p.load(p.attr.filter, p.attr.filter.Flags); err != nil {
			return err
		}
		if err := p.settle(); err != nil {
			return err
		}
	}
	_, _, e := unix.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(name)),
		uintptr(unsafe.Pointer(&argv[0])), uintptr(unsafe.Pointer(&envp[0])))
	return execError(e)
}
