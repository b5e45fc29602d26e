package bundle

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"berth/base/fault"
)

// HostsFile is the text of /etc/hosts: the loopback names, extra ones in their
// order, then each address with the container's own names.
func HostsFile(hostname, domainname string, addresses []netip.Addr, extra []HostEntry) (string, error) {
	var b strings.Builder
	b.WriteString("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\nff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n")
	for _, e := range extra {
		names := append([]string{e.Name}, e.Aliases...)
		for _, name := range names {
			if !plain(name) || name == "" {
				return "", fault.New(fault.Invalid, "host name %.80q does not fit into a line of /etc/hosts", name)
			}
		}
		b.WriteString(e.Address.String() + "\t" + strings.Join(names, " ") + "\n")
	}
	// Blanks in it make several names of it, as with Docker.
	if !plain(strings.ReplaceAll(hostname, " ", "")) || !plain(domainname) {
		return "", fault.New(fault.Invalid, "host name %.80q does not fit into a line of /etc/hosts", hostname)
	}
	names := hostname
	if domainname != "" {
		names += "." + domainname
	}
	if short, _, ok := strings.Cut(names, "."); ok {
		names += " " + short
	}
	for _, a := range addresses {
		b.WriteString(a.String() + "\t" + names + "\n")
	}
	return b.String(), nil
}

// HostEntry is one --add-host or link.
type HostEntry struct {
	Name    string
	Aliases []string
	Address netip.Addr
}

// plain reports whether s can be a word of a line.
func plain(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f })
}

// Resolver is what resolv.conf says.
type Resolver struct{ Servers, Search, Options []string }

// fallbackServers are used where the host names none that a container could
// reach: Docker's.
var fallbackServers = []string{"8.8.8.8", "8.8.4.4"}

// maxResolv bounds the host's resolv.conf that is taken into account.
const maxResolv = 64 << 10

// ResolvConf is the text of /etc/resolv.conf: the host's own, unless something
// was asked for, which then takes the place of what the host says. Unless
// hostNetwork, servers on the host's loopback are left out, as nobody answers
// there. A search of "." alone clears it.
func ResolvConf(host []byte, asked Resolver, hostNetwork bool) (string, error) {
	if len(host) > maxResolv {
		return "", fault.New(fault.Invalid, "the host's resolv.conf is larger than %d bytes", maxResolv)
	}
	text := string(host)
	if !hostNetwork {
		text = withoutLoopback(text)
	}
	r := parseResolv(text)
	if len(asked.Servers)+len(asked.Search)+len(asked.Options) == 0 && (len(r.Servers) > 0 || hostNetwork) {
		return text, nil
	}
	for _, p := range []struct{ asked, into *[]string }{
		{&asked.Servers, &r.Servers}, {&asked.Search, &r.Search}, {&asked.Options, &r.Options},
	} {
		if len(*p.asked) > 0 {
			*p.into = *p.asked
		}
	}
	if len(r.Servers) == 0 && !hostNetwork {
		r.Servers = fallbackServers
	}
	if len(r.Search) == 1 && r.Search[0] == "." {
		r.Search = nil
	}
	return r.text()
}

// ResolvConfNamed is the text of /etc/resolv.conf of a container whose names and
// what others know a server of ours tells: the host's search list and options unless
// others were asked for. Names of one word are asked for as they are, as with Docker,
// unless an option says that they are looked for with the search list first: dotted.
func ResolvConfNamed(host []byte, asked Resolver, server string) (text string, dotted bool, err error) {
	if len(host) > maxResolv {
		return "", false, fault.New(fault.Invalid, "the host's resolv.conf is larger than %d bytes", maxResolv)
	}
	r := parseResolv(string(host))
	r.Servers = []string{server}
	if len(asked.Search) > 0 {
		r.Search = asked.Search
	}
	if len(asked.Options) > 0 {
		r.Options = asked.Options
	}
	if len(r.Search) == 1 && r.Search[0] == "." {
		r.Search = nil
	}
	if dotted = hasDots(r.Options); !dotted {
		r.Options = append(slices.Clip(r.Options), "ndots:0")
	}
	text, err = r.text()
	return text, dotted, err
}

// hasDots reports whether options have names with fewer dots than some number looked
// for with the search list first.
func hasDots(options []string) bool {
	for _, o := range options {
		if text, ok := strings.CutPrefix(o, "ndots:"); ok {
			if n, err := strconv.Atoi(text); err == nil && n > 0 {
				return true
			}
		}
	}
	return false
}

// text writes the file in Docker's order.
func (r *Resolver) text() (string, error) {
	for _, list := range [][]string{r.Servers, r.Search, r.Options} {
		for _, s := range list {
			if !plain(s) || s == "" {
				return "", fault.New(fault.Invalid, "%.80q does not fit into a line of resolv.conf", s)
			}
		}
	}
	var b strings.Builder
	if len(r.Search) > 0 {
		b.WriteString("search " + strings.Join(r.Search, " ") + "\n")
	}
	for _, s := range r.Servers {
		b.WriteString("nameserver " + s + "\n")
	}
	if len(r.Options) > 0 {
		b.WriteString("options " + strings.Join(r.Options, " ") + "\n")
	}
	return b.String(), nil
}

// withoutLoopback drops the lines of servers on the loopback.
func withoutLoopback(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) > 1 && f[0] == "nameserver" {
			if a, err := netip.ParseAddr(f[1]); err == nil && a.IsLoopback() {
				continue
			}
		}
		b.WriteString(line)
	}
	return b.String()
}

// parseResolv reads resolv.conf(5); the last search or domain line counts.
func parseResolv(text string) Resolver {
	var r Resolver
	for line := range strings.Lines(text) {
		if i := strings.IndexAny(line, "#;"); i >= 0 {
			line = line[:i]
		}
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		switch f[0] {
		case "nameserver":
			r.Servers = append(r.Servers, f[1])
		case "search", "domain":
			r.Search = f[1:]
		case "options":
			r.Options = append(r.Options, f[1:]...)
		}
	}
	return r
}
