package seccomp

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// parse reads a profile as it stands in config.json.
func parse(t testing.TB, text string) *specs.LinuxSeccomp {
	t.Helper()
	p := &specs.LinuxSeccomp{}
	if err := json.Unmarshal([]byte(text), p); err != nil {
		t.Fatalf("profile %s: %v", text, err)
	}
	return p
}

func TestNoProfileIsNoFilter(t *testing.T) {
	for _, p := range []*specs.LinuxSeccomp{nil, {}, {Architectures: []specs.Arch{specs.ArchX86}}} {
		if f, err := Compile(p); f != nil || err != nil {
			t.Errorf("Compile(%+v) = %v, %v, want no filter", p, f, err)
		}
	}
}

func TestErrorsNameTheField(t *testing.T) {
	long := strings.Repeat("x", 5000)
	many := func(n int, s string) string { return strings.TrimSuffix(strings.Repeat(s+",", n), ",") }
	for _, c := range []struct{ profile, want string }{
		{`{"defaultAction":"SCMP_ACT_NO"}`, `linux.seccomp.defaultAction: "SCMP_ACT_NO" is not an action`},
		{`{"defaultAction":"SCMP_ACT_NOTIFY","listenerPath":"/a"}`, `linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot be the default: init itself must get past the filter`},
		{`{"syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW"}]}`, `linux.seccomp.defaultAction: "" is not an action`},
		{`{"defaultAction":"SCMP_ACT_KILL","defaultErrnoRet":1}`, `linux.seccomp.defaultErrnoRet: 1 is set, but the action returns no errno`},
		{`{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":65536}`, `linux.seccomp.defaultErrnoRet: 65536 is out of range 0–65535`},
		{`{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86","VAX"]}`, `linux.seccomp.architectures[1]: "VAX" is not an architecture`},
		{`{"defaultAction":"SCMP_ACT_ALLOW","architectures":[` + many(65, `"SCMP_ARCH_X86"`) + `]}`, `linux.seccomp.architectures: 65 entries are more than 64`},
		{`{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_LOG","` + long + `"]}`, `linux.seccomp.flags[1]: "` + long[:64] + `"… is not a known flag`},
		{`{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}`, `linux.seccomp.flags[0]: SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV needs a rule with SCMP_ACT_NOTIFY`},
		{`{"defaultAction":"SCMP_ACT_ALLOW","listenerMetadata":"m"}`, `linux.seccomp.listenerMetadata: is set without listenerPath`},
		{`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mknod"],"action":"SCMP_ACT_NOTIFY"}]}`, `linux.seccomp.listenerPath: SCMP_ACT_NOTIFY needs one`},
		{`{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/a","syscalls":[{"names":["read"],"action":"SCMP_ACT_NOTIFY"},{"names":["mknod","write"],"action":"SCMP_ACT_NOTIFY"}]}`,
			`linux.seccomp.syscalls[1].names[1]: write cannot have SCMP_ACT_NOTIFY: init must write before anyone listens`},
		{`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"x"}]}`, `linux.seccomp.syscalls[0].action: "x" is not an action`},
		{`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_TRAP","errnoRet":3}]}`, `linux.seccomp.syscalls[0].errnoRet: 3 is set, but the action returns no errno`},
		{`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read",""],"action":"SCMP_ACT_TRAP"}]}`, `linux.seccomp.syscalls[0].names[1]: is empty`},
		{`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":[` + many(65537, `"q"`) + `],"action":"SCMP_ACT_TRAP"}]}`, `linux.seccomp.syscalls[0].names: more than 65536 names in all`},
		{`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_TRAP","args":[{"index":6,"value":1,"op":"SCMP_CMP_EQ"}]}]}`,
			`linux.seccomp.syscalls[0].args[0].index: 6 is out of range 0–5`},
		{`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_TRAP","args":[{"index":5,"value":1,"op":"EQ"}]}]}`,
			`linux.seccomp.syscalls[0].args[0].op: "EQ" is not an operator`},
		{`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_TRAP","args":[` + many(33, `{"index":5,"value":1,"op":"SCMP_CMP_EQ"}`) + `]}]}`,
			`linux.seccomp.syscalls[0].args: 33 conditions are more than 32`},
		{`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_TRAP","args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"}]},
			{"names":["read"],"action":"SCMP_ACT_LOG","args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"}]}]}`,
			`linux.seccomp.syscalls[1].args: contradict linux.seccomp.syscalls[0]: for read the arguments of both can match, with different actions`},
	} {
		if f, err := Compile(parse(t, c.profile)); err == nil || err.Error() != c.want {
			t.Errorf("%.200s\ngot  %v %v\nwant %s", c.profile, f, err, c.want)
		}
	}
}

