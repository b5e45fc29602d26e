package seccomp

import (
	"cmp"
	"fmt"
	"slices"
)

// alternatives gives the rules of one cell as its space compares them, in the
// order in which they are to be tried, without those that can never decide and
// without conditions that cannot fail. They last until the next call of it.
func (c *compiler) alternatives(s, number int) ([]rule, error) {
	wide := c.machine.spaces[s].wide
	rules := c.ordered[:0]
	c.reduced = c.reduced[:0]
	for link := c.cells[s][number].head; link >= 0; link = c.refs[link].next {
		r := c.rules[c.refs[link].rule]
		start := len(c.reduced)
		for _, d := range r.conds {
			if d = d.at(wide); !d.empty() {
				c.reduced = append(c.reduced, d)
			}
		}
		r.conds = c.reduced[start:len(c.reduced):len(c.reduced)]
		rules = append(rules, r)
	}
	c.ordered = rules
	if len(rules) == 1 {
		return rules, nil
	}
	slices.SortStableFunc(rules, compareRules)
	kept := rules[:1]
	for _, r := range rules[1:] {
		last := &kept[len(kept)-1]
		if !r.extends(last) {
			kept = append(kept, r)
			continue
		}
		// last matches whatever r matches, so r can never decide. That is as
		// libseccomp has it if last came first; else a rule that stands earlier
		// in the profile would be lost, which libseccomp refuses too.
		if r.verdict != last.verdict && (len(r.conds) == len(last.conds) || r.entry < last.entry) {
			return nil, fmt.Errorf("linux.seccomp.syscalls[%d].args: contradict linux.seccomp.syscalls[%d]: for %s the arguments of both can match, with different actions",
				max(r.entry, last.entry), min(r.entry, last.entry), c.machine.callName(s, number))
		}
	}
	return kept, nil
}

// extends reports whether r has all conditions of short, and then perhaps more.
func (r *rule) extends(short *rule) bool {
	return len(r.conds) >= len(short.conds) && slices.Equal(r.conds[:len(short.conds)], short.conds)
}

// compareRules orders rules condition by condition, the more special first; a
// rule stands right before those that extend it.
func compareRules(a, b rule) int {
	for i := range min(len(a.conds), len(b.conds)) {
		if n := compareConditions(a.conds[i], b.conds[i]); n != 0 {
			return n
		}
	}
	return cmp.Compare(len(a.conds), len(b.conds))
}

func compareConditions(a, b condition) int {
	if a.arg != b.arg {
		return cmp.Compare(b.arg, a.arg)
	}
	if n := cmp.Compare(a.op.group(), b.op.group()); n != 0 {
		return n
	}
	if a.value != b.value {
		if a.op.group() == groupBelow {
			return cmp.Compare(a.value, b.value)
		}
		return cmp.Compare(b.value, a.value)
	}
	if a.op != b.op {
		return cmp.Compare(a.op, b.op)
	}
	return cmp.Compare(b.mask, a.mask)
}

// Groups of operators, the more special first.
const (
	groupPoint = iota // =, ≠ and masks
	groupBelow        // < and ≤
	groupAbove        // > and ≥
)

func (op operator) group() int {
	switch op {
	case opLess, opLessEqual:
		return groupBelow
	case opGreater, opGreaterEqual:
		return groupAbove
	}
	return groupPoint
}
