package devfilter

import (
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// access is one request of the kernel.
type request struct {
	kind         byte
	major, minor int64
	bits         uint8
}

// model is the meaning of a list: for each right, the last rule that speaks of
// it; else no.
func model(rules []Rule, q request) bool {
	for _, bit := range []uint8{Mknod, Read, Write} {
		if q.bits&bit == 0 {
			continue
		}
		ok := false
		for _, r := range rules {
			if r.Access&bit != 0 && (r.Type == 'a' || r.Type == q.kind) &&
				(r.Major == Any || r.Major == q.major) && (r.Minor == Any || r.Minor == q.minor) {
				ok = r.Allow
			}
		}
		if !ok {
			return false
		}
	}
	return true
}

// interpret runs a program as the kernel would.
func interpret(t testing.TB, p []insn, q request) bool {
	if p == nil {
		return true
	}
	kind := uint64(2)
	if q.kind == 'b' {
		kind = 1
	}
	ctx := map[int16]uint64{offAccessType: uint64(q.bits)<<16 | kind, offMajor: uint64(q.major), offMinor: uint64(q.minor)}
	var reg [11]uint64
	for pc := 0; pc >= 0 && pc < len(p); pc++ {
		i := p[pc]
		dst, src, imm := i.regs&15, i.regs>>4, uint64(int64(i.imm))
		switch i.code {
		case opLoadW:
			if src != rCtx {
				t.Fatalf("insn %d: load from r%d", pc, src)
			}
			reg[dst] = ctx[i.off] & 0xffffffff
		case opMov:
			reg[dst] = imm
		case opMovReg:
			reg[dst] = reg[src]
		case opAnd:
			reg[dst] &= imm
		case opRsh:
			reg[dst] >>= imm
		case opJa:
			pc += int(i.off)
		case opJeq:
			if reg[dst] == imm {
				pc += int(i.off)
			}
		case opJne:
			if reg[dst] != imm {
				pc += int(i.off)
			}
		case opExit:
			return reg[r0] == 1
		default:
			t.Fatalf("insn %d: opcode %#x", pc, i.code)
		}
	}
	t.Fatal("the program runs off its end")
	return false
}

// kernelV1 is what device_cgroup.c does with a whole access.
func kernelV1(s Set, q request) bool {
	for _, e := range s.Except {
		if e.Type != q.kind || (e.Major != Any && e.Major != q.major) || (e.Minor != Any && e.Minor != q.minor) {
			continue
		}
		if s.AllowAll && e.Access&q.bits != 0 { // partial match denies
			return false
		}
		if !s.AllowAll && q.bits&^e.Access == 0 { // full match allows
			return true
		}
	}
	return s.AllowAll
}

func randomRules(r *rand.Rand) []Rule {
	num := func() int64 { return []int64{Any, 1, 2, 3}[r.IntN(4)] }
	rules := make([]Rule, r.IntN(8))
	for i := range rules {
		rules[i] = Rule{r.IntN(2) == 0, "abc"[r.IntN(3)], num(), num(), uint8(r.IntN(7) + 1)}
		if r.IntN(6) == 0 {
			rules[i] = Rule{r.IntN(2) == 0, 'a', Any, Any, all}
		}
	}
	return rules
}

func everyRequest(f func(request)) {
	for _, kind := range []byte{'b', 'c'} {
		for major := int64(0); major < 5; major++ {
			for minor := int64(0); minor < 5; minor++ {
				for bits := uint8(1); bits <= all; bits++ {
					f(request{kind, major, minor, bits})
				}
			}
		}
	}
}

func TestProgramMeansWhatTheListMeans(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		rules := randomRules(r)
		p := Program(rules)
		everyRequest(func(q request) {
			if got, want := interpret(t, p, q), model(rules, q); got != want {
				t.Fatalf("rules %v\nrequest %+v: program says %v, list %v", rules, q, got, want)
			}
		})
	}
}

// A v1 set never allows what the list denies; where it exists at all, it
// differs only when several exceptions would have to grant one open together.
func TestV1SetIsNeverWider(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	sets := 0
	for range 5000 {
		rules := randomRules(r)
		s, err := NewSet(rules)
		if err != nil {
			continue
		}
		sets++
		everyRequest(func(q request) {
			got, want := kernelV1(s, q), model(rules, q)
			if got && !want {
				t.Fatalf("rules %v\nset %+v\nrequest %+v is allowed", rules, s, q)
			}
			if single := q.bits&(q.bits-1) == 0; single && got != want {
				t.Fatalf("rules %v\nset %+v\nrequest %+v is denied", rules, s, q)
			}
		})
	}
	if sets < 1000 {
		t.Errorf("only %d of 5000 lists can be expressed", sets)
	}
}

// A change passes only through states that one of the two lists allows.
func TestV1ChangeNeverWidens(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	n := 0
	for range 4000 {
		from, err1 := NewSet(randomRules(r))
		to, err2 := NewSet(randomRules(r))
		if err1 != nil || err2 != nil {
			continue
		}
		ops, frozen := to.Change(from)
		now := Set{from.AllowAll, append([]Rule(nil), from.Except...)}
		for i, op := range ops {
			now = apply(t, now, op)
			if frozen && i < len(ops)-1 {
				continue // nobody runs meanwhile
			}
			everyRequest(func(q request) {
				if kernelV1(now, q) && !kernelV1(from, q) && !kernelV1(to, q) {
					t.Fatalf("from %+v to %+v: after %v of %v, %+v is open", from, to, op, ops, q)
				}
			})
		}
		everyRequest(func(q request) {
			if kernelV1(now, q) != kernelV1(to, q) {
				t.Fatalf("from %+v to %+v by %v: ends as %+v", from, to, ops, now)
			}
		})
		n++
	}
	if n < 300 {
		t.Errorf("only %d changes tried", n)
	}
}

