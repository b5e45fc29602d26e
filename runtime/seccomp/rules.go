package seccomp

import (
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// compiler holds one profile while it is compiled.
type compiler struct {
	machine   *machine
	profile   *specs.LinuxSeccomp
	otherwise uint32 // verdict of the default action
	open      [spaces]bool

	rules   []rule
	refs    []ref
	conds   []condition // what the rules' conds are cut from
	ordered []rule      // what alternatives returned last, and its conditions
	reduced []condition

	newest [spaces]int // highest number that the profile names, -1 for none
	cells  [spaces][numbers]cell
}

// rule is one alternative of one entry: all its conditions must hold.
type rule struct {
	verdict uint32
	entry   int         // index in linux.seccomp.syscalls
	conds   []condition // one per argument at most, in order of arguments
}

// condition compares one argument.
type condition struct {
	arg   uint8 // 0 to 5
	op    operator
	value uint64
	mask  uint64 // of opMasked
}

// cell is what the rules so far say about one number.
type cell struct {
	kind       cellKind
	verdict    uint32 // of cellFixed
	head, tail int32  // of cellRules: index of the first and the last ref
}

type cellKind uint8

const (
	cellNone  cellKind = iota // the default action
	cellFixed                 // a rule without conditions
	cellRules                 // rules with conditions, in the order of the profile
)

// ref is a link in a cell's list of rules.
type ref struct {
	rule int32
	next int32 // index of the next ref, -1 at the end
}

// collect checks every entry of the profile and files its rules by number.
func (c *compiler) collect() error {
	c.rules = make([]rule, 0, 64)
	c.refs = make([]ref, 0, 64)
	c.conds = make([]condition, 0, 64)
	c.newest = [spaces]int{-1, -1, -1}
	named := 0
	for i := range c.profile.Syscalls {
		entry := &c.profile.Syscalls[i]
		verdict, ok := actionVerdict(entry.Action)
		if !ok {
			return fmt.Errorf("linux.seccomp.syscalls[%d].action: %s is not an action", i, quote(entry.Action))
		}
		verdict, problem := withErrno(verdict, entry.ErrnoRet)
		if problem != "" {
			return fmt.Errorf("linux.seccomp.syscalls[%d].errnoRet: %d %s", i, *entry.ErrnoRet, problem)
		}
		if named += len(entry.Names); named > maxNames {
			return fmt.Errorf("linux.seccomp.syscalls[%d].names: more than %d names in all", i, maxNames)
		}
		first := len(c.rules)
		if err := c.addRules(i, verdict); err != nil {
			return err
		}
		end := len(c.rules)
		for j, name := range entry.Names {
			if name == "" {
				return fmt.Errorf("linux.seccomp.syscalls[%d].names[%d]: is empty", i, j)
			}
			if err := c.fileName(name, first, end); err != nil {
				return err
			}
		}
	}
	return nil
}

// addRules makes the rules of entry i: one, or one for each condition when two
// of them look at the same argument.
func (c *compiler) addRules(i int, verdict uint32) error {
	args := c.profile.Syscalls[i].Args
	if len(args) > maxArgs {
		return fmt.Errorf("linux.seccomp.syscalls[%d].args: %d conditions are more than %d", i, len(args), maxArgs)
	}
	start, used, twice := len(c.conds), uint8(0), false
	for j := range args {
		a := &args[j]
		if a.Index > 5 {
			return fmt.Errorf("linux.seccomp.syscalls[%d].args[%d].index: %d is out of range 0–5", i, j, a.Index)
		}
		op, ok := parseOperator(a.Op)
		if !ok {
			return fmt.Errorf("linux.seccomp.syscalls[%d].args[%d].op: %s is not an operator", i, j, quote(a.Op))
		}
		cond := condition{arg: uint8(a.Index), op: op, value: a.Value}
		if op == opMasked {
			cond.mask, cond.value = a.Value, a.ValueTwo&a.Value
		}
		twice = twice || used&(1<<a.Index) != 0
		used |= 1 << a.Index
		c.conds = append(c.conds, cond)
	}
	conds := c.conds[start:len(c.conds):len(c.conds)]
	if !twice {
		sortByArgument(conds)
		c.rules = append(c.rules, rule{verdict: verdict, entry: i, conds: conds})
		return nil
	}
	for j := range conds {
		c.rules = append(c.rules, rule{verdict: verdict, entry: i, conds: conds[j : j+1 : j+1]})
	}
	return nil
}

// sortByArgument is an insertion sort: there are six at most.
func sortByArgument(conds []condition) {
	for i := 1; i < len(conds); i++ {
		for j := i; j > 0 && conds[j].arg < conds[j-1].arg; j-- {
			conds[j], conds[j-1] = conds[j-1], conds[j]
		}
	}
}

// fileName files rules[first:end] under the numbers of one call. Names that no
// architecture here knows are skipped: profiles are written for all of them.
func (c *compiler) fileName(name string, first, end int) error {
	r := c.machine.lookup(name)
	if r == nil {
		return nil
	}
	for s := range c.machine.spaces {
		if !c.open[s] {
			continue
		}
		number := int(r.number[s])
		c.newest[s] = max(c.newest[s], number)
		if c.machine.spaces[s].muxed {
			if by, code := muxCode(name); by != "" {
				if err := c.fileMuxed(s, by, code, first, end); err != nil {
					return err
				}
			}
		}
		if c.rules[first].verdict == c.otherwise {
			continue
		}
		for i := first; i < end && number >= 0; i++ {
			if err := c.file(s, number, i); err != nil {
				return err
			}
		}
	}
	return nil
}

// fileMuxed files copies of rules[first:end] under socketcall or ipc: the code
// of the call takes the place of whatever argument 0 was compared with.
func (c *compiler) fileMuxed(s int, by string, code uint64, first, end int) error {
	number := int(c.machine.lookup(by).number[s])
	c.newest[s] = max(c.newest[s], number)
	if c.rules[first].verdict == c.otherwise {
		return nil
	}
	for i := first; i < end && c.cells[s][number].kind != cellFixed; i++ {
		r, start := c.rules[i], len(c.conds)
		c.conds = append(c.conds, condition{arg: 0, op: opEqual, value: code})
		for _, cond := range r.conds {
			if cond.arg != 0 {
				c.conds = append(c.conds, cond)
			}
		}
		r.conds = c.conds[start:len(c.conds):len(c.conds)]
		c.rules = append(c.rules, r)
		if err := c.file(s, number, len(c.rules)-1); err != nil {
			return err
		}
	}
	return nil
}

// file adds a rule to what is known of one number. A rule without conditions
// settles it.
func (c *compiler) file(s, number, index int) error {
	at, r := &c.cells[s][number], &c.rules[index]
	if at.kind == cellFixed {
		return nil
	}
	if r.always(c.machine.spaces[s].wide) {
		*at = cell{kind: cellFixed, verdict: r.verdict}
		return nil
	}
	if len(c.refs) >= maxArgRules {
		return fmt.Errorf("linux.seccomp.syscalls[%d].args: the rules with conditions, times the calls they name, are more than %d", r.entry, maxArgRules)
	}
	link := int32(len(c.refs))
	c.refs = append(c.refs, ref{rule: int32(index), next: -1})
	if at.kind == cellNone {
		*at = cell{kind: cellRules, head: link, tail: link}
		return nil
	}
	c.refs[at.tail].next = link
	at.tail = link
	return nil
}

// always reports whether the rule has no condition that could fail.
func (r *rule) always(wide bool) bool {
	for _, cond := range r.conds {
		if !cond.at(wide).empty() {
			return false
		}
	}
	return true
}

// at is the condition as an architecture compares it: in 64 bits, or the low 32.
func (d condition) at(wide bool) condition {
	full := ^uint64(0)
	if !wide {
		full = 0xffffffff
		d.value &= full
		d.mask &= full
	}
	if d.op == opMasked && d.mask == full {
		d.op, d.mask = opEqual, 0
	}
	return d
}

// empty reports whether the condition looks at no bit.
func (d condition) empty() bool { return d.op == opMasked && d.mask == 0 }
