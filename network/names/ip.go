package names

import (
	"strconv"
	"strings"
)

// ip is an address: its 4 or 16 bytes. Package net/netip is not linked, as each start
// of the helper would pay for what it does before main.
type ip string

func (a ip) is4() bool { return len(a) == 4 }

// parseIP reads an address, with the zone that may stand behind one of IPv6.
func parseIP(text string) (a ip, zone string, ok bool) {
	text, zone, zoned := strings.Cut(text, "%")
	if !strings.Contains(text, ":") {
		a, ok = parse4(text)
		return a, "", ok && !zoned
	}
	a, ok = parse6(text)
	return a, zone, ok && zoned == (zone != "")
}

func parse4(text string) (ip, bool) {
	parts := strings.Split(text, ".")
	if len(parts) != 4 {
		return "", false
	}
	var b [4]byte
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 10, 8)
		if err != nil || p[0] == '+' || len(p) > 1 && p[0] == '0' {
			return "", false
		}
		b[i] = byte(n)
	}
	return ip(b[:]), true
}

func parse6(text string) (ip, bool) {
	left, right, short := strings.Cut(text, "::")
	head, ok := groups(left)
	tail, ok2 := groups(right)
	missing := 16 - len(head) - len(tail)
	if !ok || !ok2 || short && missing < 2 || !short && missing != 0 {
		return "", false
	}
	return head + ip(make([]byte, missing)) + tail, true
}

// groups reads numbers between colons; the last one may be of IPv4's form.
func groups(text string) (out ip, ok bool) {
	if text == "" {
		return "", true
	}
	parts := strings.Split(text, ":")
	for i, p := range parts {
		if i == len(parts)-1 && strings.Contains(p, ".") {
			a, ok := parse4(p)
			return out + a, ok && len(out) <= 12
		}
		n, err := strconv.ParseUint(p, 16, 16)
		if err != nil || len(p) > 4 || len(out) >= 16 {
			return "", false
		}
		out += ip([]byte{byte(n >> 8), byte(n)})
	}
	return out, true
}

// within reports whether an address is of a subnet, ADDRESS/BITS.
func within(a ip, subnet string) bool {
	text, size, _ := strings.Cut(subnet, "/")
	net, _, ok := parseIP(text)
	bits, err := strconv.Atoi(size)
	if !ok || err != nil || len(net) != len(a) || bits < 0 || bits > 8*len(a) {
		return false
	}
	for i := range len(a) {
		keep := min(max(bits-8*i, 0), 8)
		if mask := byte(0xff << (8 - keep)); a[i]&mask != net[i]&mask {
			return false
		}
	}
	return true
}
