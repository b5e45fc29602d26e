package engine

import (
	"context"
	"slices"

	"berth/base/fault"
	"berth/container"
	"berth/container/config"
	"berth/image"
	"berth/network"
)

// Inspection is all that is known of a container.
type Inspection struct {
	Record *container.Record
	Facts  *container.Facts
	// Places are the networks that it is on, or is to be on.
	Places []Place
	Tree   image.Writable
	Home   string // its folder in the store
	// HealthLog is the last results of its healthcheck.
	HealthLog []container.HealthResult
	Links     []string // as docker writes them
}

// Inspect tells all that is known of a container.
func Inspect(ctx context.Context, e *Engine, name string) (*Inspection, error) {
	rec, err := e.Containers.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	i := &Inspection{Record: rec, Home: e.Containers.Home(rec.ID), Links: linkWords(ctx, e, rec)}
	if i.Facts, err = e.facts(ctx, rec.ID); err != nil {
		return nil, err
	}
	if i.Places, err = places(e, rec, i.Facts); err != nil {
		return nil, err
	}
	if i.Tree, err = e.Writables.Find(ctx, rec.Snapshot); err != nil && !fault.Is(err, fault.NotFound) {
		return nil, err
	}
	if rec.Resolved.Health != nil {
		if i.HealthLog, err = e.Containers.HealthLog(ctx, rec.ID); err != nil {
			return nil, err
		}
	}
	return i, nil
}

// Place is one network of a container: what was asked of it, and what it has there.
type Place struct {
	config.Endpoint
	// NetworkID and EndpointID are known once it has been started, and while it runs.
	NetworkID, EndpointID string
	Now                   *network.Attached // nil while it does not run, and where it has no device
}

// places are the networks that a container is on.
func places(e *Engine, rec *container.Record, f *container.Facts) ([]Place, error) {
	c := &rec.Config.Network
	list := c.Networks()
	if c.Mode == network.None || c.Mode == network.Host {
		list = []config.Endpoint{{Network: c.Mode}}
	}
	now := new(network.Attachment)
	if f.State().Live() {
		a, err := e.Networks.Endpoints(rec.ID)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return nil, err
		}
		if err == nil {
			now = a
		}
	}
	var out []Place
	for _, ep := range list {
		p := Place{Endpoint: ep}
		n, err := e.Networks.Find(ep.Network)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return nil, err
		}
		if err == nil && f.Started != nil {
			p.NetworkID = n.ID
			if n.HasDevices() && n.Name != network.Default {
				p.Aliases = append(slices.Clone(ep.Aliases), string(rec.ID[:12])) // as docker does
			}
			if !n.HasDevices() && f.State().Live() {
				p.EndpointID = endpointOf(n.ID, rec.ID)
			}
			if p.Now = now.On(n.ID); p.Now != nil {
				p.EndpointID = p.Now.EndpointID
			}
		}
		out = append(out, p)
	}
	return out, nil
}
