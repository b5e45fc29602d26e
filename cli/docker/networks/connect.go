package networks

import (
	"context"
	"strings"

	"github.com/spf13/pflag"

	"berth/base/fault"
	"berth/cli/docker/command"
	"berth/container/config"
)

// Connect is network connect.
type Connect struct {
	ip, ip6, mac, name                 string
	aliases, links, linkLocal, options []string
	priority                           int
}

func (v *Connect) Flags(f *pflag.FlagSet) {
	f.StringVar(&v.ip, "ip", "", "IPv4 address (e.g., 172.30.100.104)")
	f.StringVar(&v.ip6, "ip6", "", "IPv6 address (e.g., 2001:db8::33)")
	command.ListFlag(f, &v.links, "link", "", "Add link to another container")
	f.StringSliceVar(&v.aliases, "alias", nil, "Add network-scoped alias for the container")
	f.StringSliceVar(&v.linkLocal, "link-local-ip", nil, "Add a link-local address for the container")
	f.StringSliceVar(&v.options, "driver-opt", nil, "driver options for the network")
	f.StringVar(&v.mac, "mac-address", "", "MAC address for the container's interface")
	f.StringVar(&v.name, "interface-name", "", "Name of the interface inside the container")
	f.IntVar(&v.priority, "gw-priority", 0, "Highest gw-priority provides the default gateway")
	command.Extra(f, "mac-address", "interface-name", "gw-priority")
}

// request has no effects.
func (v *Connect) request(network string) (config.Endpoint, error) {
	e := config.Endpoint{Network: network, Aliases: v.aliases, Links: v.links, IPv4: v.ip, IPv6: v.ip6, MAC: v.mac, Interface: v.name, Priority: v.priority}
	not := func(what string) error {
		return command.FromEngine(fault.New(fault.Unsupported, "%s is not served yet", what))
	}
	switch {
	case len(v.linkLocal) > 0:
		return e, not("network connect --link-local-ip")
	}
	for _, o := range v.options {
		k, value, ok := strings.Cut(o, "=")
		if !ok {
			return e, command.Line("invalid key/value pair format in driver options")
		}
		if e.DriverOpts == nil {
			e.DriverOpts = map[string]string{}
		}
		e.DriverOpts[k] = value
	}
	return e, nil
}

func (v *Connect) Run(ctx context.Context, c *command.Call, words []string) error {
	want, err := v.request(words[0])
	if err != nil {
		return err
	}
	e, err := open(c)
	if err != nil {
		return err
	}
	return command.FromEngine(e.NetworkConnect(ctx, words[1], want))
}

// Disconnect is network disconnect.
type Disconnect struct{ force bool }

func (v *Disconnect) Flags(f *pflag.FlagSet) {
	f.BoolVarP(&v.force, "force", "f", false, "Force the container to disconnect from a network")
}

func (v *Disconnect) Run(ctx context.Context, c *command.Call, words []string) error {
	e, err := open(c)
	if err != nil {
		return err
	}
	return command.FromEngine(e.NetworkDisconnect(ctx, words[0], words[1], v.force))
}
