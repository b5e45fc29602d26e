package networks

import (
	"context"
	"net/netip"
	"time"

	"github.com/spf13/pflag"

	"berth/api/docker/wire"
	"berth/base/fault"
	"berth/cli/docker/command"
	"berth/cli/docker/containers"
)

// Inspect is network inspect.
type Inspect struct {
	format  string
	verbose bool
}

func (v *Inspect) Flags(f *pflag.FlagSet) {
	command.FormatFlag(f, &v.format, "f", "Format the output using the given Go template")
	f.BoolVarP(&v.verbose, "verbose", "v", false, "Verbose output for diagnostics")
}

func (v *Inspect) Run(ctx context.Context, c *command.Call, words []string) error {
	e, err := open(c)
	if err != nil {
		return err
	}
	return containers.PrintDocuments(c, v.format, words, func(name string) (any, error) {
		n, err := e.NetworkInspect(ctx, name)
		if err != nil {
			return nil, missing(c, name, err)
		}
		return document(c, &n), nil
	})
}

// Document is what inspect shows of a network; found is false if there is none of
// that name.
func Document(ctx context.Context, c *command.Call, name string) (doc any, found bool, err error) {
	e, err := open(c)
	if fault.Is(err, fault.Unsupported) { // where no containers are served
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	n, err := e.NetworkInspect(ctx, name)
	switch {
	case fault.Is(err, fault.NotFound):
		return nil, false, nil
	case err != nil:
		return nil, false, command.FromEngine(err)
	}
	return document(c, &n), true, nil
}

func document(c *command.Call, n *Network) any {
	if c.Podman() {
		return podmanDocument(n)
	}
	d := &wire.Network{
		Name: n.Name, ID: n.ID, Created: n.Created.Format(time.RFC3339Nano), Scope: "local", Driver: n.Driver, EnableIPv6: n.IPv6, DNS: n.DNS,
		IPAM:     wire.IPAM{Driver: "default", Options: n.IPAM, Config: []wire.IPAMConfig{}},
		Internal: n.Internal, Attachable: n.Attachable, Containers: map[string]wire.NetworkEndpoint{}, Options: n.Options, Labels: n.Labels,
	}
	if n.NoIPv4 {
		d.EnableIPv4 = new(bool)
	}
	if n.DHCP {
		d.IPAM.Driver = "dhcp"
	}
	for _, s := range n.Subnets {
		one := wire.IPAMConfig{Subnet: s.Prefix.String(), IPRange: text(s.Range)}
		if !s.Guessed {
			one.Gateway = text(s.Gateway)
		}
		for name, a := range s.Aux {
			if one.AuxiliaryAddresses == nil {
				one.AuxiliaryAddresses = map[string]string{}
			}
			one.AuxiliaryAddresses[name] = a.String()
		}
		d.IPAM.Config = append(d.IPAM.Config, one)
	}
	for _, u := range n.Containers {
		d.Containers[u.ID] = wire.NetworkEndpoint{Name: u.Name, EndpointID: u.EndpointID, MacAddress: u.MAC, IPv4Address: text(u.IPv4), IPv6Address: text(u.IPv6)}
	}
	made := n.Name != "bridge" && n.Driver != "host" && n.Driver != "null"
	if d.IPAM.Options == nil && made {
		d.IPAM.Options = map[string]string{}
	}
	for _, m := range []*map[string]string{&d.Options, &d.Labels} {
		if *m == nil {
			*m = map[string]string{}
		}
	}
	return d
}

// text is an address or prefix, "" for none.
func text(a interface {
	IsValid() bool
	String() string
}) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

type (
	podmanNetwork struct {
		Name      string            `json:"name"`
		ID        string            `json:"id"`
		Driver    string            `json:"driver"`
		Interface string            `json:"network_interface,omitempty"`
		Created   time.Time         `json:"created"`
		Subnets   []podmanSubnet    `json:"subnets,omitempty"`
		IPv6      bool              `json:"ipv6_enabled"`
		Internal  bool              `json:"internal"`
		DNS       bool              `json:"dns_enabled"`
		Labels    map[string]string `json:"labels,omitempty"`
		Options   map[string]string `json:"options,omitempty"`
		IPAM      map[string]string `json:"ipam_options,omitempty"`
		Servers   []string          `json:"network_dns_servers,omitempty"`
	}
	podmanSubnet struct {
		Subnet  netip.Prefix `json:"subnet"`
		Gateway string       `json:"gateway,omitempty"`
		Lease   *podmanLease `json:"lease_range,omitempty"`
	}
	podmanLease struct {
		Start string `json:"start_ip"`
	}
)

func podmanDocument(n *Network) any {
	d := &podmanNetwork{
		Name: n.Name, ID: n.ID, Driver: n.Driver, Interface: n.Device, Created: n.Created, IPv6: n.IPv6, Internal: n.Internal,
		DNS: n.Name != "bridge" && !n.NoNames, Labels: n.Labels, Options: podmanOptions(n), IPAM: map[string]string{"driver": "host-local"}, Servers: n.DNS,
	}
	if n.DHCP {
		d.IPAM["driver"] = "dhcp"
	}
	for _, s := range n.Subnets {
		one := podmanSubnet{Subnet: s.Prefix, Gateway: text(s.Gateway)}
		if s.Range.IsValid() {
			one.Lease = &podmanLease{s.Range.Addr().Next().String()}
		}
		d.Subnets = append(d.Subnets, one)
	}
	return d
}
