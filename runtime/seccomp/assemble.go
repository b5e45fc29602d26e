package seccomp

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// Offsets in struct seccomp_data (linux/seccomp.h) on little-endian machines.
const (
	offsetNumber = 0
	offsetArch   = 4
	offsetArgs   = 16 // 8 bytes each, the low word first
)

const (
	jumpEqual   = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	jumpAtLeast = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
	jumpAnyBit  = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
	jumpAlways  = unix.BPF_JMP | unix.BPF_JA
	loadWord    = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	andWith     = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
	returnValue = unix.BPF_RET | unix.BPF_K

	farthest = 255 // instructions that a conditional jump can skip
)

// target is where control goes: to a verdict, or to an instruction.
type target struct {
	label   int32 // instructions from there to the program's end; 0: the verdict
	verdict uint32
}

// assembler lays a program down from its end to its start. A label counts from
// the end, so that it stays right while instructions are put before it; the
// distance of a jump to it is the length now minus the label.
type assembler struct {
	reversed []unix.SockFilter
	verdicts []target // newest return instruction for each verdict
	hops     []hop    // long jumps, to be shared
	leaves   []leaf   // stack of search
	full     bool     // the program is over the kernel's limit

	line, spare []span    // the values of one argument, being painted
	low, high   []segment // the same, by word
}

type hop struct{ at, to int32 }

// put lays one instruction before all others.
func (a *assembler) put(code uint16, k uint32, jt, jf uint8) target {
	if len(a.reversed) >= unix.BPF_MAXINSNS {
		a.full = true
		return target{label: int32(len(a.reversed))}
	}
	a.reversed = append(a.reversed, unix.SockFilter{Code: code, Jt: jt, Jf: jf, K: k})
	return target{label: int32(len(a.reversed))}
}

func (a *assembler) distance(label int32) int { return len(a.reversed) - int(label) }

// reach gives the label of an instruction at most limit behind the next one
// that leads to t. It may lay down one instruction, a return or a long jump.
func (a *assembler) reach(t target, limit int) int32 {
	if t.label == 0 {
		for i := range a.verdicts {
			if v := &a.verdicts[i]; v.verdict == t.verdict {
				if a.distance(v.label) > limit {
					v.label = a.put(returnValue, t.verdict, 0, 0).label
				}
				return v.label
			}
		}
		t.label = a.put(returnValue, t.verdict, 0, 0).label
		a.verdicts = append(a.verdicts, t)
		return t.label
	}
	if a.distance(t.label) <= limit {
		return t.label
	}
	for i := len(a.hops) - 1; i >= 0 && a.distance(a.hops[i].at) <= limit; i-- {
		if a.hops[i].to == t.label {
			return a.hops[i].at
		}
	}
	at := a.put(jumpAlways, uint32(a.distance(t.label)), 0, 0).label
	a.hops = append(a.hops, hop{at: at, to: t.label})
	return at
}

// branch lays down a conditional jump on the word in the accumulator.
func (a *assembler) branch(code uint16, k uint32, yes, no target) target {
	if yes == no {
		return yes
	}
	y := a.reach(yes, farthest-1) // one less: reaching no may add an instruction
	n := a.reach(no, farthest)
	if a.full {
		return target{label: int32(len(a.reversed))}
	}
	return a.put(code, k, uint8(a.distance(y)), uint8(a.distance(n)))
}

// load lays down the load of a word of seccomp_data, and what then comes.
func (a *assembler) load(offset uint32, then target) target {
	if a.distance(a.reach(then, 0)) != 0 {
		a.full = true // not reached: reach with limit 0 leads to the next instruction
	}
	return a.put(loadWord, offset, 0, 0)
}

