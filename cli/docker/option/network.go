package option

import (
	"cmp"
	"encoding/csv"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/container/config"
)

// network is the flags on how the container is reached; those that name no
// network are about the first one.
type network struct {
	asked                            []config.Endpoint // --network, in order
	first                            config.Endpoint   // --ip, --ip6, --mac-address, …
	publish, expose, hosts, links    []string
	dns, dnsOptions, search, aliases []string
}

func (n *network) flags(f *pflag.FlagSet, c *config.Config) {
	asked := &value{kind: "network", take: n.addNetwork}
	f.Var(asked, "network", "Connect a container to a network")
	f.Var(asked, "net", "Connect a container to a network")
	f.Var(listed(&n.aliases, nil), "network-alias", "Add network-scoped alias for the container")
	f.Var(listed(&n.aliases, nil), "net-alias", "Add network-scoped alias for the container")
	_, _ = f.MarkHidden("net"), f.MarkHidden("net-alias")
	f.StringVar(&n.first.IPv4, "ip", "", "IPv4 address (e.g., 172.30.100.104)")
	f.StringVar(&n.first.IPv6, "ip6", "", "IPv6 address (e.g., 2001:db8::33)")
	f.Var(listed(&n.first.LinkLocal, nil), "link-local-ip", "Container IPv4/IPv6 link-local addresses")
	f.StringVar(&n.first.MAC, "mac-address", "", "Container MAC address (e.g., 92:d0:c6:0a:29:33)")
	f.Var(listed(&n.links, checkLink), "link", "Add link to another container")
	f.VarP(listed(&n.publish, nil), "publish", "p", "Publish a container's port(s) to the host")
	f.BoolVarP(&c.Network.PublishAll, "publish-all", "P", false, "Publish all exposed ports to random ports")
	f.Var(listed(&n.expose, nil), "expose", "Expose a port or a range of ports")
	f.Var(listed(&n.dns, checkAddress), "dns", "Set custom DNS servers")
	f.Var(listed(&n.dnsOptions, nil), "dns-opt", "Set DNS options")
	f.Var(listed(&n.dnsOptions, nil), "dns-option", "Set DNS options")
	_ = f.MarkHidden("dns-opt")
	f.Var(listed(&n.search, checkSearch), "dns-search", "Set custom DNS search domains")
	f.Var(&value{kind: "list", take: n.addHost}, "add-host", "Add a custom host-to-IP mapping (host:ip)")
	f.StringVarP(&c.Hostname, "hostname", "h", "", "Container host name")
	f.StringVar(&c.Domainname, "domainname", "", "Container NIS domain name")
	f.BoolVar(&c.Network.NoHosts, "no-hosts", false, "Do not write /etc/hosts in the container")
	command.Extra(f, "no-hosts")
}

// addNetwork reads NAME, or name=NAME with what is asked of the endpoint, or podman's
// NAME:… with the same.
func (n *network) addNetwork(s string) error {
	if _, ok := wayOut(s); ok || !strings.Contains(s, "=") || strings.HasPrefix(s, "ns:") || strings.HasPrefix(s, "container:") {
		n.asked = append(n.asked, config.Endpoint{Network: s})
		return nil
	}
	if at := strings.IndexAny(s, ":=,"); s[at] == ':' {
		s = "name=" + s[:at] + "," + s[at+1:]
	}
	fields, err := csv.NewReader(strings.NewReader(s)).Read()
	if err != nil {
		return err
	}
	var e config.Endpoint
	named := false
	for _, field := range fields {
		key, v, ok := strings.Cut(field, "=")
		if !ok {
			return fmt.Errorf("invalid field %s", field)
		}
		key, v = strings.TrimSpace(strings.ToLower(key)), strings.TrimSpace(v)
		named = named || key == "name"
		if err := setEndpoint(&e, key, v); err != nil {
			return err
		}
	}
	if !named {
		return fmt.Errorf("network name/id is not specified")
	}
	e.Network = cmp.Or(e.Network, "default")
	n.asked = append(n.asked, e)
	return nil
}

