package initproc

import (
	"errors"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"

	"berth/runtime/caps"
)

// Streams puts the files given by the parent on descriptors 0, 1 and 2.
type Streams struct{ Files [3]FD }

func (s *Streams) Name() string { return "take the standard streams" }
func (s *Streams) op() op       { return opStreams }
func (s *Streams) wire(c *coder) {
	for i := range s.Files {
		wireFD(c, &s.Files[i])
	}
}

func (s *Streams) do(p *process) error {
	for i, f := range s.Files {
		fd, err := p.fd(f)
		if err != nil {
			return err
		}
		if err := unix.Dup3(fd, i, 0); err != nil {
			return fail("descriptor "+strconv.Itoa(i), err)
		}
	}
	return nil
}

// Stdio gives the process its standard streams: whoever they belonged to, the
// user that the program runs as must be able to open /dev/stdout again.
// Streams that cannot be given, and /dev/null, stay as they are.
type Stdio struct{ UID uint32 }

func (s *Stdio) Name() string  { return "give standard streams to user " + utoa(s.UID) }
func (s *Stdio) op() op        { return opStdio }
func (s *Stdio) wire(c *coder) { c.U32(&s.UID) }

func (s *Stdio) do(p *process) error {
	if p.account != nil {
		s.UID = p.account.UID
	}
	const devNull = 1<<8 | 3
	for fd := 0; fd < 3; fd++ {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			if err == unix.EBADF {
				continue
			}
			return err
		}
		if st.Uid == s.UID || st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == devNull {
			continue
		}
		err := unix.Fchown(fd, int(s.UID), -1)
		switch err {
		case nil, unix.EPERM, unix.EINVAL, unix.EROFS:
			// Not ours to give, an owner without a mapping, or a read-only file.
		default:
			return fail("descriptor "+strconv.Itoa(fd), err)
		}
	}
	return nil
}

// CapSets are the five sets of capabilities(7); bit n is capability n.
type CapSets struct {
	Bounding, Effective, Inheritable, Permitted, Ambient uint64
}

// Identity makes the process the user that the program runs as, with the
// capabilities that the program gets. What is held but not asked for is
// dropped; what is asked for but not held is reported as a warning
// (runtime-spec, "process.capabilities").
type Identity struct {
	UID, GID uint32
	Groups   []uint32
	Caps     CapSets
	// KeepAdmin keeps CAP_SYS_ADMIN permitted, not effective, until a seccomp
	// filter is loaded: without no_new_privs that takes it, see seccomp(2).
	KeepAdmin bool
}

func (s *Identity) Name() string {
	return "become user " + utoa(s.UID) + " group " + utoa(s.GID)
}
func (s *Identity) op() op { return opIdentity }
func (s *Identity) wire(c *coder) {
	c.U32(&s.UID)
	c.U32(&s.GID)
	c.U32s(&s.Groups)
	for _, v := range []*uint64{&s.Caps.Bounding, &s.Caps.Effective, &s.Caps.Inheritable, &s.Caps.Permitted, &s.Caps.Ambient} {
		c.U64(v)
	}
	c.Bool(&s.KeepAdmin)
}

// do changes only the calling thread: it is the one that survives execve(2).
func (s *Identity) do(p *process) error {
	if a := p.account; a != nil {
		s.UID, s.GID, s.Groups = a.UID, a.GID, a.Groups
	}
	held, err := capget()
	if err != nil {
		return fail("read capabilities", err)
	}
	want := s.grantable(p, held.permitted)
	if err := dropBounding(want.Bounding); err != nil {
		return err
	}
	if err := s.setIDs(p); err != nil {
		return err
	}
	p.attr.final = capState{effective: want.Effective, permitted: want.Permitted, inheritable: want.Inheritable}
	p.attr.keepAdmin = s.KeepAdmin
	now := p.attr.final
	if s.KeepAdmin {
		now.permitted |= held.permitted & capSysAdmin
	}
	if err := now.set(); err != nil {
		return fail("set capabilities", err)
	}
	if err := setAmbient(want.Ambient); err != nil {
		return err
	}
	// A change of ids sets it to fs.suid_dumpable, which may be 1: prctl(2).
	if guardDumpable {
		return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	}
	return nil
}

