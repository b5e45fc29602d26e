package dhcp

import (
	"net/netip"
	"slices"
	"strings"
)

// Bounds of what is taken over, those of resolv.conf(5).
const (
	maxServers = 3
	maxDomains = 6
	maxDomain  = 253 // bytes
)

// servers are the name servers that a host can ask.
func (o options) servers() (list []netip.Addr) {
	for v := o[optionNames]; len(v) >= 4 && len(list) < maxServers; v = v[4:] {
		if a := netip.AddrFrom4([4]byte(v[:4])); usable(a) {
			list = append(list, a)
		}
	}
	return list
}

// domains are the search list (RFC 3397), else the host's domain.
func (o options) domains() (list []string) {
	add := func(name string) {
		name = strings.TrimRight(name, ".\x00")
		if isDomain(name) && !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	b := o[optionSearch]
	for at := 0; at < len(b) && len(list) < maxDomains; {
		name, next := domain(b, at)
		if next < 0 {
			break
		}
		add(name)
		at = next
	}
	if len(list) == 0 {
		add(string(o[optionDomain]))
	}
	return list
}

// domain reads a name at a place in a list, which may point at what stands before it;
// next is where the one after it is, -1 if there is no sense in it.
func domain(b []byte, at int) (name string, next int) {
	next = -1
	var labels []string
	size := 0
	for at < len(b) {
		n := int(b[at])
		switch {
		case n == 0:
			if next < 0 {
				next = at + 1
			}
			return strings.Join(labels, "."), next
		case n >= 0xc0 && at+1 < len(b):
			to := (n&0x3f)<<8 | int(b[at+1])
			if to >= at { // only backwards, so there is an end
				return "", -1
			}
			if next < 0 {
				next = at + 2
			}
			at = to
		case n < 0x40 && at+1+n <= len(b):
			if size += n + 1; size > maxDomain {
				return "", -1
			}
			labels = append(labels, string(b[at+1:at+1+n]))
			at += 1 + n
		default:
			return "", -1
		}
	}
	return "", -1
}

// isDomain reports whether a name is one that a file of words can have.
func isDomain(name string) bool {
	return name != "" && len(name) <= maxDomain && name[0] != '-' && name[0] != '.' && !strings.Contains(name, "..") &&
		!strings.ContainsFunc(name, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '.' && r != '_'
		})
}
