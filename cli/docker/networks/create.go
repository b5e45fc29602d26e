package networks

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"berth/base/fault"
	"berth/cli/docker/command"
	"berth/cli/term"
)

// Create is network create: it prints the id, in podman's words the name.
type Create struct {
	driver, scope, configFrom            string
	device                               string
	internal, ipv4, ipv6, attachable     bool
	ingress, configOnly, ignore, noNames bool
	dns                                  []string
	options                              command.Pairs
	labels                               labels
	addressing
}

// addressing is whence the addresses of a network come.
type addressing struct {
	ipamDriver                string
	subnets, gateways, ranges []string
	aux, ipam                 command.Pairs
}

// labels is --label, whose key must not be empty.
type labels struct{ command.Pairs }

func (l *labels) String() string { return "" }
func (l *labels) Type() string   { return "list" }
func (l *labels) Set(s string) error {
	if k, _, _ := strings.Cut(s, "="); k == "" {
		return fmt.Errorf("invalid label '%s': empty name", s)
	}
	return l.Pairs.Set(s)
}

func (v *Create) Flags(f *pflag.FlagSet) {
	f.StringVarP(&v.driver, "driver", "d", "bridge", "Driver to manage the Network")
	f.VarP(&v.options, "opt", "o", "Set driver specific options")
	f.Var(&v.labels, "label", "Set metadata on a network")
	f.BoolVar(&v.internal, "internal", false, "Restrict external access to the network")
	f.BoolVar(&v.ipv4, "ipv4", true, "Enable or disable IPv4 networking")
	f.BoolVar(&v.ipv6, "ipv6", false, "Enable IPv6 networking")
	f.BoolVar(&v.attachable, "attachable", false, "Enable manual container attachment")
	f.BoolVar(&v.ingress, "ingress", false, "Create swarm routing-mesh network")
	f.StringVar(&v.scope, "scope", "", "Control the network's scope")
	f.BoolVar(&v.configOnly, "config-only", false, "Create a configuration only network")
	f.StringVar(&v.configFrom, "config-from", "", "The network from which to copy the configuration")
	f.StringVar(&v.ipamDriver, "ipam-driver", "default", "IP Address Management Driver")
	f.StringSliceVar(&v.subnets, "subnet", nil, "Subnet in CIDR format that represents a network segment")
	f.StringSliceVar(&v.ranges, "ip-range", nil, "Allocate container ip from a sub-range")
	f.StringSliceVar(&v.gateways, "gateway", nil, "IPv4 or IPv6 Gateway for the master subnet")
	f.Var(&v.aux, "aux-address", "Auxiliary IPv4 or IPv6 addresses used by Network driver")
	f.Var(&v.ipam, "ipam-opt", "Set IPAM driver specific options")
	f.StringSliceVar(&v.dns, "dns", nil, "DNS servers that the network's containers ask")
	f.BoolVar(&v.ignore, "ignore", false, "Do not fail if the network is there already")
	f.StringVar(&v.device, "interface-name", "", "Name of the bridge, or of the device that is the parent")
	f.BoolVar(&v.noNames, "disable-dns", false, "Do not resolve names of containers on this network")
	command.Extra(f, "ignore", "disable-dns", "ipv4", "dns", "interface-name")
}

// request has no effects.
func (v *Create) request(podman bool, words []string) (Network, error) {
	n := Network{Driver: v.driver, Internal: v.internal, IPv6: v.ipv6, Attachable: v.attachable, Options: v.options, IPAM: v.ipam,
		Labels: v.labels.Pairs, NoIPv4: !v.ipv4, NoNames: v.noNames, DNS: v.dns}
	if len(words) == 1 {
		n.Name = words[0]
	}
	if podman {
		n.Options = dockerOptions(n.Driver, n.Options)
		n.DefaultParent = true
		if n.Internal && n.Driver == "bridge" {
			n.Options = withOption(n.Options, noRoute, "true") // with docker it leads to the host
		}
	}
	if v.device != "" {
		n.Options = withOption(n.Options, deviceOption(n.Driver), v.device)
	}
	if err := v.unserved(); err != nil {
		return n, err
	}
	n.DHCP = v.ipamDriver == "dhcp"
	var err error
	n.Subnets, err = v.plan()
	return n, err
}

// noRoute is podman's option for a network by which no default route leads.
const noRoute = "no_default_route"

// deviceOption is the option that names a network's device on the host.
func deviceOption(driver string) string {
	if driver == "bridge" {
		return "com.docker.network.bridge.name"
	}
	return "parent"
}

// podmanWords are podman's options that docker has, too, by docker's names.
func podmanWords(driver string) map[string]string {
	words := map[string]string{"mtu": "com.docker.network.driver.mtu"}
	if driver == "bridge" {
		words["bridge_name"] = deviceOption(driver)
	} else {
		words["mode"] = driver + "_mode"
	}
	return words
}

func withOption(options command.Pairs, key, value string) command.Pairs {
	out := command.Pairs{key: value}
	maps.Copy(out, options)
	return out
}

