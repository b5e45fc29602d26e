package nft

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"berth/sys/netlink"
)

// A drop is final whatever our own table says, and dockerd and ufw drop what is
// forwarded and nobody accepts. Each offers a chain of the table filter, which
// iptables-nft keeps for both, for what others want to have accepted: there a
// rule of ours leads to a chain of ours. It is made of what iptables-nft lists.

// offered are those chains. In ufw's the administrator's route rules come before
// ours, in dockerd's all but its last rule, which returns.
var offered = []string{"DOCKER-USER", "ufw-user-forward", "ufw6-user-forward"}

// lastPlace is where a rule of ours leads on if no such chain is there and what nobody
// has accepted is dropped (iptables -P FORWARD DROP): at its end, after the
// administrator's own rules.
const lastPlace = "FORWARD"

// others are beginnings of the names of bridges on which dockerd, libvirt and
// other engines decide who may come in: a way out of ours is none to them.
var others = []string{"docker", "br-", "virbr", "lxcbr", "lxdbr", "incusbr", "podman", "cni"}

const (
	filterTable = "filter"
	passageName = "BERTH-FORWARD"
)

// passage is what is there of ours in the table filter of one family.
type passage struct {
	family byte
	chain  string
	places []string // chains where a rule is to lead to ours
	jumps  []link   // rules that do
	before map[string]uint64
	rules  [][]byte // of our chain, nil: there is none
	there  bool
}

// link is a rule that leads to our chain.
type link struct {
	chain  string
	handle uint64
}

// Pass makes the chains that dockerd and ufw offer accept what goes to and from
// the bridges; what our own table drops stays dropped. It takes back what was
// there for others before. That there is no such chain is no error.
func (c *Conn) Pass(bridges []string) (err error) {
	bridges = slices.Sorted(slices.Values(bridges))
	for _, family := range []byte{unix.NFPROTO_IPV4, unix.NFPROTO_IPV6} {
		for range 10 {
			if err = c.pass(family, bridges); !errors.Is(err, unix.ERESTART) { // somebody changed something since we looked
				break
			}
		}
		if err != nil {
			return fmt.Errorf("let networks through the chains of dockerd and ufw: %w", err)
		}
	}
	return nil
}

func (c *Conn) pass(family byte, bridges []string) error {
	generation, err := c.Generation()
	if err != nil {
		return err
	}
	p, err := c.passage(family)
	if err != nil || len(p.places) == 0 && !p.there {
		return err
	}
	var want []rule
	if len(bridges) > 0 && len(p.places) > 0 {
		want = passageRules(bridges)
	}
	_, err = c.commitAt(generation, p.difference(want))
	return err
}

// Has reports whether there is a table of that name in the family inet.
func (c *Conn) Has(table string) (bool, error) {
	list, err := c.dump(unix.NFT_MSG_GETTABLE, inet, nil)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(list, func(a []netlink.Attribute) bool { return text(a, unix.NFTA_TABLE_NAME) == table }), nil
}

// passageRules are our chain's.
func passageRules(bridges []string) (list []rule) {
	for _, b := range bridges {
		list = append(list, all(named(unix.NFT_META_OIFNAME, b+"\x00"), counter(), accept()))
	}
	for _, prefix := range others {
		list = append(list, all(named(unix.NFT_META_OIFNAME, prefix), counter(), verdict(unix.NFT_RETURN, "")))
	}
	for _, b := range bridges {
		list = append(list, all(named(unix.NFT_META_IIFNAME, b+"\x00"), counter(), accept()))
	}
	return list
}

// named holds for devices whose name begins so; one that ends in a zero is whole.
func named(key uint32, name string) []expression {
	return []expression{meta(key, r0), is([]byte(name))}
}

func counter() expression {
	return step("counter", attrs(nil).bytes(unix.NFTA_COUNTER_BYTES, make([]byte, 8)).bytes(unix.NFTA_COUNTER_PACKETS, make([]byte, 8)))
}

