package seccomp

import "math/bits"

// span is a run of argument values with one target; it ends where the next starts.
type span struct {
	start uint64
	to    target
}

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
			line := []span{{0, next}}
			for i := end - 1; i >= start; i-- {
				line = paint(line, rules[i].conds[0], target{verdict: rules[i].verdict}, wide)
			}
			next = a.searchArgument(arg, line, wide)
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
		return a.searchArgument(d.arg, paint([]span{{0, no}}, d, yes, wide), wide)
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

// paint gives the values that the condition matches a target.
func paint(line []span, d condition, to target, wide bool) []span {
	last := ^uint64(0)
	if !wide {
		last = 0xffffffff
	}
	v := d.value
	switch d.op {
	case opEqual:
		return paintRange(line, v, v, last, to)
	case opNotEqual:
		if v > 0 {
			line = paintRange(line, 0, v-1, last, to)
		}
		if v < last {
			line = paintRange(line, v+1, last, last, to)
		}
	case opLess:
		if v > 0 {
			line = paintRange(line, 0, v-1, last, to)
		}
	case opLessEqual:
		line = paintRange(line, 0, v, last, to)
	case opGreater:
		if v < last {
			line = paintRange(line, v+1, last, last, to)
		}
	case opGreaterEqual:
		line = paintRange(line, v, last, last, to)
	}
	return line
}

// paintRange gives the values from first to end a target; last is the highest
// value there is.
func paintRange(line []span, first, end, last uint64, to target) []span {
	painted := make([]span, 0, len(line)+2)
	add := func(start uint64, to target) {
		if n := len(painted); n == 0 || painted[n-1].to != to {
			painted = append(painted, span{start, to})
		}
	}
	i := 0
	for ; i < len(line) && line[i].start < first; i++ {
		add(line[i].start, line[i].to)
	}
	add(first, to)
	if end == last {
		return painted
	}
	for ; i < len(line) && line[i].start <= end+1; i++ {
	}
	add(end+1, line[i-1].to)
	for ; i < len(line); i++ {
		add(line[i].start, line[i].to)
	}
	return painted
}

// searchArgument lays down the search for an argument in a line that covers all
// its values: first by the high word, then within it by the low one.
func (a *assembler) searchArgument(arg uint8, line []span, wide bool) target {
	high := make([]segment, 0, 8)
	low := make([]segment, 0, 8)
	for i := 0; i < len(line); {
		word := uint32(line[i].start >> 32)
		low = low[:0]
		if uint32(line[i].start) != 0 {
			low = append(low, segment{0, line[i-1].to})
		}
		for ; i < len(line) && uint32(line[i].start>>32) == word; i++ {
			low = append(low, segment{uint32(line[i].start), line[i].to})
		}
		within := a.searchWord(lowWord(arg), low)
		if !wide {
			return within
		}
		high = extend(high, word, within)
		if word < 0xffffffff && (i == len(line) || uint32(line[i].start>>32) > word+1) {
			high = extend(high, word+1, line[i-1].to)
		}
	}
	return a.searchWord(highWord(arg), high)
}

func (a *assembler) searchWord(offset uint32, line []segment) target {
	tree := a.search(line)
	if len(line) == 1 {
		return tree
	}
	return a.load(offset, tree)
}
