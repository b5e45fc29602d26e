package nft

import (
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"
)

// The words of which ruleset.go makes rules: each is a piece of a rule.

// all joins pieces to a rule.
func all(pieces ...any) rule {
	var r rule
	for _, p := range pieces {
		switch p := p.(type) {
		case expression:
			r = append(r, p)
		case []expression:
			r = append(r, p...)
		}
	}
	return r
}

// inputPrefix holds for devices whose names begin so.
func inputPrefix(prefix string) []expression {
	return []expression{meta(unix.NFT_META_IIFNAME, r0), is([]byte(prefix))}
}

func inputNotIn(set string) []expression {
	return []expression{meta(unix.NFT_META_IIFNAME, r0), notIn(set)}
}

func notInput(name string) []expression {
	return []expression{meta(unix.NFT_META_IIFNAME, r0), not(device(name))}
}

func inputIn(set string) []expression {
	return []expression{meta(unix.NFT_META_IIFNAME, r0), in(set)}
}

func outputIn(set string) []expression {
	return []expression{meta(unix.NFT_META_OIFNAME, r0), in(set)}
}

func outputNotIn(set string) []expression {
	return []expression{meta(unix.NFT_META_OIFNAME, r0), notIn(set)}
}

// wayIn looks up iifname . oifname.
func wayIn(set string) []expression {
	return []expression{meta(unix.NFT_META_IIFNAME, r0), meta(unix.NFT_META_OIFNAME, r0+4), in(set)}
}

func wayNotIn(set string) []expression {
	return []expression{meta(unix.NFT_META_IIFNAME, r0), meta(unix.NFT_META_OIFNAME, r0+4), notIn(set)}
}

// established holds for packets of a connection that was let through.
func established() []expression {
	const wanted = 1<<1 | 1<<2 // ESTABLISHED, RELATED
	return []expression{conntrack(unix.NFT_CT_STATE), bits(wanted), not(make([]byte, 4))}
}

// answers holds for packets that go against the first one of their connection.
func answers() []expression {
	const reply = 1 // IP_CT_DIR_REPLY
	return []expression{conntrack(unix.NFT_CT_DIRECTION), is([]byte{reply})}
}

// translated holds for packets whose destination this host has rewritten.
func translated() []expression {
	const dstNAT = 1 << 5 // IPS_DST_NAT
	return []expression{conntrack(unix.NFT_CT_STATUS), bits(dstNAT), not(make([]byte, 4))}
}

func notTranslated() []expression {
	const dstNAT = 1 << 5
	return []expression{conntrack(unix.NFT_CT_STATUS), bits(dstNAT), is(make([]byte, 4))}
}

// version holds for IPv4 or IPv6 in an inet table.
func version(family byte) []expression {
	return []expression{meta(unix.NFT_META_NFPROTO, r0), is([]byte{family})}
}

// ether holds for frames of a protocol in a bridge table.
func ether(protocol uint16) []expression {
	return []expression{meta(unix.NFT_META_PROTOCOL, r0), is(binary.BigEndian.AppendUint16(nil, protocol))}
}

// carries holds for a transport protocol.
func carries(protocol byte) []expression {
	return []expression{meta(unix.NFT_META_L4PROTO, r0), is([]byte{protocol})}
}

// address loads the source or destination address of a packet into a register.
func address(family byte, source bool, register uint32) expression {
	offset, size := uint32(16), uint32(4)
	if family == unix.NFPROTO_IPV6 {
		offset, size = 24, 16
	}
	if source {
		offset -= size
	}
	return payload(unix.NFT_PAYLOAD_NETWORK_HEADER, offset, size, register)
}

// protocolAndPort loads l4proto . th dport.
func protocolAndPort(register uint32) []expression {
	return []expression{meta(unix.NFT_META_L4PROTO, register), payload(unix.NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, register+1)}
}

// device is a device's name as a key: 16 bytes.
func device(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return b
}

// key joins parts to a concatenated key, each filled up to whole registers.
func key(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
		for len(b)%4 != 0 {
			b = append(b, 0)
		}
	}
	return slices.Clip(b)
}
