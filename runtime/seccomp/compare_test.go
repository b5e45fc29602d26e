package seccomp

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	moby "github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

var machines = map[string]*machine{"x86": &x86Machine, "arm": &armMachine}

// mobyProfile is moby's default profile for some capabilities, with the
// architectures of a machine.
func mobyProfile(t testing.TB, m *machine, caps ...string) *specs.LinuxSeccomp {
	t.Helper()
	p, err := moby.GetDefaultProfile(&specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: caps}}})
	if err != nil {
		t.Fatal(err)
	}
	p.Architectures = nil
	for _, s := range m.spaces {
		p.Architectures = append(p.Architectures, s.arch)
	}
	return p
}

// callNumbers are numbers worth trying: every table number of every space and
// its neighbours, and the ends of the spaces.
func callNumbers(m *machine) []uint32 {
	var all []uint32
	for _, s := range m.spaces {
		for n := range uint32(numbers + 8) {
			all = append(all, s.first+n)
		}
		all = append(all, s.last-1, s.last)
	}
	all = append(all, 5000, 0x3fffffff, 0x40000fff, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff)
	slices.Sort(all)
	return slices.Compact(all)
}

func archs(m *machine) []uint32 {
	all := []uint32{unix.AUDIT_ARCH_RISCV64, 0}
	for _, abi := range m.abis {
		all = append(all, abi.audit)
	}
	return all
}

