package nft

import (
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"

	"berth/sys/netlink"
)

// Constants of linux/netfilter that x/sys lacks.
const (
	batchBegin = 0x10 // NFNL_MSG_BATCH_BEGIN
	batchEnd   = 0x11

	batchGeneration = 1 // NFNL_BATCH_GENID

	setFlagConcat = 0x80 // NFT_SET_CONCAT
	descConcat    = 2    // NFTA_SET_DESC_CONCAT
	fieldLength   = 1    // NFTA_SET_FIELD_LEN
	elementKeyEnd = 10   // NFTA_SET_ELEM_KEY_END
	listElement   = 1    // NFTA_LIST_ELEM

	nfDrop, nfAccept = 0, 1 // NF_DROP, NF_ACCEPT
)

// Families of tables.
const (
	inet   = unix.NFPROTO_INET
	bridge = unix.NFPROTO_BRIDGE
)

// message makes one nftables request.
func message(kind uint16, family byte, flags uint16, attributes []byte) netlink.Request {
	payload := append([]byte{family, unix.NFNETLINK_V0, 0, 0}, attributes...)
	return netlink.Request{Kind: unix.NFNL_SUBSYS_NFTABLES<<8 | kind, Flags: flags, Payload: payload}
}

// frame puts requests between the marks of a batch, which is what makes them
// one transaction; with a generation it fails with ERESTART if there is another.
func frame(list []netlink.Request, generation uint32) []netlink.Request {
	// res_id, in network byte order, names the subsystem.
	mark := []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, unix.NFNL_SUBSYS_NFTABLES}
	all := make([]netlink.Request, 0, len(list)+2)
	begin := attrs(slices.Clone(mark))
	if generation != 0 {
		begin = begin.number(batchGeneration, generation)
	}
	all = append(all, netlink.Request{Kind: batchBegin, Payload: begin, Quiet: true})
	all = append(all, list...)
	return append(all, netlink.Request{Kind: batchEnd, Payload: mark, Quiet: true})
}

// attrs is a list of attributes being built.
type attrs []byte

func (a attrs) text(kind uint16, s string) attrs { return netlink.AppendString(a, kind, s) }

// number appends a number in network byte order, as nftables has them.
func (a attrs) number(kind uint16, v uint32) attrs {
	return netlink.Append(a, kind, binary.BigEndian.AppendUint32(nil, v))
}

func (a attrs) bytes(kind uint16, b []byte) attrs { return netlink.Append(a, kind, b) }

func (a attrs) nest(kind uint16, inner attrs) attrs {
	return netlink.Append(a, kind|unix.NLA_F_NESTED, inner)
}

// value appends a nested constant.
func (a attrs) value(kind uint16, b []byte) attrs {
	return a.nest(kind, attrs(nil).bytes(unix.NFTA_DATA_VALUE, b))
}