// argProfile has n rules with the same call, and values that share no test.
func argProfile(n int) *specs.LinuxSeccomp {
	p := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno}
	for i := range n {
		p.Syscalls = append(p.Syscalls, specs.LinuxSyscall{
			Names: []string{"ioctl"}, Action: specs.ActAllow,
			Args: []specs.LinuxSeccompArg{{Index: 1, Op: specs.OpEqualTo, Value: uint64(i)<<32 | uint64(i) + 7}},
		})
	}
	return p
}

func TestProgramOverKernelLimit(t *testing.T) {
	f, err := Compile(argProfile(900))
	if err != nil || len(f.Insns) < 2000 {
		t.Errorf("900 rules: %v", err)
	}
	_, err = Compile(argProfile(2000))
	if want := "linux.seccomp.syscalls: the program would be over the kernel's limit of 4096 instructions"; err == nil || err.Error() != want {
		t.Errorf("2000 rules: %v, want %s", err, want)
	}
	p := argProfile(300)
	for i := range p.Syscalls {
		p.Syscalls[i].Names = slices.Repeat([]string{"ioctl"}, 200)
	}
	p.Syscalls = slices.Repeat(p.Syscalls, 2)
	if _, err := Compile(p); err == nil || !strings.Contains(err.Error(), "times the calls they name, are more than 65536") && !strings.Contains(err.Error(), "names in all") {
		t.Errorf("120000 pairs: %v", err)
	}
}

