package process_test

import (
	"strings"
	"testing"
	"unsafe"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/runtime/lsm"
	"berth/runtime/plan"
	"berth/runtime/process"
	"berth/runtime/seccomp"
)

func compile(t *testing.T, p *specs.LinuxSeccomp) *seccomp.Filter {
	t.Helper()
	f, err := seccomp.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func denyUname(action specs.LinuxSeccompAction) *specs.LinuxSeccomp {
	return &specs.LinuxSeccomp{
		DefaultAction: specs.ActAllow,
		Architectures: []specs.Arch{specs.ArchX86_64, specs.ArchX86},
		Syscalls:      []specs.LinuxSyscall{{Names: []string{"uname"}, Action: action, ErrnoRet: ptr(uint(unix.EXDEV))}},
	}
}

func TestSeccomp(t *testing.T) {
	for _, nnp := range []bool{false, true} {
		for _, uid := range []uint32{0, 1000} {
			s := newSpec()
			s.Process.NoNewPrivileges = nnp
			s.Process.User.UID = uid
			s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: []string{"CAP_CHOWN"}, Permitted: []string{"CAP_CHOWN"}}
			tr := trial{spec: s, script: `uname 2>&1; ` + status}
			tr.options.Filter = compile(t, denyUname(specs.ActErrno))
			o := tr.run(t)
			if o.err != "" || !strings.Contains(o.out, "Invalid cross-device link") || !strings.Contains(o.out, "Seccomp: 2") {
				t.Errorf("no_new_privs %v, uid %d: %q\n%s", nnp, uid, o.err, o.out)
			}
			// CAP_SYS_ADMIN, kept to load the filter, is gone.
			want := "CapPrm: 0000000000000001"
			if uid != 0 {
				want = "CapPrm: 0000000000000000"
			}
			if !strings.Contains(o.out, want) || !strings.Contains(o.out, "CapBnd: 0000000000000001") {
				t.Errorf("no_new_privs %v, uid %d: capabilities\n%s", nnp, uid, o.out)
			}
		}
	}
}

// A filter need allow no more than the program needs, execve, and without
// no_new_privs capset: what the helper does on its way is done before.
func TestSeccompAllowsLittle(t *testing.T) {
	s := newSpec()
	// The static probe: a program that needs execve, write and exit alone would
	// need no C library; cat needs these.
	names := []string{"execve", "brk", "mmap", "mprotect", "munmap", "openat", "close", "fstat", "newfstatat", "read", "write",
		"pread64", "access", "arch_prctl", "set_tid_address", "set_robust_list", "rseq", "prlimit64", "getrandom", "futex",
		"fadvise64", "exit_group", "copy_file_range", "sendfile", "statx", "rt_sigreturn"}
	p := &specs.LinuxSeccomp{
		DefaultAction: specs.ActKillProcess,
		Syscalls:      []specs.LinuxSyscall{{Names: names, Action: specs.ActAllow}},
	}
	tr := trial{spec: s, argv: []string{"/bin/cat", "/proc/sys/kernel/ostype"}}
	tr.options.Filter = compile(t, p)
	s.Process.NoNewPrivileges = true
	tr.run(t).want(t, "Linux")

	s.Process.NoNewPrivileges = false
	if o := tr.run(t); !o.exit.Signaled() {
		t.Errorf("without no_new_privs capset comes after the filter; exit %#x, %q", o.exit, o.err)
	}
	p.Syscalls[0].Names = append(names, "capset")
	tr.options.Filter = compile(t, p)
	tr.run(t).want(t, "Linux")
}

// The listener reaches the parent although the filter also holds the calls
// that the helper talks with.
func TestSeccompNotify(t *testing.T) {
	s := newSpec()
	p := denyUname(specs.ActNotify)
	p.Syscalls[0].ErrnoRet = nil
	p.ListenerPath = "/run/made-up.sock"
	p.Syscalls[0].Names = []string{"uname", "sendmsg", "mkdir"}
	for _, nnp := range []bool{false, true} {
		s.Process.NoNewPrivileges = nnp
		tr := trial{spec: s, script: `uname 2>&1; grep Seccomp: /proc/self/status`}
		tr.options.Filter = compile(t, p)
		if !tr.options.Filter.Notify {
			t.Fatal("the filter has no listener")
		}
		answered := make(chan string, 16)
		tr.notify = func(fd int) { go answer(fd, answered) }
		o := tr.run(t)
		if o.err != "" || !strings.Contains(o.out, "Stale file handle") {
			t.Errorf("no_new_privs %v: %q\n%s", nnp, o.err, o.out)
		}
		if got := <-answered; got != "uname" {
			t.Errorf("no_new_privs %v: the listener saw %s", nnp, got)
		}
	}
}

