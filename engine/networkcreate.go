package engine

import (
	"context"

	"berth/base/fault"
	"berth/network"
)

// NetworkCreate makes a network.
func NetworkCreate(ctx context.Context, e *Engine, r network.CreateRequest) (*network.Network, error) {
	if err := hasBridges(e, "network create"); err != nil {
		return nil, err
	}
	n, err := e.Networks.Create(ctx, r)
	if err != nil {
		return nil, err
	}
	tellOfNetwork(e, n, "create", "")
	return n, nil
}

// hasBridges refuses what takes root of the host.
func hasBridges(e *Engine, verb string) error {
	if !e.Defaults.Rootless {
		return nil
	}
	return fault.New(fault.Unsupported, "%s: an ordinary user's bridge networks are not served yet: run berth as root", verb)
}

// tellOfNetwork writes an event of a network, of a container on it if one is named.
func tellOfNetwork(e *Engine, n *network.Network, action, container string) {
	attributes := map[string]string{"name": n.Name, "type": n.Driver}
	if container != "" {
		attributes["container"] = container
	}
	e.tellOf("network", action, n.ID, attributes)
}
