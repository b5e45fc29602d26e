// Package portmap is the published ports of containers: it decides the host's
// ports, holds them by bound sockets, and says what the firewall's maps get. It
// writes no file and talks to no firewall. Row 3, below network.
package portmap

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"berth/base/atomicfile"
	"berth/base/fault"
	"berth/network/nft"
)

// Port is a published range: Count ports of the host lead to as many of the
// container.
type Port struct {
	Protocol  string     `json:"protocol"`          // tcp, udp, sctp
	Container uint16     `json:"container"`         // the first port inside
	Host      uint16     `json:"host"`              // the first port outside, 0 any free one
	HostEnd   uint16     `json:"hostEnd,omitempty"` // for one inside: any free of Host to HostEnd
	Count     uint16     `json:"count"`             // at least 1
	Address   netip.Addr `json:"address"`           // of the host; zero: all
}

// protocolNumber is 0 for what cannot be published.
func protocolNumber(name string) byte {
	switch name {
	case "tcp":
		return unix.IPPROTO_TCP
	case "udp":
		return unix.IPPROTO_UDP
	case "sctp":
		return unix.IPPROTO_SCTP
	}
	return 0
}

// Check refuses what cannot be published: kind Invalid.
func (p Port) Check() error {
	if protocolNumber(p.Protocol) == 0 {
		return fault.New(fault.Invalid, "invalid proto: %.40q", p.Protocol)
	}
	count := int(max(p.Count, 1))
	if p.Container == 0 || int(p.Container)+count-1 > 0xffff || int(p.Host)+count-1 > 0xffff {
		return fault.New(fault.Invalid, "publish port %d to %d: there are ports 1 to 65535", p.Host, p.Container)
	}
	if p.HostEnd != 0 && (p.HostEnd < p.Host || count != 1) {
		return fault.New(fault.Invalid, "publish port %d: %d-%d is not a range to choose one of", p.Container, p.Host, p.HostEnd)
	}
	return nil
}

// Keep puts what a container has in the place of what is asked for it, where that is
// the same or would do: it keeps the host's ports.
func Keep(have, asked []Port) []Port {
	rest, out, done := slices.Clone(have), slices.Clone(asked), make([]bool, len(asked))
	for _, fits := range []func(h, p Port) bool{
		func(h, p Port) bool { return h.serves(p) && h.Address == p.Address && h.Host == p.Host },
		Port.serves,
	} {
		for i, p := range asked {
			p.Count = max(p.Count, 1)
			at := slices.IndexFunc(rest, func(h Port) bool { return !done[i] && fits(h, p) })
			if at >= 0 {
				out[i], done[i] = rest[at], true
				rest = slices.Delete(rest, at, at+1)
			}
		}
	}
	for i, p := range asked { // a part of a range for which any port did
		p.Count = max(p.Count, 1)
		for _, h := range rest {
			if !done[i] && p.Host == 0 && h.Host != 0 && h.Protocol == p.Protocol && h.at(p.Address) && h.Container <= p.Container && p.Container-h.Container+p.Count <= h.Count {
				out[i], done[i] = h, true
				out[i].Host, out[i].Container, out[i].Count = h.Host+p.Container-h.Container, p.Container, p.Count
			}
		}
	}
	return out
}

// serves reports whether a decided port is one that p asks for.
func (p Port) serves(asked Port) bool {
	return p.Protocol == asked.Protocol && p.Container == asked.Container && p.Count == asked.Count && p.at(asked.Address) &&
		(asked.Host == 0 || asked.Host <= p.Host && p.Host <= max(asked.HostEnd, asked.Host))
}

// at reports whether a port is where a was asked for; zero: wherever it is put.
func (p Port) at(a netip.Addr) bool { return !a.IsValid() || p.Address == a }

// Any reports whether there is a choice of the host's port.
func (p Port) Any() bool { return p.Host == 0 || p.HostEnd > p.Host }

// last is the last port of the host.
func (p Port) last() uint16 { return p.Host + max(p.Count, 1) - 1 }

// Overlaps reports whether both want one port of one address.
func (p Port) Overlaps(q Port) bool {
	return p.Protocol == q.Protocol && p.Host != 0 && q.Host != 0 && p.Host <= q.last() && q.Host <= p.last() &&
		(everywhere(p.Address, q.Address) || everywhere(q.Address, p.Address) || p.Address == q.Address)
}

