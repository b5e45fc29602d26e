package seccomp

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"unsafe"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// childProfile names the variable by which a test starts this binary again, to
// install the profile in it and become the program in its first argument.
const childProfile = "BERTH_TEST_SECCOMP_PROFILE"

func TestMain(m *testing.M) {
	text, ok := os.LookupEnv(childProfile)
	if !ok {
		os.Exit(m.Run())
	}
	runtime.LockOSThread()
	err := func() error {
		p := &specs.LinuxSeccomp{}
		if err := json.Unmarshal([]byte(text), p); err != nil {
			return err
		}
		f, err := Compile(p)
		if err != nil {
			return err
		}
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return err
		}
		// All is laid out before: a profile may kill for any call of the runtime's.
		path, err := syscall.BytePtrFromString(os.Args[1])
		if err != nil {
			return err
		}
		argv, envp := [2]*byte{path, nil}, [1]*byte{}
		if _, err := install(f); err != nil {
			return err
		}
		_, _, errno := unix.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(path)), uintptr(unsafe.Pointer(&argv)), uintptr(unsafe.Pointer(&envp)))
		return errno
	}()
	fmt.Fprintln(os.Stderr, err)
	os.Exit(99)
}

// attempt is a call that a small program makes; it exits with what came back,
// an errno or minus a result, in eight bits.
type attempt struct {
	name   string
	i386   bool
	number uint32
	args   [3]uint64
}

// code is the machine code of the program: load registers, call, negate the
// result, exit.
func (s *attempt) code() []byte {
	word := func(b []byte, v uint32) []byte { return binary.LittleEndian.AppendUint32(b, v) }
	b := word([]byte{0xb8}, s.number) // mov eax, number
	if s.i386 {
		for i, mov := range []byte{0xbb, 0xb9, 0xba} { // mov ebx/ecx/edx, arg
			b = word(append(b, mov), uint32(s.args[i]))
		}
		b = append(b, 0xcd, 0x80, 0x89, 0xc3, 0xf7, 0xdb) // int 0x80; mov ebx, eax; neg ebx
		return append(word(append(b, 0xb8), 1), 0xcd, 0x80)
	}
	for i, mov := range []byte{0xbf, 0xbe, 0xba} { // mov rdi/rsi/rdx, arg
		b = binary.LittleEndian.AppendUint64(append(b, 0x48, mov), s.args[i])
	}
	b = append(b, 0x0f, 0x05, 0x89, 0xc7, 0xf7, 0xdf) // syscall; mov edi, eax; neg edi
	return append(word(append(b, 0xb8), 231), 0x0f, 0x05)
}

// elf wraps the code into an executable of one loadable segment.
func (s *attempt) elf() []byte {
	const base = 0x400000
	code, le := s.code(), binary.LittleEndian
	ident := []byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 15: 0}
	if !s.i386 {
		b := le.AppendUint16(ident, 2)                    // ET_EXEC
		b = le.AppendUint32(le.AppendUint16(b, 62), 1)    // EM_X86_64
		b = le.AppendUint64(b, base+120)                  // entry
		b = le.AppendUint64(le.AppendUint64(b, 64), 0)    // program headers at 64, no sections
		b = le.AppendUint32(b, 0)                         // flags
		for _, v := range []uint16{64, 56, 1, 64, 0, 0} { // sizes and counts
			b = le.AppendUint16(b, v)
		}
		b = le.AppendUint32(le.AppendUint32(b, 1), 5) // PT_LOAD, readable and executable
		for _, v := range []uint64{0, base, base, 120 + uint64(len(code)), 120 + uint64(len(code)), 4096} {
			b = le.AppendUint64(b, v)
		}
		return append(b, code...)
	}
	ident[4] = 1
	b := le.AppendUint16(ident, 2)
	b = le.AppendUint32(le.AppendUint16(b, 3), 1) // EM_386
	for _, v := range []uint32{base + 84, 52, 0, 0} {
		b = le.AppendUint32(b, v)
	}
	for _, v := range []uint16{52, 32, 1, 40, 0, 0} {
		b = le.AppendUint16(b, v)
	}
	for _, v := range []uint32{1, 0, base, base, 84 + uint32(len(code)), 84 + uint32(len(code)), 5, 4096} {
		b = le.AppendUint32(b, v)
	}
	return append(b, code...)
}

