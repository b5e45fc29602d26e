package devfilter

// insn is struct bpf_insn (linux/bpf.h).
type insn struct {
	code uint8
	regs uint8 // dst in the low four bits, src in the high four
	off  int16
	imm  int32
}

// Opcodes that the program needs (linux/bpf_common.h, linux/bpf.h).
const (
	opLoadW  = 0x61 // dst = *(u32 *)(src + off)
	opMov    = 0xb7 // dst = imm
	opMovReg = 0xbf // dst = src
	opAnd    = 0x57 // dst &= imm
	opRsh    = 0x77 // dst >>= imm
	opJa     = 0x05 // skip off
	opJeq    = 0x15 // if dst == imm skip off
	opJne    = 0x55 // if dst != imm skip off
	opExit   = 0x95
)

// Registers: the context comes in r1 and is gone after the loads.
const (
	r0      = 0
	rCtx    = 1
	rTmp    = 1
	rType   = 2
	rAccess = 3
	rMajor  = 4
	rMinor  = 5
)

// Offsets in struct bpf_cgroup_dev_ctx; access_type is access<<16 | type.
const (
	offAccessType = 0
	offMajor      = 4
	offMinor      = 8
)

// Program assembles the filter: the rules from last to first, each either
// decides or passes on. A rule for some of the rights takes them off the list
// of those still asked for, so that the answer is the last word on each right.
// It returns nil when everything is allowed, which needs no program.
func Program(rules []Rule) []insn {
	start, rest := Reduce(rules)
	if start && len(rest) == 0 {
		return nil
	}
	p := []insn{
		load(rType, offAccessType),
		{opMovReg, reg(rAccess, rType), 0, 0},
		op(opRsh, rAccess, 16),
		op(opAnd, rType, 0xffff),
		load(rMajor, offMajor),
		load(rMinor, offMinor),
	}
	for i := len(rest) - 1; i >= 0; i-- {
		p = append(p, rest[i].code()...)
	}
	return append(p, op(opMov, r0, b2i(start)), insn{code: opExit})
}

// code is the part of one rule. A test that fails goes on behind it. Each test is
// written as "if it holds, skip the jump away": the verifier then walks the way
// of no match first, which knows least of the registers, and finds all others
// to be special cases of it. The other way round, its work grows with the square
// of the rules until it gives up.
func (r Rule) code() []insn {
	var p []insn
	unless := func(skip uint8, dst uint8, imm int32) {
		p = append(p, insn{skip, dst, 1, imm}, insn{code: opJa})
	}
	switch r.Type { // BPF_DEVCG_DEV_*
	case 'b':
		unless(opJeq, rType, 1)
	case 'c':
		unless(opJeq, rType, 2)
	}
	if r.Major != Any {
		unless(opJeq, rMajor, int32(r.Major))
	}
	if r.Minor != Any {
		unless(opJeq, rMinor, int32(r.Minor))
	}
	switch {
	case r.Access == all:
	case r.Allow:
		p = append(p, op(opAnd, rAccess, int32(^r.Access)&all))
		unless(opJeq, rAccess, 0)
	default:
		p = append(p, insn{opMovReg, reg(rTmp, rAccess), 0, 0}, op(opAnd, rTmp, int32(r.Access)))
		unless(opJne, rTmp, 0)
	}
	p = append(p, op(opMov, r0, b2i(r.Allow)), insn{code: opExit})
	for i := range p {
		if p[i].code == opJa {
			p[i].off = int16(len(p) - i - 1)
		}
	}
	return p
}

func reg(dst, src uint8) uint8 { return dst | src<<4 }

func op(code, dst uint8, imm int32) insn { return insn{code, dst, 0, imm} }

func load(dst uint8, off int16) insn { return insn{opLoadW, reg(dst, rCtx), off, 0} }

func b2i(b bool) int32 {
	if b {
		return 1
	}
	return 0
}