// dockerOptions are podman's options in docker's words.
func dockerOptions(driver string, options map[string]string) map[string]string {
	out, words := map[string]string{}, podmanWords(driver)
	for k, value := range options {
		if word := words[k]; word != "" {
			k = word
		}
		out[k] = value
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// podmanOptions are a network's options in podman's words, without its device.
func podmanOptions(n *Network) map[string]string {
	out, words := map[string]string{}, podmanWords(n.Driver)
	for k, value := range n.Options {
		for podman, docker := range words {
			if k == docker {
				k = podman
			}
		}
		if k != deviceOption(n.Driver) && (k != noRoute || !n.Internal) {
			out[k] = value
		}
	}
	return out
}

// unserved refuses what there is not, in docker's words where it does, too.
func (v *Create) unserved() error {
	not := func(format string, args ...any) error {
		return command.FromEngine(fault.New(fault.Unsupported, format, args...))
	}
	switch {
	case v.ingress:
		return not("Ingress network can only be global scope network")
	case v.scope == "swarm":
		return not("cannot create a swarm scoped network when swarm is not active")
	case v.scope != "" && v.scope != "local":
		return not("--scope %.40s is of Swarm, which is not served", v.scope)
	case v.configOnly:
		return not("--config-only is not served yet")
	case v.configFrom != "":
		return not("--config-from is not served yet")
	case v.ipamDriver != "default" && v.ipamDriver != "" && v.ipamDriver != "host-local" && v.ipamDriver != "dhcp":
		return not("plugin %.40q not found", v.ipamDriver)
	}
	return nil
}

// plan puts together which gateway, range and other addresses are of which subnet.
func (v *Create) plan() ([]Subnet, error) {
	if len(v.subnets) < len(v.ranges) || len(v.subnets) < len(v.gateways) {
		return nil, command.Line("every ip-range or gateway must have a corresponding subnet")
	}
	var list []Subnet
	for _, s := range v.subnets {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, command.FromEngine(command.Line("Invalid subnet %s : invalid CIDR address: %s", s, s))
		}
		if slices.ContainsFunc(list, func(o Subnet) bool { return o.Prefix.Overlaps(p) }) {
			return nil, command.Line("multiple overlapping subnet configuration is not supported")
		}
		list = append(list, Subnet{Prefix: p.Masked()})
	}
	for _, r := range v.ranges {
		p, err := netip.ParsePrefix(r)
		i := slices.IndexFunc(list, func(s Subnet) bool { return err == nil && s.Prefix.Contains(p.Addr()) })
		if i < 0 {
			return nil, command.Line("no matching subnet for range %s", r)
		}
		if list[i].Range.IsValid() {
			return nil, command.Line("cannot configure multiple ranges (%s, %s) on the same subnet (%s)", r, list[i].Range, list[i].Prefix)
		}
		list[i].Range = p.Masked()
	}
	for _, g := range v.gateways {
		i, a := find(list, g)
		if i < 0 {
			return nil, command.Line("no matching subnet for gateway %s", g)
		}
		if list[i].Gateway.IsValid() {
			return nil, command.Line("cannot configure multiple gateways (%s, %s) for the same subnet (%s)", g, list[i].Gateway, list[i].Prefix)
		}
		list[i].Gateway = a
	}
	for name, text := range v.aux {
		i, a := find(list, text)
		if i < 0 {
			return nil, command.Line("no matching subnet for aux-address %s", text)
		}
		if list[i].Aux == nil {
			list[i].Aux = map[string]netip.Addr{}
		}
		list[i].Aux[name] = a
	}
	return list, nil
}

// find finds the subnet of an address; i is -1 if there is none.
func find(list []Subnet, text string) (i int, a netip.Addr) {
	a, err := netip.ParseAddr(text)
	return slices.IndexFunc(list, func(s Subnet) bool { return err == nil && s.Prefix.Contains(a) }), a
}

func (v *Create) Run(ctx context.Context, c *command.Call, words []string) error {
	n, err := v.request(c.Podman(), words)
	if err != nil {
		return err
	}
	e, err := open(c)
	if err != nil {
		return err
	}
	var made Network
	if len(words) == 0 {
		made, err = unnamed(ctx, e, n)
	} else {
		made, err = e.NetworkCreate(ctx, n)
	}
	if fault.Is(err, fault.Exists) && v.ignore {
		made, err = e.NetworkInspect(ctx, n.Name)
	}
	if err != nil {
		return command.FromEngine(err)
	}
	if c.Podman() {
		fmt.Fprintln(c.Out, term.Clean(made.Name))
		return nil
	}
	fmt.Fprintln(c.Out, made.ID)
	return nil
}

// unnamed makes a network that gets podman's name for it: podman1, podman2, …
func unnamed(ctx context.Context, e Engine, n Network) (Network, error) {
	for i := 1; ; i++ {
		n.Name = fmt.Sprintf("podman%d", i)
		made, err := e.NetworkCreate(ctx, n)
		if !fault.Is(err, fault.Exists) {
			return made, err
		}
	}
}