// outcome runs a call under a profile: "exit 0" is a call that returned 0.
func outcome(t *testing.T, profile string, s attempt) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "call")
	if err := os.WriteFile(file, s.elf(), 0o755); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, file)
	// No signal of the scheduler: its return is a system call that may be forbidden.
	cmd.Env = []string{childProfile + "=" + profile, "GODEBUG=asyncpreemptoff=1", "GOGC=off"}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signaled() {
		return status.Signal().String()
	}
	if cmd.ProcessState.ExitCode() == 99 {
		t.Fatalf("install: %s", out)
	}
	return fmt.Sprintf("exit %d", cmd.ProcessState.ExitCode())
}

const (
	x32Bit = 0x40000000
	killed = "bad system call" // SIGSYS
)

// kernelCase is a call under a profile and how the program ends.
type kernelCase struct {
	profile string
	call    attempt
	want    string
}

func tryAll(t *testing.T, cases []kernelCase) {
	t.Helper()
	short := noI386(t)
	for _, c := range cases {
		if short && c.call.i386 {
			continue
		}
		if got := outcome(t, c.profile, c.call); got != c.want {
			t.Errorf("%s under %.300s: %s, want %s", c.call.name, c.profile, got, c.want)
		}
	}
}

// noI386 reports, and says, that this machine runs no programs of 32 bits: a
// hypervisor may leave that out, and then nobody makes such calls here.
func noI386(t *testing.T) bool {
	t.Helper()
	s := i386("exit", 1)
	file := filepath.Join(t.TempDir(), "call")
	if err := os.WriteFile(file, s.elf(), 0o755); err != nil {
		t.Fatal(err)
	}
	err := exec.Command(file).Run()
	if errors.Is(err, syscall.ENOEXEC) {
		t.Log("not tried: calls of i386, as this machine runs no program of it")
		return true
	}
	return false
}

func native(name string, number uint32, args ...uint64) attempt {
	a := attempt{name: fmt.Sprintf("%s%#x", name, args), number: number}
	copy(a.args[:], args)
	return a
}

func i386(name string, number uint32, args ...uint64) attempt {
	a := native("i386 "+name, number, args...)
	a.i386 = true
	return a
}

// allBut allows everything but for one rule, on x86_64 and the architectures.
func allBut(entry string, archs ...string) string {
	list, err := json.Marshal(archs)
	if err != nil {
		panic(err)
	}
	return `{"defaultAction":"SCMP_ACT_ALLOW","architectures":` + string(list) + `,"syscalls":[` + entry + `]}`
}

// entry is a rule for sched_yield and personality.
func entry(action, more string) string {
	return `{"names":["sched_yield","personality"],"action":"SCMP_ACT_` + action + `"` + more + `}`
}

// TestKernelVerdicts runs programs under filters and looks at how they end.
func TestKernelVerdicts(t *testing.T) {
	only := func(action, names string) string {
		return `{"defaultAction":"SCMP_ACT_` + action + `","syscalls":[{"names":["execve","exit_group",` + names + `],"action":"SCMP_ACT_ALLOW"}]}`
	}
	yield := native("sched_yield", unix.SYS_SCHED_YIELD)
	x32 := native("x32 sched_yield", x32Bit|unix.SYS_SCHED_YIELD)
	tryAll(t, []kernelCase{
		{allBut(entry("ERRNO", "")), yield, "exit 1"},
		{allBut(entry("ERRNO", `,"errnoRet":77`)), yield, "exit 77"},
		{allBut(entry("LOG", "")), yield, "exit 0"},
		{allBut(entry("TRACE", "")), yield, "exit 38"}, // ENOSYS: there is no tracer
		{allBut(entry("TRAP", "")), yield, killed},
		{allBut(entry("KILL", "")), yield, killed},
		{allBut(entry("KILL_THREAD", "")), yield, killed},
		{allBut(entry("KILL_PROCESS", "")), yield, killed},
		{only("ERRNO", `"sched_yield"`), yield, "exit 0"},
		{only("ERRNO", `"uname"`), yield, "exit 1"},
		{only("KILL", `"uname"`), yield, killed},
		{only("LOG", `"uname"`), yield, "exit 0"},
		{only("ERRNO", `"uname"`), native("call 5000", 5000), "exit 38"},
		{only("KILL_PROCESS", `"uname"`), native("call 5000", 5000), "exit 38"},
		{only("TRAP", `"uname"`), native("call 232", 232), "exit 38"},
		{allBut(entry("ERRNO", "")), x32, killed},
		{allBut(entry("ERRNO", ""), "SCMP_ARCH_X32"), x32, "exit 1"},
		{allBut(entry("ERRNO", "")), i386("sched_yield", 158), killed},
		{allBut(entry("ERRNO", ""), "SCMP_ARCH_X86"), i386("sched_yield", 158), "exit 1"},
		{allBut(entry("LOG", ""), "SCMP_ARCH_X86"), i386("sched_yield", 158), "exit 0"},
	})
}

