package seccomp

import (
	"cmp"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// reference is the meaning of a profile written down without any thought of
// speed: everything is looked at again for every call. It shares with the
// compiler the tables, the names of actions and operators, and nothing else.
type reference struct {
	m    *machine
	p    *specs.LinuxSeccomp
	rows map[string]*row
	top  [spaces]int64 // newest call that the profile names, -1 for none
}

func newReference(m *machine, p *specs.LinuxSeccomp) reference {
	r := reference{m: m, p: p, rows: map[string]*row{}}
	for i := range m.rows {
		r.rows[m.rows[i].name] = &m.rows[i]
	}
	for s := range m.spaces {
		r.top[s] = -1
		for _, e := range p.Syscalls {
			for _, name := range e.Names {
				own, mux, _ := r.numbersOf(s, name)
				r.top[s] = max(r.top[s], own, mux)
			}
		}
	}
	return r
}

// alternative is one way for a call to match an entry.
type alternative struct {
	entry   int
	verdict uint32
	conds   []specs.LinuxSeccompArg // at most one per index, in order of them
}

// verdict is what the profile says of a call; sure is false if it contradicts
// itself for that call.
func (r reference) verdict(c *call) (verdict uint32, sure bool) {
	otherwise := r.action(r.p.DefaultAction, r.p.DefaultErrnoRet)
	for s, space := range r.m.spaces {
		if r.audit(s) != c.arch || c.number < space.first || c.number > space.last {
			continue
		}
		if !r.listed(s) {
			if c.number == 0xffffffff && s != 2 {
				return otherwise, true
			}
			return unix.SECCOMP_RET_KILL_THREAD, true
		}
		number := int64(c.number - space.first)
		if newest := r.top[s]; newest >= 0 && number > newest && newest+int64(space.first) > 0 {
			switch r.p.DefaultAction {
			case specs.ActAllow, specs.ActLog, specs.ActTrace:
			default:
				return unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS), true
			}
		}
		return r.decide(r.alternatives(s, number, otherwise), c, space.wide, otherwise)
	}
	return unix.SECCOMP_RET_KILL_THREAD, true
}

func (r reference) action(a specs.LinuxSeccompAction, ret *uint) uint32 {
	v, _ := actionVerdict(a)
	if a == specs.ActErrno || a == specs.ActTrace {
		if ret == nil {
			return v | 1
		}
		return v | uint32(*ret)
	}
	return v
}

func (r reference) audit(s int) uint32 {
	for _, abi := range r.m.abis {
		if slices.Contains(abi.spaces, s) {
			return abi.audit
		}
	}
	return 0
}

func (r reference) listed(s int) bool {
	return s == 0 || slices.Contains(r.p.Architectures, r.m.spaces[s].arch)
}

// numbersOf gives the numbers that a name has in a space: its own, and the
// multiplexer's with the code that stands in argument 0 there.
func (r reference) numbersOf(s int, name string) (own, mux int64, code uint64) {
	own, mux = -1, -1
	if row, ok := r.rows[name]; ok {
		own = int64(row.number[s])
		if by, n := muxCode(name); by != "" && r.m.spaces[s].muxed {
			mux, code = int64(r.rows[by].number[s]), n
		}
	}
	return own, mux, code
}

// alternatives lists what applies to a number, in the order of the profile.
func (r reference) alternatives(s int, number int64, otherwise uint32) []alternative {
	var all []alternative
	for i, e := range r.p.Syscalls {
		verdict := r.action(e.Action, e.ErrnoRet)
		if verdict == otherwise {
			continue
		}
		for _, name := range e.Names {
			own, mux, code := r.numbersOf(s, name)
			if mux == number {
				for _, conds := range r.conditions(e.Args) {
					conds = slices.DeleteFunc(slices.Clone(conds), func(a specs.LinuxSeccompArg) bool { return a.Index == 0 })
					conds = slices.Insert(conds, 0, specs.LinuxSeccompArg{Index: 0, Op: specs.OpEqualTo, Value: code})
					all = append(all, alternative{i, verdict, r.simplify(conds, s)})
				}
			}
			if own == number {
				for _, conds := range r.conditions(e.Args) {
					all = append(all, alternative{i, verdict, r.simplify(conds, s)})
				}
			}
		}
	}
	return all
}

