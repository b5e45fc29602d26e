package confine

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Calls says what a helper may still do beside reading, writing and computing.
// What no helper does is always forbidden: mounting, tracing, loading code into
// the kernel, joining namespaces, keyrings, io_uring, handles of files.
type Calls struct {
	// Execute lets the process start programs.
	Execute bool
	// Sockets lets it make sockets of the families AF_UNIX, AF_INET, AF_INET6 and
	// AF_NETLINK; no others are ever allowed. Those that it has keep working.
	Sockets bool
	// Internet lets it make those of AF_INET, AF_INET6 and AF_NETLINK alone: services of
	// the user and of the host listen at AF_UNIX, and Landlock bars no path of those.
	Internet bool
}

// Offsets in struct seccomp_data, and flags of clone(2) that make namespaces.
const (
	offNR   = 0
	offArch = 4
	offArg0 = 16 // low half on little-endian machines
	newNS   = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
		unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET
	verdictEPERM  = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	verdictENOSYS = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
)

// Forbid installs the filter: forbidden calls fail with EPERM, calls of another
// architecture kill the process. Filters add up; none can be taken back.
func Forbid(s Scope, c *Calls) error {
	if err := NoNewPrivs(s); err != nil {
		return err
	}
	filter := program(c)
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	flags := uintptr(0)
	if s == AllThreads {
		flags = unix.SECCOMP_FILTER_FLAG_TSYNC
	}
	// TSYNC reaches the other threads, so one call does.
	return ThisThread.call("seccomp", unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&prog)))
}

// program assembles the filter. Each test that hits ends it at once, so that
// jumps are one instruction long.
func program(c *Calls) []unix.SockFilter {
	var p asm
	p.load(offArch)
	p.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, nativeArch, 1, 0)
	p.ret(unix.SECCOMP_RET_KILL_PROCESS)
	p.load(offNR)
	if x32Bit != 0 {
		p.add(unix.BPF_JMP|unix.BPF_JGE|unix.BPF_K, x32Bit, 0, 1)
		p.ret(verdictEPERM)
	}
	for _, nr := range forbidden {
		p.refuse(nr, verdictEPERM)
	}
	if !c.Execute {
		p.refuse(unix.SYS_EXECVE, verdictEPERM)
		p.refuse(unix.SYS_EXECVEAT, verdictEPERM)
	}
	// Its flags are out of a filter's sight; the Go runtime uses clone.
	p.refuse(unix.SYS_CLONE3, verdictENOSYS)
	p.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, unix.SYS_CLONE, 0, 4)
	p.load(offArg0)
	p.add(unix.BPF_JMP|unix.BPF_JSET|unix.BPF_K, newNS, 0, 1)
	p.ret(verdictEPERM)
	p.ret(unix.SECCOMP_RET_ALLOW)
	p.families(c)
	p.ret(unix.SECCOMP_RET_ALLOW)
	return p
}

// families is the rule for socket(2).
func (p *asm) families(c *Calls) {
	allowed := []uint32{unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK}
	switch {
	case c.Sockets:
	case c.Internet:
		allowed = allowed[1:]
	default:
		p.refuse(unix.SYS_SOCKET, verdictEPERM)
		return
	}
	p.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, unix.SYS_SOCKET, 0, uint8(2*len(allowed)+2))
	p.load(offArg0)
	for _, family := range allowed {
		p.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, family, 0, 1)
		p.ret(unix.SECCOMP_RET_ALLOW)
	}
	p.ret(verdictEPERM)
}

// asm is a filter in the making.
type asm []unix.SockFilter

func (p *asm) add(code int, k uint32, jt, jf uint8) {
	*p = append(*p, unix.SockFilter{Code: uint16(code), Jt: jt, Jf: jf, K: k})
}

func (p *asm) load(offset uint32) { p.add(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, offset, 0, 0) }
func (p *asm) ret(verdict uint32) { p.add(unix.BPF_RET|unix.BPF_K, verdict, 0, 0) }

// refuse gives a verdict to one call.
func (p *asm) refuse(nr, verdict uint32) {
	p.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, nr, 0, 1)
	p.ret(verdict)
}

// forbidden is what no helper of ours ever calls.
var forbidden = [...]uint32{
	unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_OPEN_TREE, unix.SYS_MOVE_MOUNT,
	unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSPICK, unix.SYS_MOUNT_SETATTR,
	unix.SYS_UNSHARE, unix.SYS_SETNS,
	unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PIDFD_GETFD, unix.SYS_KCMP,
	unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD, unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
	unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_KEXEC_LOAD, unix.SYS_REBOOT,
	unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_ACCT, unix.SYS_QUOTACTL, unix.SYS_SETHOSTNAME, unix.SYS_SETDOMAINNAME,
	unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME, unix.SYS_CLOCK_ADJTIME, unix.SYS_ADJTIMEX, unix.SYS_SYSLOG,
	unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_KEYCTL,
	unix.SYS_NAME_TO_HANDLE_AT, unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_PERSONALITY, unix.SYS_FANOTIFY_INIT,
}
