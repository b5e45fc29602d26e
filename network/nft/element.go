package nft

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"berth/sys/netlink"
)

// Element is one element of a set or map.
type Element struct {
	family    byte
	set       string
	key, data []byte
	keyEnd    []byte // the last key of an interval of a concatenation
	last      bool   // the first key after a plain interval
}

// place is what a set has once: two elements of one place are the same, or one of
// them is in the way of the other.
type place struct {
	family byte
	set    string
	key    string
	last   bool
}

func (e Element) place() place { return place{e.family, e.set, string(e.key), e.last} }

// Without are the elements of a list in whose places none of others is.
func Without(list []Element, others ...[]Element) (rest []Element) {
	taken := map[place]bool{}
	for _, o := range others {
		for _, e := range o {
			taken[e.place()] = true
		}
	}
	for _, e := range list {
		if !taken[e.place()] {
			rest = append(rest, e)
		}
	}
	return rest
}

// Differences are the elements that come and that go where those of old shall become
// those of now: one that leads elsewhere goes and comes.
func Differences(old, now []Element) (add, remove []Element) {
	return changed(old, now), changed(now, old)
}

// changed are those of now that are not among old.
func changed(old, now []Element) (list []Element) {
	has := make(map[place]Element, len(old))
	for _, e := range old {
		has[e.place()] = e
	}
	for _, e := range now {
		o, ok := has[e.place()]
		if !ok || !bytes.Equal(o.keyEnd, e.keyEnd) || !bytes.Equal(o.data, e.data) {
			list = append(list, e)
		}
	}
	return list
}

// Network is a bridge as the firewall sees it.
type Network struct {
	Device   string
	Subnets  []Subnet
	Internal bool
	Apart    bool     // its containers do not reach each other
	Mingles  bool     // it and others that do reach each other
	Trusted  []string // devices of the host by which its published ports are reached by the containers' own addresses
}

// Subnet is one of its subnets.
type Subnet struct {
	Prefix netip.Prefix
	NAT    bool // goes out with an address of the host
	Routed bool // is reached from anywhere, at ports that are open
	Open   bool // is reached from outside, at any port
}

// Elements are those of a network; of one without a device there are none.
func (n Network) Elements() []Element {
	if n.Device == "" {
		return nil
	}
	d := device(n.Device)
	both := append(slices.Clone(d), d...)
	list := []Element{{family: inet, set: "networks", key: d}, {family: inet, set: "same", key: both}}
	if !n.Apart {
		list = append(list, Element{family: inet, set: "talk", key: both})
	}
	if n.Internal {
		list = append(list, Element{family: inet, set: "internal", key: d})
	}
	if n.Mingles {
		list = append(list, Element{family: inet, set: "mingle", key: d})
	}
	for _, t := range n.Trusted {
		list = append(list, Element{family: inet, set: "trusting", key: append(device(t), d...)})
	}
	for _, s := range n.Subnets {
		suffix := "4"
		if s.Prefix.Addr().Is6() {
			suffix = "6"
		}
		list = append(list, interval("subnets"+suffix, s.Prefix)...)
		for _, one := range []struct {
			set string
			has bool
		}{{"nat", s.NAT}, {"routed", s.Routed}, {"open", s.Open}} {
			if one.has {
				list = append(list, interval(one.set+suffix, s.Prefix)...)
			}
		}
	}
	return list
}

// interval is a subnet as the kernel's tree has it: its first address, and the
// first after it.
func interval(set string, p netip.Prefix) []Element {
	first := p.Masked().Addr()
	list := []Element{{family: inet, set: set, key: first.AsSlice()}}
	if after := last(p).Next(); after.IsValid() {
		list = append(list, Element{family: inet, set: set, key: after.AsSlice(), last: true})
	}
	return list
}

