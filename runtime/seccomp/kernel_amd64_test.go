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
		if _, err := install(f); err != nil {
			return err
		}
		return unix.Exec(os.Args[1], os.Args[1:2], nil)
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
	cmd.Env = []string{childProfile + "=" + profile}
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

const x32Bit = 0x40000000

// TestKernelVerdicts runs programs under filters and looks at how they end.
func TestKernelVerdicts(t *testing.T) {
	text, err := json.Marshal(mobyProfile(t, host))
	if err != nil {
		t.Fatal(err)
	}
	mobyText := string(text)
	all := func(rule string) string { return `{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[` + rule + `]}` }
	on := func(arch, rule string) string {
		return `{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_` + arch + `"],"syscalls":[` + rule + `]}`
	}
	only := func(action, names string) string {
		return `{"defaultAction":"SCMP_ACT_` + action + `","syscalls":[{"names":["execve","exit_group",` + names + `],"action":"SCMP_ACT_ALLOW"}]}`
	}
	rule := func(action, more string) string {
		return `{"names":["sched_yield","personality"],"action":"SCMP_ACT_` + action + `"` + more + `}`
	}
	arg := func(op string, value, two uint64) string {
		return fmt.Sprintf(`,"args":[{"index":0,"value":%d,"valueTwo":%d,"op":"SCMP_CMP_%s"}]`, value, two, op)
	}
	yield := attempt{name: "sched_yield", number: unix.SYS_SCHED_YIELD}
	persona := func(v uint64) attempt {
		return attempt{name: fmt.Sprintf("personality(%#x)", v), number: unix.SYS_PERSONALITY, args: [3]uint64{v}}
	}
	i386 := func(number uint32, args ...uint64) attempt {
		s := attempt{name: fmt.Sprintf("i386 %d%x", number, args), i386: true, number: number}
		copy(s.args[:], args)
		return s
	}
	x32 := attempt{name: "x32 sched_yield", number: x32Bit | unix.SYS_SCHED_YIELD}
	socket := func(family uint64) attempt {
		return attempt{name: fmt.Sprintf("socket(%d)", family), number: unix.SYS_SOCKET, args: [3]uint64{family, 0x5, 0}}
	}
	const killed = "bad system call"
	const all64 = ^uint64(0)
	for _, c := range []struct {
		profile string
		call    attempt
		want    string
	}{
		{all(rule("ERRNO", "")), yield, "exit 1"},
		{all(rule("ERRNO", `,"errnoRet":77`)), yield, "exit 77"},
		{all(rule("LOG", "")), yield, "exit 0"},
		{all(rule("TRACE", "")), yield, "exit 38"}, // ENOSYS: there is no tracer
		{all(rule("TRAP", "")), yield, killed},
		{all(rule("KILL", "")), yield, killed},
		{all(rule("KILL_THREAD", "")), yield, killed},
		{all(rule("KILL_PROCESS", "")), yield, killed},
		{only("ERRNO", `"sched_yield"`), yield, "exit 0"},
		{only("ERRNO", `"uname"`), yield, "exit 1"},
		{only("KILL", `"uname"`), yield, killed},
		{only("LOG", `"uname"`), yield, "exit 0"},
		{only("ERRNO", `"uname"`), attempt{name: "call 5000", number: 5000}, "exit 38"},
		{only("KILL_PROCESS", `"uname"`), attempt{name: "call 5000", number: 5000}, "exit 38"},
		{only("TRAP", `"uname"`), attempt{name: "call 232", number: 232}, "exit 38"},
		{all(rule("ERRNO", "")), x32, killed},
		{on("X32", rule("ERRNO", "")), x32, "exit 1"},
		{all(rule("ERRNO", "")), i386(158), killed},
		{on("X86", rule("ERRNO", "")), i386(158), "exit 1"},
		{on("X86", rule("LOG", "")), i386(158), "exit 0"},

		{all(rule("ERRNO", arg("EQ", all64, 0))), persona(all64), "exit 1"},
		{all(rule("ERRNO", arg("EQ", all64, 0))), persona(0xffffffff), "exit 0"},
		{all(rule("ERRNO", arg("NE", 0xffffffff, 0))), persona(1<<40 | 0xffffffff), "exit 1"},
		{all(rule("ERRNO", arg("GT", 0xffffffff, 0))), persona(0xffffffff), "exit 0"},
		{all(rule("ERRNO", arg("GT", 0xffffffff, 0))), persona(1<<32 | 0xffffffff), "exit 1"},
		{all(rule("ERRNO", arg("GE", 1<<63, 0))), persona(all64), "exit 1"}, // nothing is signed
		{all(rule("ERRNO", arg("LT", 1<<63, 0))), persona(all64), "exit 0"},
		{all(rule("ERRNO", arg("LE", 0xffffffff, 0))), persona(0xffffffff), "exit 1"},
		{all(rule("ERRNO", arg("MASKED_EQ", 0xf00000000f, 0x700000000f))), persona(0x7_ffffffff | 0x70_00000000), "exit 1"},
		{all(rule("ERRNO", arg("MASKED_EQ", 0xf00000000f, 0x700000000f))), persona(0x6_ffffffff | 0x60_00000000), "exit 0"},
		{on("X86", rule("ERRNO", arg("EQ", 1<<32|0xffffffff, 0))), i386(136, 0xffffffff), "exit 1"},

		{mobyText, yield, "exit 0"},
		{mobyText, socket(unix.AF_ALG), "exit 1"},
		{mobyText, socket(unix.AF_VSOCK), "exit 1"},
		{mobyText, socket(99), "exit 97"}, // EAFNOSUPPORT, from the kernel's own socket
		{mobyText, attempt{name: "umount2", number: unix.SYS_UMOUNT2}, "exit 1"},
		{mobyText, attempt{name: "clone3", number: unix.SYS_CLONE3}, "exit 38"},
		{mobyText, attempt{name: "clone(NEWUSER)", number: unix.SYS_CLONE, args: [3]uint64{unix.CLONE_NEWUSER}}, "exit 1"},
		{mobyText, attempt{name: "call 5000", number: 5000}, "exit 38"},
		{mobyText, i386(158), "exit 0"},
		{mobyText, i386(359, unix.AF_ALG, 5), "exit 1"},
		{mobyText, i386(52), "exit 1"}, // umount2
		{mobyText, i386(5000), "exit 38"},
	} {
		if got := outcome(t, c.profile, c.call); got != c.want {
			t.Errorf("%s under %.300s: %s, want %s", c.call.name, c.profile, got, c.want)
		}
	}
}