// grantable cuts what was asked for down to what the process has.
func (s *Identity) grantable(p *process, held uint64) CapSets {
	w := s.Caps
	asked := w.Effective | w.Permitted | w.Inheritable | w.Ambient
	w.Permitted &= held
	w.Effective &= w.Permitted
	w.Inheritable &= held & w.Bounding
	if !guardInheritable {
		w.Inheritable = w.Bounding & held
	}
	w.Ambient &= w.Permitted & w.Inheritable
	if missing := asked &^ held; missing != 0 {
		p.warn("capabilities that cannot be granted: " + caps.Join(missing))
	} else if lost := s.Caps.Ambient &^ w.Ambient; lost != 0 {
		p.warn("ambient capabilities need to be permitted and inheritable: " + caps.Join(lost))
	}
	return w
}

func (s *Identity) setIDs(p *process) error {
	if s.UID != 0 {
		if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); err != nil {
			return fail("keep capabilities", err)
		}
	}
	if err := s.setGroups(p); err != nil {
		return err
	}
	// Raw calls: those of package syscall would change all threads.
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESGID, uintptr(s.GID), uintptr(s.GID), uintptr(s.GID)); e != 0 {
		return idError("group "+utoa(s.GID), e)
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(s.UID), uintptr(s.UID), uintptr(s.UID)); e != 0 {
		return idError("user "+utoa(s.UID), e)
	}
	return nil
}

func (s *Identity) setGroups(p *process) error {
	var list unsafe.Pointer
	if len(s.Groups) != 0 {
		list = unsafe.Pointer(&s.Groups[0])
	}
	_, _, e := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(s.Groups)), uintptr(list), 0)
	if e == 0 {
		return nil
	}
	if e == unix.EPERM && p.setgroupsDenied() {
		// With one id only nobody has others; the image's files do not know that.
		if len(s.Groups) == 0 || p.account != nil && !p.groupsAsked {
			return nil
		}
		return errors.New("additional groups cannot be set: setgroups is denied in this user namespace (it takes id ranges and newgidmap)")
	}
	return idError("additional groups", e)
}

// setgroupsDenied reports whether the user namespace forbids setgroups(2), see
// user_namespaces(7).
func (p *process) setgroupsDenied() bool {
	text, err := p.readProc("self/setgroups", 16)
	return err == nil && text == "deny\n"
}

func idError(what string, e unix.Errno) error {
	if e == unix.EINVAL {
		return fail(what+" is not mapped in the container's user namespace", e)
	}
	return fail(what, e)
}

// dropBounding removes all that is not in keep from the bounding set.
func dropBounding(keep uint64) error {
	for c := 0; c < 64; c++ {
		if keep&(1<<c) != 0 {
			continue
		}
		err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0)
		if err == unix.EINVAL {
			return nil // past the kernel's last capability
		}
		if err == unix.EPERM {
			if has, e := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(c), 0, 0, 0); e == nil && has == 0 {
				continue
			}
		}
		if err != nil {
			return fail("drop "+caps.Name(c)+" from the bounding set", err)
		}
	}
	return nil
}

func setAmbient(set uint64) error {
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fail("clear ambient capabilities", err)
	}
	for c := 0; set != 0; c++ {
		if set&1 != 0 {
			if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uintptr(c), 0, 0); err != nil {
				return fail("raise ambient "+caps.Name(c), err)
			}
		}
		set >>= 1
	}
	return nil
}

const capSysAdmin = 1 << unix.CAP_SYS_ADMIN

// capState is what capset(2) sets.
type capState struct{ effective, permitted, inheritable uint64 }

func capget() (capState, error) {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var d [2]unix.CapUserData
	if err := unix.Capget(&hdr, &d[0]); err != nil {
		return capState{}, err
	}
	return capState{
		effective:   uint64(d[1].Effective)<<32 | uint64(d[0].Effective),
		permitted:   uint64(d[1].Permitted)<<32 | uint64(d[0].Permitted),
		inheritable: uint64(d[1].Inheritable)<<32 | uint64(d[0].Inheritable),
	}, nil
}

// set is one raw system call: it also runs under the container's filter.
func (s capState) set() error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	d := [2]unix.CapUserData{
		{Effective: uint32(s.effective), Permitted: uint32(s.permitted), Inheritable: uint32(s.inheritable)},
		{Effective: uint32(s.effective >> 32), Permitted: uint32(s.permitted >> 32), Inheritable: uint32(s.inheritable >> 32)},
	}
	_, _, e := unix.RawSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&hdr)), uintptr(unsafe.Pointer(&d[0])), 0)
	if e != 0 {
		return e
	}
	return nil
}

func utoa(v uint32) string { return strconv.FormatUint(uint64(v), 10) }