// passage looks at the table filter of a family.
func (c *Conn) passage(family byte) (p passage, err error) {
	p = passage{family: family, chain: passageName + strings.TrimPrefix(c.table, Table), before: map[string]uint64{}}
	chains, err := c.dump(unix.NFT_MSG_GETCHAIN, family, attrs(nil).text(unix.NFTA_CHAIN_TABLE, filterTable))
	if err != nil {
		return p, err
	}
	look, drops := []string(nil), false // chains with rules of ours, perhaps
	for _, attributes := range chains {
		if text(attributes, unix.NFTA_CHAIN_TABLE) != filterTable {
			continue
		}
		name := text(attributes, unix.NFTA_CHAIN_NAME)
		switch {
		case name == p.chain:
			p.there = true
		case name == lastPlace:
			drops = bytes.Equal(data(attributes, unix.NFTA_CHAIN_POLICY), []byte{0, 0, 0, nfDrop})
		case slices.Contains(offered, name):
			p.places = append(p.places, name)
		default:
			continue
		}
		look = append(look, name)
	}
	if len(p.places) == 0 && drops {
		p.places = []string{lastPlace}
	}
	for _, chain := range look {
		rules, err := c.dump(unix.NFT_MSG_GETRULE, family, attrs(nil).text(unix.NFTA_RULE_TABLE, filterTable).text(unix.NFTA_RULE_CHAIN, chain))
		if err != nil {
			return p, err
		}
		for _, attributes := range rules {
			if text(attributes, unix.NFTA_RULE_TABLE) == filterTable && text(attributes, unix.NFTA_RULE_CHAIN) == chain {
				p.see(chain, attributes)
			}
		}
	}
	return p, nil
}

// see takes in a rule of our chain or of an offered one.
func (p *passage) see(chain string, attributes []netlink.Attribute) {
	handle, expressions := uint64(0), []byte(nil)
	for _, a := range attributes {
		switch a.Type {
		case unix.NFTA_RULE_HANDLE:
			if len(a.Data) == 8 {
				handle = binary.BigEndian.Uint64(a.Data)
			}
		case unix.NFTA_RULE_EXPRESSIONS:
			expressions = a.Data
		}
	}
	if chain == p.chain {
		p.rules = append(p.rules, essence(expressions))
		return
	}
	code, to := verdictOf(expressions)
	switch {
	case code == unix.NFT_JUMP && to == p.chain:
		p.jumps = append(p.jumps, link{chain, handle})
		delete(p.before, chain)
	case code == unix.NFT_RETURN && len(netlink.Attributes(expressions)) <= 2: // with its counter: of all packets
		p.before[chain] = handle
	default:
		delete(p.before, chain)
	}
}

// difference are the requests that make it as it shall be; without rules, as if
// we had never been there.
func (p *passage) difference(want []rule) (list []netlink.Request) {
	same := p.there == (want != nil) && len(p.rules) == len(want)
	for i := 0; same && i < len(want); i++ {
		same = bytes.Equal(p.rules[i], essence(expressionList(want[i])))
	}
	places := slices.Clone(p.places)
	for _, j := range p.jumps {
		if at := slices.Index(places, j.chain); want != nil && at >= 0 {
			places = slices.Delete(places, at, at+1)
			continue
		}
		list = append(list, message(unix.NFT_MSG_DELRULE, p.family, 0, p.at(j.chain).bytes(unix.NFTA_RULE_HANDLE, binary.BigEndian.AppendUint64(nil, j.handle))))
	}
	if want == nil {
		places = nil
	}
	if !same {
		// Emptied first: it cannot go with rules in it.
		if p.there {
			list = append(list, message(unix.NFT_MSG_DELRULE, p.family, 0, p.at(p.chain)))
		}
		name := attrs(nil).text(unix.NFTA_CHAIN_TABLE, filterTable).text(unix.NFTA_CHAIN_NAME, p.chain)
		if want == nil {
			return append(list, message(unix.NFT_MSG_DELCHAIN, p.family, 0, name))
		}
		list = append(list, message(unix.NFT_MSG_NEWCHAIN, p.family, unix.NLM_F_CREATE, name))
		for _, r := range want {
			list = append(list, message(unix.NFT_MSG_NEWRULE, p.family, unix.NLM_F_CREATE|unix.NLM_F_APPEND,
				p.at(p.chain).nest(unix.NFTA_RULE_EXPRESSIONS, expressionList(r))))
		}
	}
	for _, place := range places {
		a := p.at(place).nest(unix.NFTA_RULE_EXPRESSIONS, expressionList(all(counter(), jump(p.chain))))
		flags := uint16(unix.NLM_F_CREATE | unix.NLM_F_APPEND)
		if handle, ok := p.before[place]; ok {
			flags = unix.NLM_F_CREATE
			a = a.bytes(unix.NFTA_RULE_POSITION, binary.BigEndian.AppendUint64(nil, handle))
		}
		list = append(list, message(unix.NFT_MSG_NEWRULE, p.family, flags, a))
	}
	return list
}