// last is the last address of a subnet.
func last(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// Opened says that forwarding of IPv4, or of IPv6, was switched on on a device only
// for us.
func Opened(name string, v6 bool) Element {
	set := "opened"
	if v6 {
		set = "opened6"
	}
	return Element{family: inet, set: set, key: device(name)}
}

// Within lets a bridge of the host pass on frames, which the kernel may show to the
// firewall as if they were routed.
func Within(bridge string) Element {
	d := device(bridge)
	return Element{family: inet, set: "within", key: append(slices.Clone(d), d...)}
}

// Trust lets a port of a bridge claim anything.
func Trust(port string) []Element {
	return []Element{{family: bridge, set: "trusted", key: device(port)}}
}

// Guard says what the port of a bridge may claim: a link address of 6 bytes and
// addresses.
func Guard(port string, link []byte, addresses []netip.Addr) []Element {
	d := device(port)
	list := []Element{{family: bridge, set: "link", key: key(d, link)}}
	for _, a := range addresses {
		set := "arp"
		if a.Is6() {
			set = "neighbour"
		}
		list = append(list, Element{family: bridge, set: set, key: key(d, a.AsSlice())})
	}
	return list
}

// Mapping is a published range: First to Last of the host's port, at an address
// or all (zero), lead to To. The port stays if To has none, else First and Last
// are the same.
type Mapping struct {
	Protocol    byte
	At          netip.Addr
	First, Last uint16
	To          netip.AddrPort
}

// Element is the mapping's element.
func (m Mapping) Element() Element {
	to := m.To.Addr()
	suffix := "4"
	if to.Is6() {
		suffix = "6"
	}
	var at [][]byte
	end := ""
	if m.At.IsValid() {
		at, end = [][]byte{m.At.AsSlice()}, "_at"
	}
	keyOf := func(p uint16) []byte {
		return key(slices.Concat(at, [][]byte{{m.Protocol}, port(p)})...)
	}
	if m.To.Port() == 0 {
		return Element{family: inet, set: "range" + suffix + end, key: keyOf(m.First), keyEnd: keyOf(m.Last), data: to.AsSlice()}
	}
	return Element{family: inet, set: "publish" + suffix + end, key: keyOf(m.First), data: key(to.AsSlice(), port(m.To.Port()))}
}

// Opening is a range of ports of a container's own address, for who may go there
// without a translation.
type Opening struct {
	To          netip.Addr
	Protocol    byte
	First, Last uint16
}

// Element is the opening's element.
func (o Opening) Element() Element {
	set := "port4"
	if o.To.Is6() {
		set = "port6"
	}
	keyOf := func(p uint16) []byte { return key(o.To.AsSlice(), []byte{o.Protocol}, port(p)) }
	return Element{family: inet, set: set, key: keyOf(o.First), keyEnd: keyOf(o.Last)}
}

// Relayed is a port of the host at an IPv6 address, or all (zero), where a program of
// ours serves in place of a container.
type Relayed struct {
	Protocol byte
	At       netip.Addr
	Port     uint16
}

// Element is the port's element.
func (r Relayed) Element() Element {
	own := key([]byte{r.Protocol}, port(r.Port))
	if r.At.IsValid() {
		return Element{family: inet, set: "relayed6_at", key: key(r.At.AsSlice(), own)}
	}
	return Element{family: inet, set: "relayed6", key: own}
}

func port(p uint16) []byte { return binary.BigEndian.AppendUint16(nil, p) }

// Add adds elements in one transaction. What is there already is no error; the
// error unwraps to EBUSY if a key leads elsewhere, EEXIST if a range overlaps
// another, and to ENOENT if there is no table.
func (c *Conn) Add(elements []Element) error {
	if _, err := c.commit(c.elementRequests(unix.NFT_MSG_NEWSETELEM, unix.NLM_F_CREATE, elements)); err != nil {
		return fmt.Errorf("change the firewall: %w", err)
	}
	return nil
}

// Remove removes elements, in one transaction unless some are not there. That
// is no error, nor is it that there is no table.
func (c *Conn) Remove(elements []Element) error {
	_, err := c.commit(c.elementRequests(unix.NFT_MSG_DELSETELEM, 0, elements))
	if errors.Is(err, unix.ENOENT) {
		err = nil
		for _, e := range elements {
			if _, one := c.commit(c.elementRequests(unix.NFT_MSG_DELSETELEM, 0, []Element{e})); one != nil && !errors.Is(one, unix.ENOENT) {
				err = one
			}
		}
	}
	if err != nil {
		return fmt.Errorf("change the firewall: %w", err)
	}
	return nil
}

// perRequest bounds the elements of one request, whose list of attributes has a
// size of 16 bits.
const perRequest = 400

// elementRequests groups elements by their set, in the order in which the sets
// appear first.
func (c *Conn) elementRequests(kind, flags uint16, elements []Element) []netlink.Request {
	type group struct {
		family byte
		set    string
	}
	var order []group
	groups := map[group][]Element{}
	for _, e := range elements {
		p := group{e.family, e.set}
		if groups[p] == nil {
			order = append(order, p)
		}
		groups[p] = append(groups[p], e)
	}
	var list []netlink.Request
	for _, p := range order {
		for some := range slices.Chunk(groups[p], perRequest) {
			var inner attrs
			for _, e := range some {
				inner = inner.nest(unix.NFTA_LIST_ELEM, e.attributes(kind == unix.NFT_MSG_NEWSETELEM))
			}
			a := attrs(nil).text(unix.NFTA_SET_ELEM_LIST_TABLE, c.table).text(unix.NFTA_SET_ELEM_LIST_SET, p.set).
				nest(unix.NFTA_SET_ELEM_LIST_ELEMENTS, inner)
			list = append(list, message(kind, p.family, flags, a))
		}
	}
	return list
}

func (e Element) attributes(data bool) attrs {
	a := attrs(nil).value(unix.NFTA_SET_ELEM_KEY, e.key)
	if e.keyEnd != nil {
		a = a.value(elementKeyEnd, e.keyEnd)
	}
	if e.last {
		a = a.number(unix.NFTA_SET_ELEM_FLAGS, unix.NFT_SET_ELEM_INTERVAL_END)
	}
	if data && e.data != nil {
		a = a.value(unix.NFTA_SET_ELEM_DATA, e.data)
	}
	return a
}