// everywhere reports whether a is all addresses, b's family included.
func everywhere(a, b netip.Addr) bool {
	return !a.IsValid() || a.IsUnspecified() && (!b.IsValid() || a.Is4() == b.Is4())
}

// Target is where a container's ports are.
type Target struct {
	IPv4, IPv6 netip.Addr
	// All: every port is relayed, as no rule of a firewall leads to the container.
	All bool
}

// Mappings are what the firewall's maps get for a port that was decided.
func (p Port) Mappings(to Target) []nft.Mapping {
	var list []nft.Mapping
	for _, ip := range []netip.Addr{to.IPv4, to.IPv6} {
		if !ip.IsValid() || p.Address.IsValid() && p.Address.Is4() != ip.Is4() {
			continue
		}
		m := nft.Mapping{Protocol: protocolNumber(p.Protocol), First: p.Host, Last: p.last()}
		if !p.Address.IsUnspecified() {
			m.At = p.Address
		}
		if p.Host == p.Container && p.Count > 1 {
			m.To = netip.AddrPortFrom(ip, 0) // one element for all of them
			list = append(list, m)
			continue
		}
		for i := range max(p.Count, 1) {
			m.First, m.Last = p.Host+i, p.Host+i
			m.To = netip.AddrPortFrom(ip, p.Container+i)
			list = append(list, m)
		}
	}
	return list
}

// Openings are the container's own ports, for who reaches it without a translation:
// each once, however often it is published.
func Openings(ports []Port, to Target) []nft.Opening {
	var list []nft.Opening
	for _, p := range ports {
		for _, ip := range []netip.Addr{to.IPv4, to.IPv6} {
			if ip.IsValid() && !(p.Address.IsValid() && p.Address.Is4() != ip.Is4()) {
				list = append(list, nft.Opening{To: ip, Protocol: protocolNumber(p.Protocol), First: p.Container, Last: p.Container + max(p.Count, 1) - 1})
			}
		}
	}
	slices.SortFunc(list, func(a, b nft.Opening) int {
		return cmp.Or(a.To.Compare(b.To), cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.First, b.First))
	})
	var out []nft.Opening
	for _, o := range list {
		last := len(out) - 1
		if last >= 0 && out[last].To == o.To && out[last].Protocol == o.Protocol && o.First <= out[last].Last {
			out[last].Last = max(out[last].Last, o.Last)
			continue
		}
		out = append(out, o)
	}
	return out
}

// String is the port as docker port shows the host's side.
func (p Port) String() string {
	host := "0.0.0.0"
	if p.Address.IsValid() {
		host = p.Address.String()
		if p.Address.Is6() {
			host = "[" + host + "]"
		}
	}
	s := host + ":" + strconv.Itoa(int(p.Host))
	if p.Count > 1 {
		s += "-" + strconv.Itoa(int(p.last()))
	}
	return s
}

// taken is the error for a port that a container of ours has, in Docker's words.
func taken(p Port, port uint16) error {
	address := "0.0.0.0"
	if p.Address.IsValid() {
		address = p.Address.String()
	}
	return fault.New(fault.Conflict, "Bind for %s:%d failed: port is already allocated", address, port)
}

// inUse is the error for a port that another program of the host has.
func inUse(p Port, port uint16, err error) error {
	network, address := p.Protocol+"4", "0.0.0.0"
	if a := p.Address; a.IsValid() {
		address = a.String()
		if a.Is6() {
			network, address = p.Protocol+"6", "["+address+"]"
		}
	}
	reserved := uint16(0)
	if err == unix.EACCES {
		reserved = firstUnprivileged()
	}
	err = fmt.Errorf("listen %s %s:%d: bind: %w", network, address, port, err)
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return fault.Wrap(fault.Conflict, err)
	case port < reserved:
		return fault.New(fault.Permission, "%w: ports below %d are root's; sysctl net.ipv4.ip_unprivileged_port_start=%d gives them to users", err, reserved, port)
	}
	return err
}

// firstUnprivileged is the first port that ordinary users may take (ip-sysctl.rst), 0 if
// that is not known.
func firstUnprivileged() uint16 {
	b, err := atomicfile.ReadCapped("/proc/sys/net/ipv4/ip_unprivileged_port_start", 64)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 16)
	if err != nil {
		return 0
	}
	return uint16(n)
}