// TestKernelArguments compares arguments; personality(2) ignores the high word.
func TestKernelArguments(t *testing.T) {
	arg := func(op string, value, two uint64) string {
		return allBut(entry("ERRNO", fmt.Sprintf(`,"args":[{"index":0,"value":%d,"valueTwo":%d,"op":"SCMP_CMP_%s"}]`, value, two, op)), "SCMP_ARCH_X86")
	}
	persona := func(v uint64) attempt { return native("personality", unix.SYS_PERSONALITY, v) }
	const all = ^uint64(0)
	const mask, masked = 0xf00000000f, 0x700000000f
	tryAll(t, []kernelCase{
		{arg("EQ", all, 0), persona(all), "exit 1"},
		{arg("EQ", all, 0), persona(0xffffffff), "exit 0"},
		{arg("NE", 0xffffffff, 0), persona(1<<40 | 0xffffffff), "exit 1"},
		{arg("GT", 0xffffffff, 0), persona(0xffffffff), "exit 0"},
		{arg("GT", 0xffffffff, 0), persona(1<<32 | 0xffffffff), "exit 1"},
		{arg("GE", 1<<63, 0), persona(all), "exit 1"}, // nothing is signed
		{arg("LT", 1<<63, 0), persona(all), "exit 0"},
		{arg("LE", 0xffffffff, 0), persona(0xffffffff), "exit 1"},
		{arg("MASKED_EQ", mask, masked), persona(0x77_ffffffff), "exit 1"},
		{arg("MASKED_EQ", mask, masked), persona(0x67_ffffffff), "exit 0"},
		{arg("EQ", 1<<32|0xffffffff, 0), i386("personality", 136, 0xffffffff), "exit 1"},
	})
}

// TestKernelMobyProfile tries what moby's default profile is there for.
func TestKernelMobyProfile(t *testing.T) {
	text, err := json.Marshal(mobyProfile(t, host))
	if err != nil {
		t.Fatal(err)
	}
	moby := string(text)
	socket := func(family uint64) attempt { return native("socket", unix.SYS_SOCKET, family, 5) }
	tryAll(t, []kernelCase{
		{moby, native("sched_yield", unix.SYS_SCHED_YIELD), "exit 0"},
		{moby, socket(unix.AF_ALG), "exit 1"},
		{moby, socket(unix.AF_VSOCK), "exit 1"},
		{moby, socket(99), "exit 97"}, // EAFNOSUPPORT: it came through to the kernel's socket
		{moby, native("umount2", unix.SYS_UMOUNT2), "exit 1"},
		{moby, native("clone3", unix.SYS_CLONE3), "exit 38"},
		{moby, native("clone", unix.SYS_CLONE, unix.CLONE_NEWUSER), "exit 1"},
		{moby, native("call 5000", 5000), "exit 38"},
		{moby, i386("sched_yield", 158), "exit 0"},
		{moby, i386("socket", 359, unix.AF_ALG, 5), "exit 1"},
		{moby, i386("umount2", 52), "exit 1"},
		{moby, i386("call 5000", 5000), "exit 38"},
	})
}
