// Package confine takes rights away from the calling process for good: Linux
// Landlock (landlock(7)) for files and TCP ports, and a seccomp filter that
// forbids system calls (seccomp(2)). It is for our own helpers that read
// foreign bytes: a flaw in their parsers then reaches little.
//
// It is not what confines containers: that is runtime/seccomp and the
// namespaces. It links neither fmt nor maps. Row 1.
//
// All functions set no_new_privs first, and all take a Scope. The calls are a
// thread's own in the kernel; AllThreads makes them in every thread of the Go
// program, which needs CGO_ENABLED=0 (syscall.AllThreadsSyscall). ThisThread is
// for a thread that will call execve(2) or that runs one locked goroutine:
// threads that it makes later inherit its limits, others do not.
package confine

import (
	"errors"
	"os"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Scope says which threads are confined.
type Scope int

const (
	AllThreads Scope = iota
	ThisThread
)

// call makes a system call in the threads of the scope.
func (s Scope) call(name string, trap, a1, a2, a3 uintptr) error {
	var e syscall.Errno
	if s == AllThreads {
		_, _, e = syscall.AllThreadsSyscall(trap, a1, a2, a3)
	} else {
		_, _, e = syscall.RawSyscall(trap, a1, a2, a3)
	}
	if e != 0 {
		return os.NewSyscallError(name, e)
	}
	return nil
}

// NoNewPrivs sets no_new_privs: execve(2) grants nothing any more.
func NoNewPrivs(s Scope) error {
	return s.call("prctl", unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0)
}

// FileCaps are for files of any owner and mode, in a user namespace that gives
// them weight over what is in reach there alone: capabilities(7).
const FileCaps = 1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_FOWNER | 1<<unix.CAP_FSETID | 1<<unix.CAP_SETFCAP

// KeepCaps gives up all capabilities but the first 32 of them that caps has.
func KeepCaps(s Scope, caps uint32) error {
	h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	d := [2]unix.CapUserData{{Effective: caps, Permitted: caps}}
	return s.call("capset", unix.SYS_CAPSET, uintptr(unsafe.Pointer(&h)), uintptr(unsafe.Pointer(&d[0])), 0)
}

// Worker makes of the whole process one that works with foreign bytes: no
// privileges from programs, only caps, and no call that Forbid forbids. It has read
// no foreign byte yet.
func Worker(caps uint32) error {
	if err := NoNewPrivs(AllThreads); err != nil {
		return &failure{"set no_new_privs", err}
	}
	if err := KeepCaps(AllThreads, caps); err != nil {
		return &failure{"drop capabilities", err}
	}
	if err := Forbid(AllThreads, &Calls{}); err != nil {
		return &failure{"confine with seccomp", err}
	}
	return nil
}

// failure is what was tried and the cause, without package fmt.
type failure struct {
	what  string
	cause error
}

func (f *failure) Error() string { return f.what + ": " + f.cause.Error() }
func (f *failure) Unwrap() error { return f.cause }

// Access is what a Path allows on a file, or on all below a folder.
type Access uint8

const (
	Read    Access = 1 << iota // read files, list folders
	Write                      // write and truncate existing files
	Make                       // make and remove files and folders, rename and link them
	Execute                    // execute files
	Devices                    // ioctl(2) on devices, make device nodes
	Nodes                      // make device nodes, as overlay's whiteouts are, and link them
)

// Path allows access to a file or folder.
type Path struct {
	Path string
	// Dir is a descriptor that Path is relative to, or with Path "" the thing
	// itself; 0 for a plain path. An absent path allows nothing and is no error.
	Dir    int
	Access Access
}

// Files says what is left of the file system and of TCP; all else is
// forbidden, except on descriptors that are already open. Links and renames from
// one folder to another need Make on a folder above both in every call of
// Restrict: landlock.rst, LANDLOCK_ACCESS_FS_REFER.
type Files struct {
	Paths []Path
	// Bind and Connect are the TCP ports that may be used; nil for none.
	Bind, Connect []uint16
	// AnyTCP leaves TCP alone; AnyBind leaves binding alone.
	AnyTCP, AnyBind bool
	// Signals lets the process send signals to, and connect abstract sockets of,
	// processes that are not confined by the same call.
	Signals bool
}

// What each ABI of Landlock added, see the kernel's userspace-api/landlock.rst.
const (
	abiRefer    = 2
	abiTruncate = 3
	abiNet      = 4
	abiIoctl    = 5
	abiScope    = 6
)

const (
	fsRead  = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	fsWrite = unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE
	fsMake  = unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_SOCK |
		unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_SYM | unix.LANDLOCK_ACCESS_FS_REFER
	fsExecute = unix.LANDLOCK_ACCESS_FS_EXECUTE
	fsNodes   = unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK
	fsDevices = unix.LANDLOCK_ACCESS_FS_IOCTL_DEV | fsNodes
	fsAll     = fsRead | fsWrite | fsMake | fsExecute | fsDevices
	// fsFile are the rights that a rule on something else than a folder may have.
	fsFile = unix.LANDLOCK_ACCESS_FS_READ_FILE | fsWrite | fsExecute | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
)

func (a Access) rights() (fs uint64) {
	for _, r := range [...]struct {
		a  Access
		fs uint64
	}{
		{Read, fsRead}, {Write, fsWrite}, {Make, fsMake}, {Execute, fsExecute}, {Devices, fsDevices},
		{Nodes, fsNodes},
	} {
		if a&r.a != 0 {
			fs |= r.fs
		}
	}
	return fs
}

// handled is what a kernel's ABI can forbid.
func handled(abi int, f *Files) unix.LandlockRulesetAttr {
	fs := uint64(fsAll)
	if abi < abiRefer {
		fs &^= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if abi < abiTruncate {
		fs &^= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if abi < abiIoctl {
		fs &^= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	a := unix.LandlockRulesetAttr{Handled_access_fs: fs}
	if abi >= abiNet && !f.AnyTCP {
		a.Handled_access_net = unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
		if !f.AnyBind {
			a.Handled_access_net |= unix.LANDLOCK_ACCESS_NET_BIND_TCP
		}
	}
	if abi >= abiScope && !f.Signals {
		a.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
	}
	return a
}

// Supported returns the ABI of the kernel's Landlock, 0 without it.
func Supported() int {
	v, _, e := syscall.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if e != 0 {
		return 0
	}
	return int(v)
}

// ErrNoLandlock says that the kernel has no Landlock, or it is switched off.
var ErrNoLandlock = errors.New("this kernel has no Landlock")

// Restrict leaves the process what f names. It returns the ABI in force: below
// 3 files that are open can be truncated by name, below 4 TCP is free, below 5
// ioctl on devices, below 6 signals and abstract sockets. The error is
// ErrNoLandlock if nothing could be forbidden at all.
func Restrict(s Scope, f *Files) (abi int, err error) {
	if abi = Supported(); abi < 1 {
		return 0, ErrNoLandlock
	}
	attr := handled(abi, f)
	fd, _, e := syscall.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
	if e == unix.E2BIG || e == unix.EINVAL {
		// A kernel that knows a shorter struct.
		fd, _, e = syscall.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), 8, 0)
	}
	if e != 0 {
		return 0, os.NewSyscallError("landlock_create_ruleset", e)
	}
	defer unix.Close(int(fd))
	for i := range f.Paths {
		if err := addPath(int(fd), &f.Paths[i], attr.Handled_access_fs); err != nil {
			return 0, err
		}
	}
	if attr.Handled_access_net != 0 {
		if err := addPorts(int(fd), f); err != nil {
			return 0, err
		}
	}
	if err := NoNewPrivs(s); err != nil {
		return 0, err
	}
	return abi, s.call("landlock_restrict_self", unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0)
}

// addPath adds one rule. struct landlock_path_beneath_attr is packed.
func addPath(ruleset int, p *Path, handled uint64) error {
	fd := p.Dir
	if p.Path != "" {
		dir := p.Dir
		if dir == 0 {
			dir = unix.AT_FDCWD
		}
		var err error
		if fd, err = unix.Openat(dir, p.Path, unix.O_PATH|unix.O_CLOEXEC, 0); err == unix.ENOENT {
			return nil
		}
		if err != nil {
			return &os.PathError{Op: "open", Path: p.Path, Err: err}
		}
		defer unix.Close(fd)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return &os.PathError{Op: "stat", Path: p.Path, Err: err}
	}
	rights := p.Access.rights() & handled
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		rights &= fsFile
	}
	if rights == 0 {
		return nil
	}
	var rule [12]byte
	*(*uint64)(unsafe.Pointer(&rule[0])) = rights
	*(*int32)(unsafe.Pointer(&rule[8])) = int32(fd)
	if err := addRule(ruleset, unix.LANDLOCK_RULE_PATH_BENEATH, unsafe.Pointer(&rule)); err != nil {
		return &os.PathError{Op: "landlock_add_rule", Path: p.Path, Err: err}
	}
	return nil
}

func addPorts(ruleset int, f *Files) error {
	for _, g := range [...]struct {
		ports []uint16
		right uint64
	}{{f.Bind, unix.LANDLOCK_ACCESS_NET_BIND_TCP}, {f.Connect, unix.LANDLOCK_ACCESS_NET_CONNECT_TCP}} {
		for _, port := range g.ports {
			rule := [2]uint64{g.right, uint64(port)}
			if err := addRule(ruleset, ruleNetPort, unsafe.Pointer(&rule)); err != nil {
				return &os.PathError{Op: "landlock_add_rule", Path: "port " + strconv.Itoa(int(port)), Err: err}
			}
		}
	}
	return nil
}

// ruleNetPort is LANDLOCK_RULE_NET_PORT.
const ruleNetPort = 2

func addRule(ruleset int, kind uintptr, rule unsafe.Pointer) error {
	_, _, e := syscall.RawSyscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), kind, uintptr(rule), 0, 0, 0)
	if e != 0 {
		return e
	}
	return nil
}