func (p *passage) at(chain string) attrs {
	return attrs(nil).text(unix.NFTA_RULE_TABLE, filterTable).text(unix.NFTA_RULE_CHAIN, chain)
}

func expressionList(r rule) (list attrs) {
	for _, e := range r {
		list = list.nest(unix.NFTA_LIST_ELEM, attrs(e))
	}
	return list
}

// essence is what a rule's steps do, without what they have counted and how the
// kernel numbers registers.
func essence(expressions []byte) []byte {
	var b []byte
	for _, e := range netlink.Attributes(expressions) {
		var name string
		var data []netlink.Attribute
		for _, a := range netlink.Attributes(e.Data) {
			switch a.Type {
			case unix.NFTA_EXPR_NAME:
				name = a.String()
			case unix.NFTA_EXPR_DATA:
				data = netlink.Attributes(a.Data)
			}
		}
		b = append(b, name...)
		for _, a := range data {
			if name == "counter" || name == "meta" && a.Type == unix.NFTA_META_DREG || name == "cmp" && a.Type == unix.NFTA_CMP_SREG {
				continue
			}
			b = fmt.Appendf(b, " %d %x", a.Type, unnested(a.Data))
		}
		b = append(b, '\n')
	}
	return b
}

// unnested drops the marks of nested attributes, which the kernel leaves out.
func unnested(b []byte) []byte {
	b = slices.Clone(b)
	if len(b) >= 4 && int(binary.NativeEndian.Uint16(b)) <= len(b) {
		kind := binary.NativeEndian.Uint16(b[2:])
		if kind&unix.NLA_F_NESTED != 0 {
			binary.NativeEndian.PutUint16(b[2:], kind&^unix.NLA_F_NESTED)
		}
		copy(b[4:], unnested(b[4:]))
	}
	return b
}

// verdictOf is what a rule ends with.
func verdictOf(expressions []byte) (code int32, chain string) {
	for _, e := range netlink.Attributes(expressions) {
		list := netlink.Attributes(e.Data)
		if text(list, unix.NFTA_EXPR_NAME) != "immediate" {
			continue
		}
		for _, kind := range []uint16{unix.NFTA_EXPR_DATA, unix.NFTA_IMMEDIATE_DATA, unix.NFTA_DATA_VERDICT} {
			list = netlink.Attributes(data(list, kind))
		}
		if b := data(list, unix.NFTA_VERDICT_CODE); len(b) == 4 {
			code, chain = int32(binary.BigEndian.Uint32(b)), text(list, unix.NFTA_VERDICT_CHAIN)
		}
	}
	return code, chain
}

func data(list []netlink.Attribute, kind uint16) []byte {
	for _, a := range list {
		if a.Type == kind {
			return a.Data
		}
	}
	return nil
}

func text(list []netlink.Attribute, kind uint16) string {
	return netlink.Attribute{Data: data(list, kind)}.String()
}

// dump lists chains or rules of a family; none if the table is not there.
func (c *Conn) dump(kind uint16, family byte, of attrs) (all [][]netlink.Attribute, err error) {
	list, err := c.c.Do(unix.NFNL_SUBSYS_NFTABLES<<8|kind, unix.NLM_F_DUMP, append([]byte{family, unix.NFNETLINK_V0, 0, 0}, of...))
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return nil, fmt.Errorf("list the firewall: %w", err)
	}
	for _, m := range list {
		if len(m.Data) >= 4 && m.Data[0] == family {
			all = append(all, netlink.Attributes(m.Data[4:]))
		}
	}
	return all, nil
}
