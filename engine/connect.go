package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strings"

	"berth/base/fault"
	"berth/container"
	"berth/container/config"
	"berth/monitor"
	"berth/network"
)

// prepareNetwork reserves what the container has on its networks; nil for one
// without networks of its own. held are sockets of its ports that its monitor has.
func prepareNetwork(ctx context.Context, e *Engine, rec *container.Record, held []*os.File) (*network.Attachment, error) {
	req, err := networkRequest(e, rec, held)
	if err != nil || len(req.Endpoints) == 0 {
		return nil, err
	}
	return e.Networks.Prepare(ctx, req)
}

// networkRequest is what a container asks of its networks.
func networkRequest(e *Engine, rec *container.Record, held []*os.File) (network.Request, error) {
	req := network.Request{Container: rec.ID, Name: rec.Name, Trusted: rec.Config.Security.Privileged, Held: held}
	var err error
	if req.Naming, err = naming(e, rec); err != nil {
		return req, err
	}
	for _, ep := range rec.Config.Network.Networks() {
		want := network.Endpoint{Network: cmp.Or(ep.Network, network.Default), MAC: ep.MAC, Interface: ep.Interface, Aliases: ep.Aliases,
			Links: ep.Links, Options: ep.DriverOpts, Priority: ep.Priority}
		for _, a := range []struct {
			text string
			into *netip.Addr
		}{{ep.IPv4, &want.IPv4}, {ep.IPv6, &want.IPv6}} {
			if a.text == "" {
				continue
			}
			ip, err := netip.ParseAddr(a.text)
			if err != nil {
				return req, fault.New(fault.Invalid, "invalid address %q on network %s", a.text, want.Network)
			}
			*a.into = ip
		}
		req.Endpoints = append(req.Endpoints, want)
	}
	for _, p := range published(rec) {
		port, err := portOf(p)
		if err != nil {
			return req, err
		}
		req.Publish = append(req.Publish, port)
	}
	return req, nil
}

// nameNetworks puts the names of networks that are there in the place of their ids.
func nameNetworks(e *Engine, c *config.Network) error {
	for i := range c.Endpoints {
		n, err := e.Networks.Find(c.Endpoints[i].Network)
		if fault.Is(err, fault.NotFound) {
			continue // it may come before the start
		}
		if err != nil {
			return err
		}
		if n.HasDevices() {
			c.Endpoints[i].Network = n.Name
			continue
		}
		c.Mode, c.Endpoints = n.Name, nil
		return nil
	}
	return nil
}

// published are the ports of -p, and with -P those that image and flags expose.
func published(rec *container.Record) []config.Port {
	n := &rec.Config.Network
	ports := n.Publish
	if !n.PublishAll {
		return ports
	}
	for _, x := range rec.Resolved.Expose {
		taken := false
		for _, p := range n.Publish {
			taken = taken || p.Protocol == x.Protocol && x.Container >= p.Container && uint32(x.Container) < uint32(p.Container)+uint32(max(1, p.Count))
		}
		if !taken {
			ports = append(ports, config.Port{Protocol: x.Protocol, Container: x.Container, Count: max(1, x.Count)})
		}
	}
	return ports
}

func publishes(rec *container.Record) bool {
	return len(rec.Config.Network.Publish) > 0 || rec.Config.Network.PublishAll
}

// letGo has a container's monitor let go of published ports: the run is over,
// and the caller may want them for another container at once.
func letGo(runDir string, run *container.Started) {
	if len(run.Ports) == 0 {
		return
	}
	conn, err := monitor.Dial(runDir)
	if err != nil {
		return // it has ended, and let go
	}
	_ = conn.Hold()
	conn.Close()
}

func portOf(p config.Port) (network.Port, error) {
	out := network.Port{Protocol: p.Protocol, Container: p.Container, Host: p.Host, HostEnd: p.HostEnd, Count: p.Count}
	if p.Address != "" {
		a, err := netip.ParseAddr(p.Address)
		if err != nil {
			return out, fault.New(fault.Invalid, "publish port %d: invalid address %q", p.Container, p.Address)
		}
		out.Address = a
	}
	return out, nil
}

func portsOf(a *network.Attachment) []config.Port {
	var out []config.Port
	for _, p := range a.Ports {
		c := config.Port{Protocol: p.Protocol, Container: p.Container, Host: p.Host, Count: p.Count}
		if p.Address.IsValid() {
			c.Address = p.Address.String()
		}
		out = append(out, c)
	}
	return out
}

func addressesOf(a *network.Attachment) []container.Address {
	var out []container.Address
	for _, ep := range a.Endpoints {
		one := container.Address{Network: ep.Network, MAC: ep.MAC}
		if ep.IPv4.IsValid() {
			one.IPv4 = ep.IPv4.String()
		}
		if ep.IPv6.IsValid() {
			one.IPv6 = ep.IPv6.String()
		}
		if ep.Gateway.IsValid() {
			one.Gateway = ep.Gateway.String()
		}
		out = append(out, one)
	}
	return out
}

// joinPaths are the namespaces of others that the container joins.
func joinPaths(ctx context.Context, e *Engine, c *config.Config) (*container.Namespaces, error) {
	j := &container.Namespaces{}
	for _, one := range []struct {
		mode, kind string
		into       *string
	}{
		{c.Network.Mode, "net", &j.Network}, {c.Namespaces.PID, "pid", &j.PID}, {c.Namespaces.IPC, "ipc", &j.IPC}, {c.Namespaces.User, "user", &j.User},
	} {
		if p, ok := strings.CutPrefix(one.mode, "ns:"); ok {
			// What is there the runtime finds out, of what it opens.
			if _, err := os.Stat(p); errors.Is(err, fs.ErrNotExist) {
				return nil, fault.New(fault.NotFound, "join the %s namespace %s: there is nothing of that name", one.kind, p)
			}
			*one.into = p
			continue
		}
		id, ok := strings.CutPrefix(one.mode, "container:")
		if !ok {
			continue
		}
		f, err := e.Containers.Facts(ctx, container.ID(id))
		if err != nil {
			return nil, err
		}
		if !f.State().Live() {
			return nil, notRunning(one.kind, id)
		}
		if one.kind == "ipc" {
			if err := sharesIPC(ctx, e, id); err != nil {
				return nil, err
			}
		}
		*one.into = fmt.Sprintf("/proc/%d/ns/%s", f.Started.PID, one.kind)
		if e.Defaults.Rootless { // most of them are in the one that we are in
			other, err := e.Containers.Get(ctx, id)
			if err != nil {
				return nil, err
			}
			if !other.Userns.Settled() {
				j.User = ""
				continue
			}
		}
		// Whoever shares a namespace shares the user namespace that owns it.
		j.User = fmt.Sprintf("/proc/%d/ns/user", f.Started.PID)
	}
	return j, nil
}