// values are argument values around every value in a profile.
func values(p *specs.LinuxSeccomp) []uint64 {
	all := []uint64{0, 1, 2, 0xffffffff, 1 << 32, 1<<32 + 1, 1 << 63, ^uint64(0)}
	for _, e := range p.Syscalls {
		for _, a := range e.Args {
			for _, v := range []uint64{a.Value, a.ValueTwo} {
				all = append(all, v, v-1, v+1, v|1<<32, v&0xffffffff, ^v)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// trial says which calls of a machine are tried.
type trial struct {
	m       *machine
	random  *rand.Rand
	numbers []uint32
	tries   int // with random arguments, for each number and architecture
}

// tester is what testing.TB and rapid.T have in common here.
type tester interface {
	Helper()
	Fatalf(format string, args ...any)
}

// agree compares a compiled program with the reference, call by call, and
// returns how many it compared.
func (x trial) agree(t tester, p *specs.LinuxSeccomp) int {
	t.Helper()
	f, err := compileFor(x.m, p)
	ref, vals := newReference(x.m, p), values(p)
	contradicts, tried := false, 0
	if err == nil {
		if bad := verify(f.Insns); bad != nil {
			t.Fatalf("the kernel would refuse the program: %v", bad)
		}
	}
	try := func(c *call) {
		want, sure := ref.verdict(c)
		contradicts = contradicts || !sure
		if err != nil || !sure {
			return
		}
		tried++
		if got, _ := run(f.Insns, c); got != want {
			text, _ := json.Marshal(p)
			t.Fatalf("arch %#x call %#x args %#x: program says %#x, reference %#x\n%s", c.arch, c.number, c.args, got, want, text)
		}
	}
	for _, arch := range archs(x.m) {
		for _, number := range x.numbers {
			for range x.tries {
				c := &call{number: number, arch: arch, ip: x.random.Uint64()}
				for i := range c.args {
					c.args[i] = vals[x.random.IntN(len(vals))]
				}
				try(c)
			}
		}
	}
	if (err != nil) != contradicts {
		text, _ := json.Marshal(p)
		t.Fatalf("compile: %v; reference sees a contradiction: %v\n%s", err, contradicts, text)
	}
	return tried
}

func TestMobyProfileAgreesWithReference(t *testing.T) {
	tries := 5
	if os.Getenv("BERTH_SWEEP") == "1" {
		tries = 50
	}
	for name, m := range machines {
		for _, caps := range [][]string{nil, {"CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_BPF", "CAP_SYSLOG"}} {
			p := mobyProfile(t, m, caps...)
			tried := trial{m, rand.New(rand.NewPCG(1, 2)), callNumbers(m), tries}.agree(t, p)
			f, _ := compileFor(m, p)
			t.Logf("%s, %d capabilities: %d calls, %d instructions", name, len(caps), tried, len(f.Insns))
		}
	}
}

var (
	someNames = []string{
		"read", "write", "openat", "socket", "clone", "personality", "ioctl", "semop", "shmget", "accept", "socketcall", "ipc",
		"waitpid", "rt_sigaction", "execveat", "no_such_call", "semtimedop", "recv", "arch_prctl", "clone3", "set_tls", "io_setup",
		"restart_syscall", "cacheflush", "listns",
	}
	someValues = []uint64{0, 1, 2, 3, 4, 8, 0x10, 0xfffffffe, 0xffffffff, 1 << 32, 1<<32 + 3, 2<<32 + 2, 1 << 63, 1<<64 - 2, 1<<64 - 1}
)

// profiles generates profiles that compile unless they contradict themselves.
func profiles(m *machine, mixed bool) *rapid.Generator[*specs.LinuxSeccomp] {
	return rapid.Custom(func(t *rapid.T) *specs.LinuxSeccomp {
		action := rapid.SampledFrom([]specs.LinuxSeccompAction{
			specs.ActAllow, specs.ActErrno, specs.ActKillProcess, specs.ActTrap, specs.ActLog, specs.ActKill, specs.ActTrace,
		})
		p := &specs.LinuxSeccomp{DefaultAction: action.Draw(t, "default"), ListenerPath: "/run/agent"}
		for s := range m.spaces {
			if rapid.Bool().Draw(t, "listed") {
				p.Architectures = append(p.Architectures, m.spaces[s].arch)
			}
		}
		one := action.Draw(t, "action")
		for range rapid.IntRange(0, 5).Draw(t, "entries") {
			e := specs.LinuxSyscall{Action: one}
			if mixed {
				e.Action = action.Draw(t, "action")
			}
			if e.Action == specs.ActErrno && rapid.Bool().Draw(t, "errno") {
				ret := rapid.SampledFrom([]uint{1, 22, 38, 4095}).Draw(t, "errnoRet")
				e.ErrnoRet = &ret
			}
			e.Names = rapid.SliceOfN(rapid.SampledFrom(someNames), 1, 3).Draw(t, "names")
			for range rapid.IntRange(0, 3).Draw(t, "args") {
				e.Args = append(e.Args, specs.LinuxSeccompArg{
					Index:    rapid.UintRange(0, 3).Draw(t, "index"),
					Op:       specs.LinuxSeccompOperator(rapid.SampledFrom(Operators()).Draw(t, "op")),
					Value:    rapid.SampledFrom(someValues).Draw(t, "value"),
					ValueTwo: rapid.SampledFrom(someValues).Draw(t, "valueTwo"),
				})
			}
			p.Syscalls = append(p.Syscalls, e)
		}
		return p
	})
}

// namedNumbers are the numbers of the calls that a profile names, and others.
func namedNumbers(m *machine, p *specs.LinuxSeccomp) []uint32 {
	all := []uint32{0, 1, 300, 5000, 0x3fffffff, 0x40000000, 0x40000fff, 0x0f0fff, 0xfffffffe, 0xffffffff}
	for _, e := range p.Syscalls {
		for _, name := range append(e.Names, "socketcall", "ipc") {
			if r := m.lookup(name); r != nil {
				for s, n := range r.number {
					if n >= 0 {
						all = append(all, m.spaces[s].first+uint32(n), m.spaces[s].first+uint32(n)+1)
					}
				}
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func TestRandomProfilesAgreeWithReference(t *testing.T) {
	for name, m := range machines {
		for kind, mixed := range map[string]bool{"one action": false, "mixed actions": true} {
			t.Run(name+", "+kind, func(t *testing.T) {
				gen := profiles(m, mixed)
				rapid.Check(t, func(t *rapid.T) {
					p := gen.Draw(t, "profile")
					random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
					trial{m, random, namedNumbers(m, p), 20}.agree(t, p)
				})
			})
		}
	}
}