func setEndpoint(e *config.Endpoint, key, v string) error {
	switch key {
	case "name":
		e.Network = v
	case "alias":
		e.Aliases = append(e.Aliases, v)
	case "ip":
		e.IPv4 = v
	case "ip6":
		e.IPv6 = v
	case "mac-address", "mac":
		e.MAC = v
	case "link-local-ip":
		e.LinkLocal = append(e.LinkLocal, v)
	case "interface_name":
		e.Interface = v
	case "gw-priority":
		p, err := strconv.Atoi(v)
		if err != nil {
			return fmt.Errorf("invalid gw-priority (%s): %w", v, err)
		}
		e.Priority = p
	case "driver-opt":
		k, value, ok := strings.Cut(v, "=")
		if !ok {
			return fmt.Errorf("invalid key value pair format in driver options")
		}
		if e.DriverOpts == nil {
			e.DriverOpts = map[string]string{}
		}
		e.DriverOpts[strings.ToLower(strings.TrimSpace(k))] = strings.TrimSpace(value)
	default:
		return fmt.Errorf("invalid field key %s", key)
	}
	return nil
}

// userDefined reports whether a name is of a network that a person made.
func userDefined(name string) bool {
	return !slices.Contains([]string{"", "default", "bridge", "host", "none"}, name) &&
		!strings.HasPrefix(name, "container:") && !strings.HasPrefix(name, "ns:")
}

// readNetwork joins what was asked for the first network to it, and finds the
// mode.
func (o *Options) readNetwork(Around) error {
	n, c := &o.network, &o.config.Network
	if o.config.Image.Dialect == "podman" {
		if err := n.ofPodman(); err != nil {
			return err
		}
	}
	if err := n.check(); err != nil {
		return err
	}
	if c.PublishAll || len(n.publish) > 0 || len(n.expose) > 0 {
		if err := n.ports(c); err != nil {
			return err
		}
	}
	c.DNS, c.DNSOptions, c.DNSSearch, c.ExtraHosts, c.Links = n.dns, n.dnsOptions, n.search, n.hosts, n.links
	first := n.first
	if len(n.asked) > 0 {
		first = n.asked[0]
		n.fill(&first)
	}
	first.Aliases = append(first.Aliases, n.aliases...)
	name := first.Network
	switch {
	case len(n.asked) == 0 || name == "default":
		if isPlain(first) {
			return nil
		}
		first.Network, c.Mode = "bridge", "bridge"
	case name == "private":
		first.Network, c.Mode = "bridge", "bridge"
	case name == "host" || name == "none" || strings.HasPrefix(name, "container:") || strings.HasPrefix(name, "ns:"):
		c.Mode = name
		if isPlain(config.Endpoint{IPv4: first.IPv4, IPv6: first.IPv6, MAC: first.MAC}) {
			return nil
		}
	default:
		c.Mode = "bridge"
	}
	c.Endpoints = []config.Endpoint{first}
	if len(n.asked) > 1 {
		c.Endpoints = append(c.Endpoints, n.asked[1:]...)
	}
	return nil
}

// wayOut takes podman's names of the programs that lead an ordinary user's containers
// out, with their options, for what they are.
func wayOut(name string) (options string, ok bool) {
	program, options, _ := strings.Cut(name, ":")
	return options, program == "slirp4netns" || program == "pasta"
}

// ofPodman reads those names as the default network, whose way out is berth's. Options
// that change nothing that a container sees are taken.
func (n *network) ofPodman() error {
	for i := range n.asked {
		e := &n.asked[i]
		options, ok := wayOut(e.Network)
		if !ok {
			continue
		}
		for _, o := range strings.Split(options, ",") {
			switch key, v, _ := strings.Cut(o, "="); {
			case key == "" || key == "mtu" || key == "port_handler" || key == "enable_ipv6" || key == "allow_host_loopback" && v == "false":
			case key == "allow_host_loopback":
				return command.Line("--network %s: an ordinary user's containers reach the host's addresses with host = true in [uplink] of berth.toml", e.Network)
			default:
				return command.Line("--network %s: %s is no option of the default network, which stands in its place", e.Network, o)
			}
		}
		e.Network = "default"
	}
	return nil
}

// isPlain reports whether nothing but a name is asked of an endpoint.
func isPlain(e config.Endpoint) bool {
	return e.IPv4 == "" && e.IPv6 == "" && e.MAC == "" && e.Interface == "" && e.Priority == 0 &&
		len(e.Aliases)+len(e.LinkLocal)+len(e.DriverOpts) == 0
}

