package engine

import (
	"context"

	"berth/container"
	"berth/network"
)

// NetworkCreate makes a network.
func NetworkCreate(ctx context.Context, e *Engine, r network.CreateRequest) (*network.Network, error) {
	n, err := e.Networks.Create(ctx, r)
	if err != nil {
		return nil, err
	}
	tellOfNetwork(e, n, "create", "")
	return n, nil
}

// tellOfNetwork writes an event of a network, of a container on it if one is named.
func tellOfNetwork(e *Engine, n *network.Network, action, container string) {
	attributes := map[string]string{"name": n.Name, "type": n.Driver}
	if container != "" {
		attributes["container"] = container
	}
	e.tellOf("network", action, n.ID, attributes)
}

// tellOfNetworks writes an event of each network of a container, which it comes to with
// a start and leaves with its end.
func tellOfNetworks(e *Engine, rec *container.Record, action string) {
	c := &rec.Config.Network
	var names []string
	if c.Mode == network.None || c.Mode == network.Host {
		names = []string{c.Mode}
	}
	for _, ep := range c.Networks() {
		names = append(names, ep.Network)
	}
	for _, name := range names {
		if n, err := e.Networks.Find(name); err == nil { // else it was removed meanwhile
			tellOfNetwork(e, n, action, string(rec.ID))
		}
	}
}
