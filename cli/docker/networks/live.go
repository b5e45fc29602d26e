package networks

import (
	"context"

	"berth/container"
	"berth/container/config"
	"berth/engine"
	"berth/network"
)

// live is Engine on the engine of this machine.
type live struct{ e *engine.Engine }

func (l live) NetworkCreate(ctx context.Context, n Network) (Network, error) {
	r := network.CreateRequest{Network: network.Network{
		Name: n.Name, Driver: n.Driver, Internal: n.Internal, IPv6: n.IPv6, Attachable: n.Attachable, Options: n.Options, IPAM: n.IPAM, Labels: n.Labels,
		NoIPv4: n.NoIPv4, NoNames: n.NoNames, DNS: n.DNS, DefaultParent: n.DefaultParent, DHCP: n.DHCP,
	}}
	for _, s := range n.Subnets {
		r.Subnets = append(r.Subnets, network.Subnet{Prefix: s.Prefix, Gateway: s.Gateway, Range: s.Range, Aux: s.Aux})
	}
	made, err := engine.NetworkCreate(ctx, l.e, r)
	if err != nil {
		return Network{}, err
	}
	return networkOf(&engine.NetworkInfo{Network: *made}), nil
}

func (l live) NetworkList(ctx context.Context, filters map[string][]string) ([]Network, error) {
	all, err := engine.Networks(ctx, l.e, filters)
	if err != nil {
		return nil, err
	}
	var out []Network
	for i := range all {
		out = append(out, networkOf(&all[i]))
	}
	return out, nil
}

func (l live) NetworkInspect(ctx context.Context, name string) (Network, error) {
	n, err := engine.NetworkInspect(ctx, l.e, name)
	if err != nil {
		return Network{}, err
	}
	return networkOf(n), nil
}

func networkOf(n *engine.NetworkInfo) Network {
	out := Network{
		ID: n.ID, Name: n.Name, Driver: n.Driver, Created: n.Created, Device: n.Device, Internal: n.Internal, IPv6: n.IPv6, Attachable: n.Attachable,
		Options: n.Options, IPAM: n.IPAM, Labels: n.Labels, Users: n.Users,
		NoIPv4: n.NoIPv4, NoNames: n.NoNames, DNS: n.DNS, DHCP: n.DHCP,
	}
	for _, s := range n.Subnets {
		out.Subnets = append(out.Subnets, Subnet{Prefix: s.Prefix, Gateway: s.Gateway, Guessed: s.Guessed, Range: s.Range, Aux: s.Aux})
	}
	for i := range n.Containers {
		u := &n.Containers[i]
		out.Containers = append(out.Containers, Use{ID: string(u.Container), Name: u.Name, EndpointID: u.EndpointID, MAC: u.MAC, Interface: u.Interface, IPv4: u.IPv4, IPv6: u.IPv6})
	}
	return out
}

func (l live) NetworkUpdate(ctx context.Context, r Changes) (Network, error) {
	n, err := engine.NetworkUpdate(ctx, l.e, network.UpdateRequest{
		Network: r.Network, Labels: r.Labels, DropLabels: r.DropLabels, DNS: r.AddServers, DropDNS: r.DropServers, Options: r.Options,
	})
	if err != nil {
		return Network{}, err
	}
	return networkOf(&engine.NetworkInfo{Network: *n}), nil
}

func (l live) NetworkRemove(ctx context.Context, name string, unused, containers bool) error {
	return engine.NetworkRemove(ctx, l.e, engine.NetworkRemoveRequest{Network: name, Unused: unused, Containers: containers})
}

func (l live) NetworkPrune(ctx context.Context, filters map[string][]string) ([]string, error) {
	return engine.NetworkPrune(ctx, l.e, filters)
}

func (l live) NetworkReload(ctx context.Context, r engine.NetworkReloadRequest, done func(id string, err error)) error {
	return engine.NetworkReload(ctx, l.e, r, func(id container.ID, err error) { done(string(id), err) })
}

func (l live) NetworkWatch(ctx context.Context, told func([]string, error)) error {
	return network.Watch(ctx, l.e.Networks, func() error {
		mended, err := engine.NetworkMend(ctx, l.e)
		told(mended, err)
		return err
	})
}

func (l live) NetworkConnect(ctx context.Context, container string, e config.Endpoint) error {
	return engine.NetworkConnect(ctx, l.e, engine.NetworkConnectRequest{Container: container, Endpoint: e})
}

func (l live) NetworkDisconnect(ctx context.Context, name, container string, force bool) error {
	return engine.NetworkDisconnect(ctx, l.e, engine.NetworkDisconnectRequest{Network: name, Container: container, Force: force})
}
