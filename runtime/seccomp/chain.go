package seccomp

import (
	"math/bits"

	"golang.org/x/sys/unix"
)

// span is a run of argument values with one target; it ends where the next starts.
type span struct {
	start uint64
	to    target
}

// mostSpans is more than a program can tell apart: a test makes two ends at best.
const mostSpans = 2*unix.BPF_MAXINSNS + 2

// alternatives lays down rules that are tried in order; if none matches, control
// goes to otherwise.
func (a *assembler) alternatives(rules []rule, otherwise target, wide bool) target {
	next := otherwise
	for end := len(rules); end > 0 && !a.full; {
		r := &rules[end-1]
		if arg, ok := r.range1(); ok {
			// Neighbours that each compare the same argument become one search.
			start := end - 1
			for start > 0 {
				if other, ok := rules[start-1].range1(); !ok || other != arg {
					break
				}
				start--
			}
			a.line = append(a.line[:0], span{0, next})
			for i := end - 1; i >= start && !a.full; i-- {
				a.paint(rules[i].conds[0], target{verdict: rules[i].verdict}, wide)
			}
			next = a.searchArgument(arg, wide)
			end = start
			continue
		}
		match := target{verdict: r.verdict}
		for i := len(r.conds) - 1; i >= 0; i-- {
			match = a.test(r.conds[i], match, next, wide)
		}
		next = match
		end--
	}
	return next
}

// range1 reports whether the rule only compares one argument's size, and which.
func (r *rule) range1() (arg uint8, ok bool) {
	if len(r.conds) != 1 || r.conds[0].op == opMasked {
		return 0, false
	}
	return r.conds[0].arg, true
}

// test lays down one condition.
func (a *assembler) test(d condition, yes, no target, wide bool) target {
	if d.op != opMasked {
		a.line = append(a.line[:0], span{0, no})
		a.paint(d, yes, wide)
		return a.searchArgument(d.arg, wide)
	}
	low := a.testMask(lowWord(d.arg), uint32(d.mask), uint32(d.value), yes, no)
	if !wide {
		return low
	}
	return a.testMask(highWord(d.arg), uint32(d.mask>>32), uint32(d.value>>32), low, no)
}

// testMask lays down the test that the bits of mask in a word equal value.
func (a *assembler) testMask(offset, mask, value uint32, yes, no target) target {
	switch {
	case mask == 0:
		return yes
	case mask == 0xffffffff:
		return a.load(offset, a.branch(jumpEqual, value, yes, no))
	case value == 0:
		return a.load(offset, a.branch(jumpAnyBit, mask, no, yes))
	case value == mask && bits.OnesCount32(mask) == 1:
		return a.load(offset, a.branch(jumpAnyBit, mask, yes, no))
	}
	test := a.branch(jumpEqual, value, yes, no)
	if test == yes { // yes and no are the same place
		return yes
	}
	a.put(andWith, mask, 0, 0)
	return a.put(loadWord, offset, 0, 0)
}

func lowWord(arg uint8) uint32  { return offsetArgs + 8*uint32(arg) }
func highWord(arg uint8) uint32 { return lowWord(arg) + 4 }

// paint gives the values in a.line that the condition matches a target.
func (a *assembler) paint(d condition, to target, wide bool) {
	v, last := d.value, ^uint64(0)
	if !wide {
		last = 0xffffffff
	}
	switch d.op {
	case opEqual:
		a.paintRange(v, v, last, to)
	case opNotEqual:
		a.paintBelow(v, last, to)
		a.paintAbove(v, last, to)
	case opLess:
		a.paintBelow(v, last, to)
	case opLessEqual:
		a.paintRange(0, v, last, to)
	case opGreater:
		a.paintAbove(v, last, to)
	case opGreaterEqual:
		a.paintRange(v, last, last, to)
	}
}

func (a *assembler) paintBelow(v, last uint64, to target) {
	if v > 0 {
		a.paintRange(0, v-1, last, to)
	}
}

func (a *assembler) paintAbove(v, last uint64, to target) {
	if v < last {
		a.paintRange(v+1, last, last, to)
	}
}

// paintRange gives the values from first to end a target; last is the highest
// value there is.
func (a *assembler) paintRange(first, end, last uint64, to target) {
	if len(a.line) > mostSpans {
		a.full = true
		return
	}
	line, painted := a.line, a.spare[:0]
	i := 0
	for ; i < len(line) && line[i].start < first; i++ {
		painted = extendSpan(painted, line[i].start, line[i].to)
	}
	painted = extendSpan(painted, first, to)
	if end < last {
		for ; i < len(line) && line[i].start <= end+1; i++ {
		}
		painted = extendSpan(painted, end+1, line[i-1].to)
		for ; i < len(line); i++ {
			painted = extendSpan(painted, line[i].start, line[i].to)
		}
	}
	a.line, a.spare = painted, line
}

func extendSpan(line []span, start uint64, to target) []span {
	if n := len(line); n > 0 && line[n-1].to == to {
		return line
	}
	return append(line, span{start, to})
}

// searchArgument lays down the search for an argument in a.line, which covers
// all its values: first by the high word, then within it by the low one.
func (a *assembler) searchArgument(arg uint8, wide bool) target {
	line := a.line
	high := a.high[:0]
	for i := 0; i < len(line); {
		word := uint32(line[i].start >> 32)
		low := a.low[:0]
		if uint32(line[i].start) != 0 {
			low = append(low, segment{0, line[i-1].to})
		}
		for ; i < len(line) && uint32(line[i].start>>32) == word; i++ {
			low = append(low, segment{uint32(line[i].start), line[i].to})
		}
		a.low = low
		within := a.searchWord(lowWord(arg), low)
		if !wide {
			return within
		}
		high = extend(high, word, within)
		if word < 0xffffffff && (i == len(line) || uint32(line[i].start>>32) > word+1) {
			high = extend(high, word+1, line[i-1].to)
		}
	}
	a.high = high
	return a.searchWord(highWord(arg), high)
}

func (a *assembler) searchWord(offset uint32, line []segment) target {
	tree := a.search(line)
	if len(line) == 1 {
		return tree
	}
	return a.load(offset, tree)
}