// cpuTime is what this process has spent so far.
func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestHostileProfilesEndSoon: profiles at the limits, each built to make one
// part of the compiler work hard, end soon. The slowest takes 0.7 to 1.3 s of processor
// on machines where it was seen.
func TestHostileProfilesEndSoon(t *testing.T) {
	const (
		most  = maxArgRules - 1
		limit = 5 * time.Second
	)
	actions := []specs.LinuxSeccompAction{specs.ActErrno, specs.ActTrap}
	rule := func(action specs.LinuxSeccompAction, args ...specs.LinuxSeccompArg) specs.LinuxSyscall {
		return specs.LinuxSyscall{Names: []string{"ioctl"}, Action: action, Args: args}
	}
	for name, entry := range map[string]func(i int) specs.LinuxSyscall{
		"one range in pieces": func(i int) specs.LinuxSyscall {
			return rule(specs.ActErrno, specs.LinuxSeccompArg{Index: 1, Op: specs.OpEqualTo, Value: uint64(i * 7919 % most)})
		},
		"no neighbours": func(i int) specs.LinuxSyscall {
			return rule(specs.ActErrno, specs.LinuxSeccompArg{Index: 1, Op: specs.OpEqualTo, Value: uint64(i) << 33})
		},
		"overlapping bounds": func(i int) specs.LinuxSyscall {
			return rule(actions[i%2], specs.LinuxSeccompArg{Index: 1, Op: specs.OpGreaterEqual, Value: uint64(i*7919) << 20})
		},
		"masks": func(i int) specs.LinuxSyscall {
			return rule(actions[i%2], specs.LinuxSeccompArg{Index: 1, Op: specs.OpMaskedEqual, Value: ^uint64(i), ValueTwo: uint64(i * 7919)})
		},
		"six conditions": func(i int) specs.LinuxSyscall {
			r := rule(actions[i%2])
			for arg := range uint(6) {
				r.Args = append(r.Args, specs.LinuxSeccompArg{Index: arg, Op: specs.OpNotEqual, Value: uint64(i)})
			}
			return r
		},
	} {
		p := &specs.LinuxSeccomp{DefaultAction: specs.ActAllow}
		for i := range most {
			p.Syscalls = append(p.Syscalls, entry(i))
		}
		begin := cpuTime(t)
		f, err := Compile(p)
		spent := cpuTime(t) - begin
		if t.Logf("%s: %s", name, spent); spent > limit {
			t.Errorf("%s: %s are more than %s", name, spent, limit)
		}
		if err == nil {
			err = verify(f.Insns)
		} else if strings.Contains(err.Error(), "over the kernel's limit") {
			err = nil
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFlags(t *testing.T) {
	notify := `,"listenerPath":"/a","syscalls":[{"names":["mknod"],"action":"SCMP_ACT_NOTIFY"}]`
	for _, c := range []struct {
		rest   string
		flags  uint32
		notify bool
	}{
		{``, unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW, false},
		{`,"flags":[]`, 0, false},
		{`,"flags":["SECCOMP_FILTER_FLAG_TSYNC"]`, 0, false},
		{`,"flags":["SECCOMP_FILTER_FLAG_LOG","SECCOMP_FILTER_FLAG_SPEC_ALLOW"]`, unix.SECCOMP_FILTER_FLAG_LOG | unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW, false},
		{notify, unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW | unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, true},
		{`,"flags":["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]` + notify, unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV | unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, true},
	} {
		f, err := Compile(parse(t, `{"defaultAction":"SCMP_ACT_ALLOW"`+c.rest+`}`))
		if err != nil || f.Flags != c.flags || f.Notify != c.notify {
			t.Errorf("%s: %+v %v, want flags %#x, notify %v", c.rest, f, err, c.flags, c.notify)
		}
	}
}

func TestListsForFeatures(t *testing.T) {
	for name, list := range map[string][]string{"actions": Actions(), "operators": Operators(), "architectures": Architectures(), "flags": KnownFlags()} {
		if !slices.IsSorted(list) || len(slices.Compact(slices.Clone(list))) != len(list) {
			t.Errorf("%s are not in order: %v", name, list)
		}
	}
	for _, a := range Actions() {
		if _, ok := actionVerdict(specs.LinuxSeccompAction(a)); !ok {
			t.Errorf("action %s is listed, not known", a)
		}
	}
	for _, o := range Operators() {
		if _, ok := parseOperator(specs.LinuxSeccompOperator(o)); !ok {
			t.Errorf("operator %s is listed, not known", o)
		}
	}
	for _, a := range Architectures() {
		if _, err := Compile(&specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Architectures: []specs.Arch{specs.Arch(a)}}); err != nil {
			t.Errorf("architecture %s: %v", a, err)
		}
	}
}

func TestTables(t *testing.T) {
	for name, m := range machines {
		for i := range m.rows {
			r := &m.rows[i]
			if m.lookup(r.name) != r {
				t.Errorf("%s: %s is not found", name, r.name)
			}
			for s, n := range r.number {
				if n >= numbers || n < -1 {
					t.Errorf("%s: %s has number %d in space %d", name, r.name, n, s)
				}
			}
		}
		for _, no := range []string{"", "no_such_call", "READ", "read ", "arch_specific_syscall"} {
			if m.lookup(no) != nil {
				t.Errorf("%s: %q is found", name, no)
			}
		}
	}
	// Some of asm/unistd_64.h, _x32.h, _32.h and asm-generic/unistd.h, and the newest.
	for name, want := range map[string][spaces]int16{
		"read": {0, 0, 3}, "ioctl": {16, 514, 54}, "execve": {59, 520, 11}, "waitpid": {-1, -1, 7}, "recv": {-1, -1, -1},
		"preadv2": {327, 546, 378}, "clone3": {435, 435, 435}, "uretprobe": {335, 335, -1}, "listns": {470, 470, 470}, "io_pgetevents_time64": {-1, -1, 416},
	} {
		if r := x86Machine.lookup(name); r == nil || r.number != want {
			t.Errorf("x86 %s: %v, want %v", name, r, want)
		}
	}
	for name, want := range map[string][spaces]int16{
		"read": {63, 3, -1}, "openat": {56, 322, -1}, "cacheflush": {-1, -1, 2}, "set_tls": {-1, -1, 5}, "file_getattr": {468, 468, -1}, "mmap2": {-1, 192, -1},
	} {
		if r := armMachine.lookup(name); r == nil || r.number != want {
			t.Errorf("arm %s: %v, want %v", name, r, want)
		}
	}
}

// disassemble writes a program one instruction a line, jumps as line numbers.
func disassemble(program []unix.SockFilter) string {
	var b strings.Builder
	for i, in := range program {
		jump := func(op string) string {
			return fmt.Sprintf("%-5s %#x yes %d no %d", op, in.K, i+1+int(in.Jt), i+1+int(in.Jf))
		}
		line := fmt.Sprintf("code %#x", in.Code)
		switch in.Code {
		case loadWord:
			line = fmt.Sprintf("ld    [%d]", in.K)
		case andWith:
			line = fmt.Sprintf("and   %#x", in.K)
		case returnValue:
			line = fmt.Sprintf("ret   %#x", in.K)
		case jumpAlways:
			line = fmt.Sprintf("ja    %d", i+1+int(in.K))
		case jumpEqual:
			line = jump("jeq")
		case jumpAtLeast:
			line = jump("jge")
		case jumpAnyBit:
			line = jump("jset")
		}
		fmt.Fprintf(&b, "%3d  %s\n", i, line)
	}
	return b.String()
}

// TestGolden shows the whole program of a small profile; BERTH_UPDATE=1 writes it anew.
func TestGolden(t *testing.T) {
	text, err := os.ReadFile("testdata/small.json")
	if err != nil {
		t.Fatal(err)
	}
	for name, m := range machines {
		f, err := compileFor(m, parse(t, string(text)))
		if err != nil {
			t.Fatal(err)
		}
		file, got := filepath.Join("testdata", "small."+name+".txt"), disassemble(f.Insns)
		if os.Getenv("BERTH_UPDATE") != "" {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil || got != string(want) {
			t.Errorf("%s: %v, got\n%s", file, err, got)
		}
		again, _ := compileFor(m, parse(t, string(text)))
		if !slices.Equal(again.Insns, f.Insns) {
			t.Errorf("%s: a second compilation differs", name)
		}
	}
}

func BenchmarkCompileMoby(b *testing.B) {
	p := mobyProfile(b, &x86Machine, "CAP_CHOWN")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := compileFor(&x86Machine, p); err != nil {
			b.Fatal(err)
		}
	}
}
