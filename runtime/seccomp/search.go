package seccomp

// segment is a run of words with one target; it ends where the next starts.
type segment struct {
	start uint32
	to    target
}

// extend ends a line's last segment at start and lets another begin.
func extend(line []segment, start uint32, to target) []segment {
	if n := len(line); n > 0 && line[n-1].to == to {
		return line
	}
	return append(line, segment{start, to})
}

// mostExceptions is how many single numbers a leaf tests one after the other.
const mostExceptions = 4

// leaf is a run of words with one target but for a few single words in it. Each
// costs one test for equality; as segments of their own they would cost two.
type leaf struct {
	start uint32
	to    target
	count int
	other [mostExceptions]segment
}

// search lays down the search for the word in the accumulator in a line that
// covers all 32-bit words. A line of one segment needs no code.
func (a *assembler) search(line []segment) target {
	base := len(a.leaves)
	a.leaves = appendLeaves(a.leaves, line)
	t := a.split(a.leaves[base:])
	a.leaves = a.leaves[:base]
	return t
}

// appendLeaves groups segments into leaves, greedily from the left.
func appendLeaves(leaves []leaf, line []segment) []leaf {
	for i := 0; i < len(line); {
		l := leaf{start: line[i].start, to: line[i].to}
		for {
			n := singles(line[i:])
			if n == 0 {
				i++
				break
			}
			if l.count+n > mostExceptions {
				break // line[i] starts the next leaf: it continues this one's target
			}
			l.count += copy(l.other[l.count:], line[i+1:i+1+n])
			i += n + 1
		}
		leaves = append(leaves, l)
	}
	return leaves
}

// singles counts the one-word segments after the first of line that end in
// another segment with the first one's target; 0 if they do not, or are many.
func singles(line []segment) int {
	for n := 1; n <= mostExceptions && n+1 < len(line); n++ {
		if line[n+1].start-line[n].start != 1 {
			return 0
		}
		if line[n+1].to == line[0].to {
			return n
		}
	}
	return 0
}

// split lays down the tree over leaves. The upper half goes first, so that the
// lower half follows its test without a jump.
func (a *assembler) split(leaves []leaf) target {
	if len(leaves) == 1 {
		to := leaves[0].to
		for i := leaves[0].count - 1; i >= 0; i-- {
			x := leaves[0].other[i]
			to = a.branch(jumpEqual, x.start, x.to, to)
		}
		return to
	}
	middle := len(leaves) / 2
	upper := a.split(leaves[middle:])
	lower := a.split(leaves[:middle])
	return a.branch(jumpAtLeast, leaves[middle].start, upper, lower)
}