// conditions splits an entry's arguments when two look at the same one.
func (r reference) conditions(args []specs.LinuxSeccompArg) [][]specs.LinuxSeccompArg {
	seen := map[uint]bool{}
	for _, a := range args {
		if seen[a.Index] {
			var each [][]specs.LinuxSeccompArg
			for _, a := range args {
				each = append(each, []specs.LinuxSeccompArg{a})
			}
			return each
		}
		seen[a.Index] = true
	}
	sorted := slices.Clone(args)
	slices.SortFunc(sorted, func(a, b specs.LinuxSeccompArg) int { return cmp.Compare(a.Index, b.Index) })
	return [][]specs.LinuxSeccompArg{sorted}
}

// simplify cuts values to the space's width, writes a full mask as equality and
// leaves out masks of no bit.
func (r reference) simplify(conds []specs.LinuxSeccompArg, s int) []specs.LinuxSeccompArg {
	full := ^uint64(0)
	if !r.m.spaces[s].wide {
		full = 0xffffffff
	}
	var out []specs.LinuxSeccompArg
	for _, a := range conds {
		a.Value &= full
		a.ValueTwo &= a.Value
		switch {
		case a.Op != specs.OpMaskedEqual:
			a.ValueTwo = 0
		case a.Value == 0:
			continue
		case a.Value == full:
			a.Op, a.Value, a.ValueTwo = specs.OpEqualTo, a.ValueTwo, 0
		}
		out = append(out, a)
	}
	return out
}

// decide picks the verdict for a call among alternatives.
func (r reference) decide(all []alternative, c *call, wide bool, otherwise uint32) (uint32, bool) {
	for _, a := range all {
		if len(a.conds) == 0 {
			return a.verdict, true
		}
	}
	var best *alternative
	for i := range all {
		a := &all[i]
		shortest := a
		for j := range all {
			b := &all[j]
			if len(b.conds) < len(shortest.conds) && slices.Equal(a.conds[:len(b.conds)], b.conds) {
				shortest = b
			}
		}
		for j := range all[:i] {
			if shortest == a && slices.Equal(all[j].conds, a.conds) {
				shortest = &all[j]
				break
			}
		}
		if shortest != a {
			if shortest.verdict != a.verdict && (len(shortest.conds) == len(a.conds) || a.entry < shortest.entry) {
				return 0, false
			}
			continue
		}
		if matches(a.conds, c, wide) && (best == nil || before(a.conds, best.conds)) {
			best = a
		}
	}
	if best != nil {
		return best.verdict, true
	}
	return otherwise, true
}

func matches(conds []specs.LinuxSeccompArg, c *call, wide bool) bool {
	for _, a := range conds {
		v := c.args[a.Index]
		if !wide {
			v &= 0xffffffff
		}
		ok := false
		switch a.Op {
		case specs.OpNotEqual:
			ok = v != a.Value
		case specs.OpLessThan:
			ok = v < a.Value
		case specs.OpLessEqual:
			ok = v <= a.Value
		case specs.OpEqualTo:
			ok = v == a.Value
		case specs.OpGreaterEqual:
			ok = v >= a.Value
		case specs.OpGreaterThan:
			ok = v > a.Value
		case specs.OpMaskedEqual:
			ok = v&a.Value == a.ValueTwo
		}
		if !ok {
			return false
		}
	}
	return true
}

// before reports whether rule a is tried before rule b; the package comment
// says how.
func before(a, b []specs.LinuxSeccompArg) bool {
	for i := range min(len(a), len(b)) {
		if n := slices.Compare(rank(a[i]), rank(b[i])); n != 0 {
			return n < 0
		}
	}
	return len(a) < len(b)
}

// rank turns a condition into numbers of which the smaller are tried first.
func rank(a specs.LinuxSeccompArg) []uint64 {
	arg := uint64(6 - a.Index)
	switch a.Op {
	case specs.OpEqualTo:
		return []uint64{arg, 0, ^a.Value, 0, 0}
	case specs.OpMaskedEqual:
		return []uint64{arg, 0, ^a.ValueTwo, 1, ^a.Value}
	case specs.OpNotEqual:
		return []uint64{arg, 0, ^a.Value, 2, 0}
	case specs.OpLessThan:
		return []uint64{arg, 1, a.Value, 0, 0}
	case specs.OpLessEqual:
		return []uint64{arg, 1, a.Value, 1, 0}
	case specs.OpGreaterThan:
		return []uint64{arg, 2, ^a.Value, 0, 0}
	}
	return []uint64{arg, 2, ^a.Value, 1, 0}
}