// assemble writes the whole program.
func (c *compiler) assemble() ([]unix.SockFilter, error) {
	a := &assembler{
		reversed: make([]unix.SockFilter, 0, 256), verdicts: make([]target, 0, 8), leaves: make([]leaf, 0, 64),
		line: make([]span, 0, 8), spare: make([]span, 0, 8), low: make([]segment, 0, 8), high: make([]segment, 0, 8),
	}
	next := target{verdict: unix.SECCOMP_RET_KILL_THREAD} // libseccomp's bad-arch action
	for i := len(c.machine.abis) - 1; i >= 0; i-- {
		abi := &c.machine.abis[i]
		if !c.open[abi.spaces[0]] {
			continue
		}
		calls, err := c.calls(a, abi)
		if err != nil {
			return nil, err
		}
		next = a.branch(jumpEqual, abi.audit, calls, next)
	}
	a.load(offsetArch, next)
	if a.full {
		return nil, fmt.Errorf("linux.seccomp.syscalls: the program would be over the kernel's limit of %d instructions", unix.BPF_MAXINSNS)
	}
	slices.Reverse(a.reversed)
	return a.reversed, nil
}

// calls lays down what happens to the calls of one abi, by number.
func (c *compiler) calls(a *assembler, abi *abi) (target, error) {
	line := make([]segment, 0, 256)
	for _, s := range abi.spaces {
		space := &c.machine.spaces[s]
		if !c.open[s] {
			line = extend(line, space.first, target{verdict: unix.SECCOMP_RET_KILL_THREAD})
			if space.last == 0xffffffff { // -1: a tracer cancelled the call
				line = extend(line, space.last, target{verdict: c.otherwise})
			}
			continue
		}
		chains, err := c.chains(a, s)
		if err != nil {
			return target{}, err
		}
		for number := range c.newest[s] + 1 {
			line = extend(line, space.first+uint32(number), c.cellTarget(s, number, chains))
		}
		line = extend(line, space.first+uint32(c.newest[s]+1), c.tail(s))
	}
	tree := a.search(line)
	if len(line) == 1 {
		return tree, nil
	}
	return a.load(offsetNumber, tree), nil
}

// tail is where numbers above the newest call of a space go. Number 0 alone
// makes no tail, as in runc, which takes it for none at all.
func (c *compiler) tail(s int) target {
	if c.newest[s] >= 0 && int(c.machine.spaces[s].first)+c.newest[s] > 0 && refuses(c.otherwise) {
		return target{verdict: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)}
	}
	return target{verdict: c.otherwise}
}

// chain is the code for one list of rules.
type chain struct {
	number int // the first call that has the list
	start  target
}

// chains lays down the code of every list of argument rules in a space, once
// for calls with equal lists.
func (c *compiler) chains(a *assembler, s int) ([]chain, error) {
	var chains []chain
	for number := range c.newest[s] + 1 {
		if c.cells[s][number].kind != cellRules || a.full {
			continue
		}
		if i := c.findChain(chains, s, number); i >= 0 {
			continue
		}
		rules, err := c.alternatives(s, number)
		if err != nil {
			return nil, err
		}
		start := a.alternatives(rules, target{verdict: c.otherwise}, c.machine.spaces[s].wide)
		chains = append(chains, chain{number: number, start: start})
	}
	return chains, nil
}

// findChain gives the index of the chain with the rules of number, or -1.
func (c *compiler) findChain(chains []chain, s, number int) int {
	for i := range chains {
		x, y := c.cells[s][chains[i].number].head, c.cells[s][number].head
		for x >= 0 && y >= 0 && c.refs[x].rule == c.refs[y].rule {
			x, y = c.refs[x].next, c.refs[y].next
		}
		if x < 0 && y < 0 {
			return i
		}
	}
	return -1
}

// cellTarget is where a call of the profile's range of numbers goes.
func (c *compiler) cellTarget(s, number int, chains []chain) target {
	at := &c.cells[s][number]
	switch at.kind {
	case cellFixed:
		return target{verdict: at.verdict}
	case cellRules:
		if i := c.findChain(chains, s, number); i >= 0 {
			return chains[i].start
		}
	}
	return target{verdict: c.otherwise}
}
