package seccomp

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// call is struct seccomp_data of linux/seccomp.h.
type call struct {
	number uint32
	arch   uint32
	ip     uint64
	args   [6]uint64
}

func (c *call) bytes() [64]byte {
	var b [64]byte
	binary.NativeEndian.PutUint32(b[0:], c.number)
	binary.NativeEndian.PutUint32(b[4:], c.arch)
	binary.NativeEndian.PutUint64(b[8:], c.ip)
	for i, v := range c.args {
		binary.NativeEndian.PutUint64(b[16+8*i:], v)
	}
	return b
}

// verify holds a program to the rules of seccomp_check_filter and
// bpf_check_classic in the kernel.
func verify(program []unix.SockFilter) error {
	if len(program) == 0 || len(program) > unix.BPF_MAXINSNS {
		return fmt.Errorf("%d instructions", len(program))
	}
	for i, in := range program {
		left := len(program) - i - 1
		switch in.Code {
		case loadWord:
			if in.K%4 != 0 || in.K >= 64 {
				return fmt.Errorf("%d: load of offset %d", i, in.K)
			}
		case jumpEqual, jumpAtLeast, jumpAnyBit:
			if int(in.Jt) >= left || int(in.Jf) >= left {
				return fmt.Errorf("%d: jump past the end", i)
			}
		case jumpAlways:
			if int64(in.K) >= int64(left) {
				return fmt.Errorf("%d: long jump past the end", i)
			}
		case andWith, returnValue:
		default:
			return fmt.Errorf("%d: opcode %#x", i, in.Code)
		}
	}
	if program[len(program)-1].Code != returnValue {
		return fmt.Errorf("the last instruction is not a return")
	}
	return nil
}

// run interprets a verified program; steps is the number of instructions run.
func run(program []unix.SockFilter, c *call) (verdict uint32, steps int) {
	data := c.bytes()
	var a uint32
	for pc := 0; ; pc++ {
		steps++
		in := program[pc]
		taken := false
		switch in.Code {
		case loadWord:
			a = binary.NativeEndian.Uint32(data[in.K:])
			continue
		case andWith:
			a &= in.K
			continue
		case jumpAlways:
			pc += int(in.K)
			continue
		case returnValue:
			return in.K, steps
		case jumpEqual:
			taken = a == in.K
		case jumpAtLeast:
			taken = a >= in.K
		case jumpAnyBit:
			taken = a&in.K != 0
		}
		if taken {
			pc += int(in.Jt)
		} else {
			pc += int(in.Jf)
		}
	}
}
