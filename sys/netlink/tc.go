package netlink

import (
	"encoding/binary"
	"math"

	"golang.org/x/sys/unix"
)

// Where queues and filters are attached: linux/pkt_sched.h.
const (
	atRoot     = 0xffffffff
	atIngress  = 0xfffffff1
	ofIngress  = 0xffff0000
	ethernet   = 1 // TC_LINKLAYER_ETHERNET: no table of rates is needed
	firstPlace = 1 << 16
)

// trafficMessage is struct tcmsg.
func trafficMessage(index int, handle, parent, info uint32) []byte {
	b := make([]byte, 4, 64)
	for _, v := range []uint32{uint32(index), handle, parent, info} {
		b = binary.NativeEndian.AppendUint32(b, v)
	}
	return b
}

// Attributes of linux/rtnetlink.h, TCA_*.
const (
	trafficKind    = 1
	trafficOptions = 2
)

// Bucket is a token bucket: bytes a second, bytes that may go at once, and bytes
// that wait.
type Bucket struct {
	Rate, Burst, Queue uint64
}

// BucketRequest makes a device send by way of a token bucket (tc-tbf(8)).
func BucketRequest(index int, k Bucket) Request {
	const (
		parms, rate64, burst = 1, 4, 6 // TCA_TBF_*
		sizeofParms          = 36      // struct tc_tbf_qopt
	)
	b := make([]byte, sizeofParms)
	b[1] = ethernet
	binary.NativeEndian.PutUint32(b[8:], uint32(min(k.Rate, math.MaxUint32)))
	binary.NativeEndian.PutUint32(b[24:], uint32(min(k.Queue, math.MaxUint32)))
	options := Append(nil, parms, b)
	if k.Rate > math.MaxUint32 {
		options = Append(options, rate64, binary.NativeEndian.AppendUint64(nil, k.Rate))
	}
	options = AppendUint32(options, burst, uint32(min(k.Burst, math.MaxInt32)))
	a := AppendString(trafficMessage(index, 0, atRoot, 0), trafficKind, "tbf")
	return Request{Kind: unix.RTM_NEWQDISC, Flags: unix.NLM_F_CREATE | unix.NLM_F_REPLACE, Payload: Nest(a, trafficOptions, options)}
}

// IngressRequest lets what a device receives be redirected.
func IngressRequest(index int) Request {
	a := AppendString(trafficMessage(index, ofIngress, atIngress, 0), trafficKind, "ingress")
	return Request{Kind: unix.RTM_NEWQDISC, Flags: unix.NLM_F_CREATE | unix.NLM_F_REPLACE, Payload: a}
}

// RedirectRequest leads all that a device receives to another device, as if that
// were to send it (tc-mirred(8)). The classifier is u32 or matchall.
func RedirectRequest(index, to int, classifier string) Request {
	const (
		actKind, actOptions, parms = 1, 2, 2 // TCA_ACT_*, TCA_MIRRED_PARMS
		stolen, redirect           = 4, 1    // TC_ACT_STOLEN, TCA_EGRESS_REDIR
		selector, selectorAct      = 5, 7    // TCA_U32_*
		matchallAct                = 2       // TCA_MATCHALL_ACT
		sizeofSelector, sizeofKey  = 16, 16  // struct tc_u32_sel, tc_u32_key
	)
	var mirred []byte // struct tc_mirred
	for _, v := range []uint32{0, 0, stolen, 0, 0, redirect, uint32(to)} {
		mirred = binary.NativeEndian.AppendUint32(mirred, v)
	}
	act := Nest(AppendString(nil, actKind, "mirred"), actOptions, Append(nil, parms, mirred))
	acts := Nest(nil, 1, act)
	var options []byte
	if classifier == "u32" {
		match := make([]byte, sizeofSelector+sizeofKey) // a key whose mask is zero: all
		match[0], match[2] = 1, 1                       // TC_U32_TERMINAL, one key
		options = Nest(Append(nil, selector, match), selectorAct, acts)
	} else {
		options = Nest(nil, matchallAct, acts)
	}
	every := uint32(binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL}))
	a := AppendString(trafficMessage(index, 0, ofIngress, firstPlace|every), trafficKind, classifier)
	return Request{Kind: unix.RTM_NEWTFILTER, Flags: unix.NLM_F_CREATE | unix.NLM_F_EXCL, Payload: Nest(a, trafficOptions, options)}
}
