// Package network is the noun: networks that containers are on, and what a
// container has on them: an address, a device, published ports. It is the door
// of the room, for the engine; below it record is what networks are asked to be, folder the
// files of this boot, bridge makes devices, parent those of
// networks on a device of the host, ipam gives addresses, nft is the firewall, wall keeps it,
// portmap the published ports and names the resolver of containers' names. It knows no
// container but by its id, and makes no namespace: it is given one. Networks
// none, host and another container's are not its business. Row 3.
//
// Everything is said to the kernel by netlink, in the network namespace of the
// calling process ("the host" below), for an ordinary user in that of the user, see Home.
//
// On disk:
//
//	ROOT/networks/NAME.json          a network that somebody made; durable
//	RUN/network/nets/ID.json         what a network is in this boot: bridge, subnet
//	RUN/network/endpoints/ID.json    what container ID has: written before it is made
//	RUN/network/addresses/NET/ADDR   link(2) of a file that names owner and boot
//	RUN/network/names/on/NET/ID      what container ID is called on a network
//	RUN/network/names/views/ID       what it may know of others; package names reads both
//	RUN/network/resolvers/NET        socket of a network's resolver
//	RUN/network/leases/ID/NET        lock of who keeps a lease
//	RUN/network/locks/…              one lock a network, one for ports, one for the firewall
//
// Lock order: the container's lock, which the caller of every verb on a
// container holds, network, ports, firewall. None is held while a client is
// waited for.
package network

import (
	"berth/network/record"
)

// Options say where a store lives.
type Options struct {
	Root, Run string
	Settings  Settings
	// Live says whether a container still has a record; what belongs to one that
	// has none may be taken over. Nil: all have.
	Live func(container string) bool
	// Home is where an ordinary user's networks are; nil: in the caller's network namespace.
	Home Home
}

// Network is one network as it was asked for, and what followed; Subnet one range of
// its addresses. Settings are what the administrator set, Pool a supply of subnets.
type (
	Network  = record.Network
	Subnet   = record.Subnet
	Settings = record.Settings
	Pool     = record.Pool
	// Ways says how published ports lead to one family of an endpoint.
	Ways = record.Ways
)

// Names of the networks that are always there.
const (
	Default = record.Default
	Host    = record.Host
	None    = record.None
)