// fill gives the first network what stands in flags of its own.
func (n *network) fill(e *config.Endpoint) {
	for _, p := range []struct{ to, from *string }{{&e.IPv4, &n.first.IPv4}, {&e.IPv6, &n.first.IPv6}, {&e.MAC, &n.first.MAC}} {
		if *p.from != "" {
			*p.to = *p.from
		}
	}
	e.LinkLocal = append(e.LinkLocal, n.first.LinkLocal...)
}

// check finds networks that can't be together.
func (n *network) check() error {
	if n.first.MAC != "" {
		if _, err := net.ParseMAC(strings.TrimSpace(n.first.MAC)); err != nil {
			return command.Line("%s is not a valid mac address", n.first.MAC)
		}
	}
	var names []string
	own, others := 0, 0
	for _, e := range n.asked {
		switch {
		case e.Network == "":
			return command.Line("no name set for network")
		case slices.Contains(names, e.Network):
			return command.Line("network %q is specified multiple times", e.Network)
		case userDefined(e.Network):
			own++
		default:
			others++
		}
		names = append(names, e.Network)
	}
	if own > 0 && others > 0 {
		return command.Line("conflicting options: cannot attach both user-defined and non-user-defined network-modes")
	}
	if others > 1 {
		slices.Sort(names)
		return command.FromEngine(command.Line("Container cannot be connected to network endpoints: %s", strings.Join(names, ", ")))
	}
	return n.checkFirst()
}

// checkFirst looks at the flags on the first network.
func (n *network) checkFirst() error {
	first := config.Endpoint{}
	if len(n.asked) > 0 {
		first = n.asked[0]
	}
	twice := func(flag, field string) error {
		return command.Line("conflicting options: cannot specify both --%s and per-network %s", flag, field)
	}
	switch {
	case len(n.aliases) > 0 && !userDefined(first.Network):
		return command.Line("network-scoped aliases are only supported for user-defined networks")
	case len(n.links) > 0 && !userDefined(first.Network) && !slices.Contains([]string{"", "default", "bridge"}, first.Network):
		return command.Line("links are only supported for user-defined networks")
	case len(n.aliases) > 0 && len(first.Aliases) > 0:
		return twice("network-alias", "alias")
	case n.first.IPv4 != "" && first.IPv4 != "":
		return twice("ip", "IPv4 address")
	case n.first.IPv6 != "" && first.IPv6 != "":
		return twice("ip6", "IPv6 address")
	case n.first.MAC != "" && first.MAC != "":
		return twice("mac-address", "MAC address")
	case len(n.first.LinkLocal) > 0 && len(first.LinkLocal) > 0:
		return twice("link-local-ip", "link-local IP addresses")
	}
	return nil
}

// addHost reads NAME:ADDRESS; NAME=ADDRESS is the same.
func (n *network) addHost(s string) error {
	name, address, ok := strings.Cut(s, ":")
	if byEquals, rest, found := strings.Cut(s, "="); found && (!ok || len(byEquals) < len(name)) {
		name, address, ok = byEquals, rest, true
	}
	if !ok || name == "" {
		return fmt.Errorf("bad format for add-host: %q", s)
	}
	address = strings.Trim(address, "[]")
	if address != "host-gateway" && net.ParseIP(address) == nil {
		return fmt.Errorf("invalid IP address in add-host: %q", address)
	}
	n.hosts = append(n.hosts, name+":"+address)
	return nil
}

func checkAddress(s string) error {
	if _, err := netip.ParseAddr(strings.TrimSpace(s)); err != nil {
		return fmt.Errorf("%s is not an ip address", s)
	}
	return nil
}

// domain is compiled when a flag needs it: every start would pay else.
var domain = sync.OnceValue(func() *regexp.Regexp {
	const label = `[a-zA-Z0-9]([a-zA-Z0-9_-]*[a-zA-Z0-9])?`
	return regexp.MustCompile(`^` + label + `(\.` + label + `)*\.?$`)
})

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

func checkSearch(s string) error {
	s = strings.TrimSpace(s)
	if s == "." || len(s) < 256 && strings.ContainsAny(s, letters) && domain().MatchString(s) {
		return nil
	}
	return fmt.Errorf("%s is not a valid domain", s)
}

func checkLink(s string) error {
	switch {
	case s == "":
		return fmt.Errorf("empty string specified for links")
	case strings.Count(s, ":") > 1:
		return fmt.Errorf("bad format for links: %s", s)
	}
	return nil
}