// The kernel's structs of seccomp_unotify(2).
type notification struct {
	id         uint64
	pid, flags uint32
	nr         int32
	arch       uint32
	ip         uint64
	args       [6]uint64
}

type response struct {
	id    uint64
	val   int64
	err   int32
	flags uint32
}

const (
	ioctlNotifRecv = 0xc0502100
	ioctlNotifSend = 0xc0182101
)

// answer fails every call with ESTALE until the filter's processes are gone.
func answer(fd int, seen chan<- string) {
	defer unix.Close(fd)
	for {
		var n notification
		_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), ioctlNotifRecv, uintptr(unsafe.Pointer(&n)))
		if e == unix.EINTR { // by the Go scheduler
			continue
		}
		if e != 0 {
			close(seen)
			return
		}
		name := "another call"
		if n.nr == unix.SYS_UNAME {
			name = "uname"
		}
		seen <- name
		r := response{id: n.id, err: -int32(unix.ESTALE)}
		unix.Syscall(unix.SYS_IOCTL, uintptr(fd), ioctlNotifSend, uintptr(unsafe.Pointer(&r)))
	}
}

func TestLabelsWithoutModules(t *testing.T) {
	for _, tc := range []struct {
		set  func(*specs.Process)
		want string
	}{
		{func(p *specs.Process) { p.ApparmorProfile = "made-up" }, "AppArmor"},
		{func(p *specs.Process) { p.SelinuxLabel = "a:b:c:s0" }, "SELinux"},
	} {
		s := newSpec()
		tc.set(s.Process)
		_, err := (&trial{spec: s}).phases()
		if err == nil {
			t.Logf("%s is active on this machine", tc.want)
			continue
		}
		if !strings.Contains(err.Error(), tc.want+" is not active") {
			t.Errorf("%v", err)
		}
	}
}

// On a machine with AppArmor, such as the guest.
func TestAppArmor(t *testing.T) {
	if !lsm.AppArmor() {
		t.Skip("needs a kernel with AppArmor")
	}
	s := newSpec()
	s.Process.ApparmorProfile = "unconfined"
	tr := trial{spec: s, script: "cat /proc/self/attr/current"}
	tr.run(t).want(t, "unconfined")
	s.Process.ApparmorProfile = "berth-no-such-profile"
	tr.run(t).refused(t, `apply AppArmor profile "berth-no-such-profile"`)
}

// The helper of a container whose root has no capabilities cannot be looked
// into by the container's own processes; a hook stands for one here. (Root may
// list the numbers of the descriptors, for it owns the folder, unless the
// helper's file has mode 0111 and a user namespace lies between, as in real
// use. Where they lead it cannot see.)
func TestHelperCannotBeInspected(t *testing.T) {
	needRoot(t)
	look := `cat /proc/$PPID/environ >/dev/null && echo environ; (: < /proc/$PPID/mem) && echo mem
		readlink /proc/$PPID/fd/0 && echo link
		[ "$1" ] && ls /proc/$PPID/fd > /dev/null && echo fds; exit 9`
	for _, tc := range []struct {
		name string
		uid  uint32
		user bool
	}{{"root", 0, false}, {"user", 1000, false}, {"root of a user namespace", 0, true}} {
		t.Run(tc.name, func(t *testing.T) {
			s := newSpec()
			tr := trial{spec: s, script: "true"}
			args := []string{"sh", "-c", look, "sh"}
			if tc.user {
				s, tr = inUserNamespace(65536)
			}
			if tc.uid != 0 {
				args = append(args, "list")
			}
			s.Process.User.UID = tc.uid
			tr.between = func(b *plan.Builder) {
				list := []specs.Hook{{Path: "/bin/sh", Args: args}}
				if err := process.Hooks(b, "startContainer", list, specs.State{ID: "c"}); err != nil {
					t.Fatal(err)
				}
			}
			o := tr.run(t)
			o.refused(t, "exit status 9", "Permission denied")
			for _, seen := range []string{"environ", "mem", "link", "fds"} {
				if strings.Contains(o.err, `"`+seen) || strings.Contains(o.err, `\n`+seen) {
					t.Errorf("%s can be seen: %s", seen, o.err)
				}
			}
		})
	}
}
