package nft

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// expression is one step of a rule: what the kernel's virtual machine does. A
// rule is a list of steps; a comparison or look-up that fails ends it.
type expression []byte

type rule []expression

// Registers of 4 bytes: a concatenated key lies in several in a row.
const r0 = unix.NFT_REG32_00

func step(name string, data attrs) expression {
	return expression(attrs(nil).text(unix.NFTA_EXPR_NAME, name).nest(unix.NFTA_EXPR_DATA, data))
}

func meta(key, register uint32) expression {
	return step("meta", attrs(nil).number(unix.NFTA_META_KEY, key).number(unix.NFTA_META_DREG, register))
}

func payload(base, offset, size, register uint32) expression {
	return step("payload", attrs(nil).number(unix.NFTA_PAYLOAD_DREG, register).number(unix.NFTA_PAYLOAD_BASE, base).
		number(unix.NFTA_PAYLOAD_OFFSET, offset).number(unix.NFTA_PAYLOAD_LEN, size))
}

func compare(op uint32, data []byte) expression {
	return step("cmp", attrs(nil).number(unix.NFTA_CMP_SREG, r0).number(unix.NFTA_CMP_OP, op).value(unix.NFTA_CMP_DATA, data))
}

func is(data []byte) expression  { return compare(unix.NFT_CMP_EQ, data) }
func not(data []byte) expression { return compare(unix.NFT_CMP_NEQ, data) }

// in looks r0 up in a set.
func in(set string) expression {
	return step("lookup", attrs(nil).text(unix.NFTA_LOOKUP_SET, set).number(unix.NFTA_LOOKUP_SREG, r0))
}

func notIn(set string) expression {
	return step("lookup", attrs(nil).text(unix.NFTA_LOOKUP_SET, set).number(unix.NFTA_LOOKUP_SREG, r0).
		number(unix.NFTA_LOOKUP_FLAGS, unix.NFT_LOOKUP_F_INV))
}

// translate looks r0 up in a map and puts what it says into r0.
func translate(set string) expression {
	return step("lookup", attrs(nil).text(unix.NFTA_LOOKUP_SET, set).number(unix.NFTA_LOOKUP_SREG, r0).
		number(unix.NFTA_LOOKUP_DREG, r0))
}

func verdict(code int32, chain string) expression {
	v := attrs(nil).number(unix.NFTA_VERDICT_CODE, uint32(code))
	if chain != "" {
		v = v.text(unix.NFTA_VERDICT_CHAIN, chain)
	}
	return step("immediate", attrs(nil).number(unix.NFTA_IMMEDIATE_DREG, unix.NFT_REG_VERDICT).
		nest(unix.NFTA_IMMEDIATE_DATA, attrs(nil).nest(unix.NFTA_DATA_VERDICT, v)))
}

func accept() expression           { return verdict(nfAccept, "") }
func drop() expression             { return verdict(nfDrop, "") }
func jump(chain string) expression { return verdict(unix.NFT_JUMP, chain) }

// bits keeps the bits of mask in r0.
func bits(mask uint32) expression {
	m := binary.NativeEndian.AppendUint32(nil, mask)
	return step("bitwise", attrs(nil).number(unix.NFTA_BITWISE_SREG, r0).number(unix.NFTA_BITWISE_DREG, r0).
		number(unix.NFTA_BITWISE_LEN, 4).value(unix.NFTA_BITWISE_MASK, m).value(unix.NFTA_BITWISE_XOR, make([]byte, 4)))
}

func conntrack(key uint32) expression {
	return step("ct", attrs(nil).number(unix.NFTA_CT_KEY, key).number(unix.NFTA_CT_DREG, r0))
}

// setConntrackMark puts r0 on the packet's connection, setMark on the packet.
func setConntrackMark() expression {
	return step("ct", attrs(nil).number(unix.NFTA_CT_KEY, unix.NFT_CT_MARK).number(unix.NFTA_CT_SREG, r0))
}

func setMark() expression {
	return step("meta", attrs(nil).number(unix.NFTA_META_KEY, unix.NFT_META_MARK).number(unix.NFTA_META_SREG, r0))
}

// localDestination holds for packets to an address of this host.
func localDestination() []expression {
	return []expression{
		step("fib", attrs(nil).number(unix.NFTA_FIB_DREG, r0).number(unix.NFTA_FIB_RESULT, unix.NFT_FIB_RESULT_ADDRTYPE).
			number(unix.NFTA_FIB_FLAGS, unix.NFTA_FIB_F_DADDR)),
		is(binary.NativeEndian.AppendUint32(nil, unix.RTN_LOCAL)),
	}
}

// destination rewrites to the address in r0, and with port set to the port in
// the register after it.
func destination(family byte, port bool) expression {
	a := attrs(nil).number(unix.NFTA_NAT_TYPE, unix.NFT_NAT_DNAT).number(unix.NFTA_NAT_FAMILY, uint32(family)).
		number(unix.NFTA_NAT_REG_ADDR_MIN, r0)
	if port {
		after := uint32(r0 + 1)
		if family == unix.NFPROTO_IPV6 {
			after = r0 + 4
		}
		a = a.number(unix.NFTA_NAT_REG_PROTO_MIN, after)
	}
	return step("nat", a)
}

func masquerade() expression { return step("masq", nil) }
