package engine

import (
	"context"
	"slices"
	"strings"

	"berth/base/fault"
	"berth/container"
	"berth/container/config"
	"berth/network"
)

// NetworkDisconnectRequest is network disconnect.
type NetworkDisconnectRequest struct {
	Network, Container string
	// Force: also of a container that is gone; here nothing of such a one is left.
	Force bool
}

// NetworkDisconnect takes a container off a network, at once if it runs.
func NetworkDisconnect(ctx context.Context, e *Engine, r NetworkDisconnectRequest) error {
	err := change(ctx, e, r.Container, func(l *container.Locked, rec *container.Record, f *container.Facts) error {
		c := &rec.Config.Network
		n, err := e.Networks.Find(r.Network)
		if fault.Is(err, fault.NotFound) && c.On(r.Network) && !f.State().Live() {
			n, err = &network.Network{Name: r.Network}, nil // it was removed meanwhile
		}
		if err != nil {
			return err
		}
		switch {
		case n.Driver == "host":
			return errHostNetwork()
		case !c.On(n.Name) && f.State().Live():
			return fault.New(fault.Conflict, "container %s is not connected to network %s", rec.ID, n.Name)
		case !c.On(n.Name):
			return fault.New(fault.Conflict, "container %s is not connected to the network %s", rec.ID, n.Name)
		}
		if err := rewireOff(ctx, e, l, rec, f, n); err != nil {
			return err
		}
		if n.ID != "" {
			tellOfNetwork(e, n, "disconnect", string(rec.ID))
		}
		return nil
	})
	if r.Force && fault.Is(err, fault.NotFound) && strings.HasPrefix(err.Error(), "No such container") {
		if _, err := e.Networks.Find(r.Network); err != nil {
			return err
		}
		return fault.New(fault.NotFound, "endpoint %s not found", r.Container)
	}
	return err
}

// rewireOff is rewire without one of the container's networks.
func rewireOff(ctx context.Context, e *Engine, l *container.Locked, rec *container.Record, f *container.Facts, n *network.Network) error {
	want := rec.Config.Network
	if want.Mode == network.None { // there is no device to take away
		want.Mode, want.Left = "bridge", true
		return l.Update(func(now *container.Record) error {
			now.Config.Network = want
			return nil
		})
	}
	want.Endpoints = slices.DeleteFunc(want.Networks(), func(have config.Endpoint) bool { return have.Network == n.Name })
	want.Left = len(want.Endpoints) == 0
	return rewire(ctx, e, l, rec, f, want)
}
