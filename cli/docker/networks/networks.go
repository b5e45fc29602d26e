// Package networks is the verbs on networks in docker's and podman's words, one
// file a verb or two. What it needs of the engine is below. Row 6.
package networks

import (
	"context"
	"net/netip"
	"time"

	"berth/base/fault"
	"berth/cli/docker/command"
	"berth/container/config"
	"berth/engine"
)

// Network is one network as lists and inspect show it.
type Network struct {
	ID, Name, Driver           string
	Created                    time.Time
	Device                     string
	Internal, IPv6, Attachable bool
	NoIPv4, NoNames            bool
	DNS                        []string
	Subnets                    []Subnet
	Options, IPAM, Labels      map[string]string
	Containers                 []Use
	Users                      []string // ids of all containers that are to be on it
	// DefaultParent asks for the parent that podman chooses where none is named.
	DefaultParent bool
	DHCP          bool // a server on the wire gives the addresses
}

// Subnet is one range of addresses.
type Subnet struct {
	Prefix  netip.Prefix
	Gateway netip.Addr
	Guessed bool // nobody named the gateway of a subnet that somebody named
	Range   netip.Prefix
	Aux     map[string]netip.Addr
}

// Changes are what network update changes.
type Changes struct {
	Network                 string
	Labels, Options         map[string]string
	DropLabels              []string
	AddServers, DropServers []string // of DNS
}

// Use is what a running container has on a network.
type Use struct {
	ID, Name, EndpointID, MAC, Interface string
	IPv4, IPv6                           netip.Prefix
}

// Engine is what the verbs need of the engine.
type Engine interface {
	Keeper
	Plugs
}

// Keeper makes, finds and removes networks.
type Keeper interface {
	NetworkCreate(ctx context.Context, n Network) (Network, error)
	NetworkList(ctx context.Context, filters map[string][]string) ([]Network, error)
	NetworkUpdate(ctx context.Context, r Changes) (Network, error)
	NetworkInspect(ctx context.Context, name string) (Network, error)
	NetworkRemove(ctx context.Context, name string, unused, containers bool) error
	NetworkPrune(ctx context.Context, filters map[string][]string) (names []string, err error)
}

// Plugs connects containers.
type Plugs interface {
	// NetworkReload makes rules and devices of containers anew; done is told of each.
	NetworkReload(ctx context.Context, r engine.NetworkReloadRequest, done func(id string, err error)) error
	// NetworkWatch mends what others flush until ctx ends, and tells of it.
	NetworkWatch(ctx context.Context, told func(mended []string, err error)) error
	NetworkConnect(ctx context.Context, container string, e config.Endpoint) error
	NetworkDisconnect(ctx context.Context, network, container string, force bool) error
}

// open gives the engine's verbs on networks.
func open(c *command.Call) (Engine, error) {
	e, err := c.OpenContainers()
	if err != nil {
		return nil, err
	}
	return live{e}, nil
}

// missing is the client's own line about a network that is not there.
func missing(c *command.Call, name string, err error) error {
	switch {
	case !fault.Is(err, fault.NotFound):
		return command.FromEngine(err)
	case c.Podman():
		return command.Line("unable to find network with name or ID %s: network not found", name)
	}
	return command.Line("Error: No such network: %s", name)
}
