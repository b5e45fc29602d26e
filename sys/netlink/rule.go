package netlink

import "golang.org/x/sys/unix"

// Attributes of struct fib_rule_hdr, linux/fib_rules.h, which x/sys lacks.
const (
	ruleTo       = 1 // FR_ACT_TO_TBL
	rulePriority = 6 // FRA_PRIORITY
	ruleMark     = 10
	ruleTable    = 15
)

// RuleRequest has packets of a family, unix.AF_INET or AF_INET6, that bear a mark looked
// up in a routing table. That it is there already is EEXIST.
func RuleRequest(family byte, priority, mark, table uint32) Request {
	return Request{Kind: unix.RTM_NEWRULE, Flags: unix.NLM_F_CREATE | unix.NLM_F_EXCL, Payload: rule(family, priority, mark, table)}
}

// DeleteRuleRequest takes a rule away; that there is none is ENOENT.
func DeleteRuleRequest(family byte, priority, mark, table uint32) Request {
	return Request{Kind: unix.RTM_DELRULE, Payload: rule(family, priority, mark, table)}
}

func rule(family byte, priority, mark, table uint32) []byte {
	b := make([]byte, unix.SizeofRtMsg) // struct fib_rule_hdr has the same size
	b[0], b[7] = family, ruleTo
	b = AppendUint32(b, rulePriority, priority)
	b = AppendUint32(b, ruleMark, mark)
	return AppendUint32(b, ruleTable, table)
}

// EverywhereRequest has a routing table say that all addresses of a family are the host's
// own, by way of a device. That it is there already is EEXIST.
func EverywhereRequest(family byte, index int, table uint32) Request {
	return Request{Kind: unix.RTM_NEWROUTE, Flags: unix.NLM_F_CREATE | unix.NLM_F_EXCL, Payload: everywhere(family, index, table)}
}

// DeleteEverywhereRequest takes that away; that it is not there is ESRCH.
func DeleteEverywhereRequest(family byte, index int, table uint32) Request {
	return Request{Kind: unix.RTM_DELROUTE, Payload: everywhere(family, index, table)}
}

func everywhere(family byte, index int, table uint32) []byte {
	b := make([]byte, unix.SizeofRtMsg)
	b[0], b[5], b[6], b[7] = family, unix.RTPROT_BOOT, unix.RT_SCOPE_HOST, unix.RTN_LOCAL
	b = AppendUint32(b, unix.RTA_OIF, uint32(index))
	return AppendUint32(b, unix.RTA_TABLE, table)
}