// apply does what devcgroup_update_access does.
func apply(t *testing.T, s Set, op Op) Set {
	if op.Line == "a" {
		return Set{AllowAll: op.Allow}
	}
	one, err := ParseList([]byte(op.Line))
	if err != nil {
		t.Fatal(err)
	}
	r := one.Except[0]
	out := Set{AllowAll: s.AllowAll}
	found := false
	for _, e := range s.Except {
		if e.Type == r.Type && e.Major == r.Major && e.Minor == r.Minor {
			found = true
			if op.Allow != s.AllowAll {
				e.Access |= r.Access
			} else {
				e.Access &^= r.Access
			}
		}
		if e.Access != 0 {
			out.Except = append(out.Except, e)
		}
	}
	if !found && op.Allow != s.AllowAll {
		out.Except = append(out.Except, r)
	}
	return out
}

func TestParseRefuses(t *testing.T) {
	n := func(v int64) *int64 { return &v }
	for _, tc := range []struct {
		d    specs.LinuxDeviceCgroup
		want string
	}{
		{specs.LinuxDeviceCgroup{Type: "p"}, "[0].type"},
		{specs.LinuxDeviceCgroup{Type: "c\n"}, "[0].type"},
		{specs.LinuxDeviceCgroup{Type: "c", Access: "rwx"}, "[0].access"},
		{specs.LinuxDeviceCgroup{Type: "c", Access: "rr"}, "[0].access"},
		{specs.LinuxDeviceCgroup{Type: "c", Major: n(4096)}, "[0]:"},
		{specs.LinuxDeviceCgroup{Type: "c", Minor: n(1 << 40)}, "[0]:"},
	} {
		_, err := Parse("linux.resources.devices", []specs.LinuxDeviceCgroup{tc.d})
		if err == nil || !strings.HasPrefix(err.Error(), "linux.resources.devices"+tc.want) {
			t.Errorf("Parse(%+v) = %v, want %s", tc.d, err, tc.want)
		}
	}
}

// The verifier takes every shape of program.
func TestVerifierTakesPrograms(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: bpf(2)")
	}
	lists := [][]Rule{nil, Default(), {{true, 'a', Any, Any, all}, {false, 'c', 10, 200, Read}}}
	var long []Rule
	for i := range int64(1024) {
		long = append(long, Rule{i%3 != 0, "abc"[i%3], i, i * 7, uint8(i%7 + 1)})
	}
	lists = append(lists, long)
	r := rand.New(rand.NewPCG(7, 8))
	for range 200 {
		lists = append(lists, randomRules(r))
	}
	for _, rules := range lists {
		p := Program(rules)
		if p == nil {
			continue
		}
		fd, err := loadProgram(p)
		if err == unix.ENOSYS {
			t.Skip("cgroup layout that this kernel lacks: bpf(2)")
		}
		if err != nil {
			t.Fatalf("%d rules, %.300v…: %v", len(rules), rules, err)
		}
		if name, err := nameOf(fd); err != nil || name != progName {
			t.Errorf("name %q, %v", name, err)
		}
		unix.Close(fd)
	}
}

func FuzzParseList(f *testing.F) {
	f.Add([]byte("a *:* rwm\n"))
	f.Add([]byte("c 1:3 rwm\nb *:* m\nc 136:* rw"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := ParseList(text)
		if err != nil {
			return
		}
		for _, e := range s.Except {
			again, err := ParseList([]byte(e.String()))
			if err != nil || len(again.Except) != 1 || again.Except[0] != e {
				t.Fatalf("%+v prints as %q, which reads as %+v, %v", e, e, again, err)
			}
		}
	})
}

// FuzzRules compares program, list and v1 set on lists made of the input.
func FuzzRules(f *testing.F) {
	f.Add([]byte{1, 'c', 1, 3, 7, 0, 'a', 255, 255, 7}, byte('c'), uint16(1), uint16(3), byte(2))
	f.Fuzz(func(t *testing.T, in []byte, kind byte, major, minor uint16, bits byte) {
		var list []specs.LinuxDeviceCgroup
		for ; len(in) >= 5 && len(list) < 64; in = in[5:] {
			d := specs.LinuxDeviceCgroup{Allow: in[0]&1 == 1, Type: string(in[1]), Access: Rule{Access: in[4] & all}.Letters()}
			if in[2] != 255 {
				n := int64(in[2])
				d.Major = &n
			}
			if in[3] != 255 {
				n := int64(in[3])
				d.Minor = &n
			}
			list = append(list, d)
		}
		rules, err := Parse("devices", list)
		if err != nil {
			return
		}
		q := request{"bc"[kind&1], int64(major), int64(minor), bits & all}
		if q.bits == 0 {
			return
		}
		want := model(rules, q)
		if got := interpret(t, Program(rules), q); got != want {
			t.Fatalf("%v: program %v, list %v for %+v", rules, got, want, q)
		}
		if s, err := NewSet(rules); err == nil && kernelV1(s, q) && !want {
			t.Fatalf("%v: v1 is wider for %+v", rules, q)
		}
	})
}
