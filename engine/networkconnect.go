package engine

import (
	"cmp"
	"context"
	"net/netip"
	"os"
	"slices"
	"strings"

	"berth/base/fault"
	"berth/container"
	"berth/container/config"
	"berth/monitor"
	"berth/network"
)

// NetworkConnectRequest is network connect.
type NetworkConnectRequest struct {
	Container string
	Endpoint  config.Endpoint // its Network by name, id or unique beginning of an id
}

// NetworkConnect puts a container on one network more: at once if it runs, and for
// its next starts. Of one that does not run it changes what was asked for before.
func NetworkConnect(ctx context.Context, e *Engine, r NetworkConnectRequest) error {
	return change(ctx, e, r.Container, func(l *container.Locked, rec *container.Record, f *container.Facts) error {
		n, err := e.Networks.Find(r.Endpoint.Network)
		if err != nil {
			return err
		}
		if err := checkEndpoint(&r.Endpoint); err != nil {
			return err
		}
		for i, l := range r.Endpoint.Links {
			if err := checkLink(l); err != nil {
				return err
			}
			r.Endpoint.Links[i] = wholeLink(l)
		}
		c := &rec.Config.Network
		switch {
		case n.Driver == "host":
			return errHostNetwork()
		case c.Mode == network.Host || strings.HasPrefix(c.Mode, "container:") || strings.HasPrefix(c.Mode, "ns:"):
			return fault.New(fault.Conflict, "container sharing network namespace with another container or host cannot be connected to any other network")
		case n.Driver == "null" && !c.Left, c.Mode == network.None:
			return fault.New(fault.Conflict, "container cannot be connected to multiple networks with one of the networks in private (none) mode")
		}
		want := withEndpoint(c, n, r.Endpoint)
		if c.On(n.Name) && f.State().Live() {
			return fault.New(fault.Conflict, "endpoint with name %s already exists in network %s", rec.Name, n.Name)
		}
		if err := rewire(ctx, e, l, rec, f, want); err != nil {
			return err
		}
		tellOfNetwork(e, n, "connect", string(rec.ID))
		return nil
	})
}

func errHostNetwork() error {
	return fault.New(fault.Conflict, "container cannot be disconnected from host network or connected to host network")
}

// checkEndpoint refuses addresses that are none.
func checkEndpoint(ep *config.Endpoint) error {
	for _, a := range []struct{ text, family string }{{ep.IPv4, "IPv4"}, {ep.IPv6, "IPv6"}} {
		if ip, err := netip.ParseAddr(a.text); a.text != "" && (err != nil || ip.Is4() != (a.family == "IPv4")) {
			return fault.New(fault.Invalid, "Invalid %s address: %s", a.family, a.text)
		}
	}
	return nil
}

// withEndpoint is the configuration with one endpoint more, or another one in its
// place.
func withEndpoint(c *config.Network, n *network.Network, ep config.Endpoint) config.Network {
	want := *c
	want.Left = false
	ep.Network = n.Name
	if n.Driver == "null" {
		want.Mode, want.Endpoints = network.None, nil
		return want
	}
	want.Endpoints = slices.DeleteFunc(c.Networks(), func(have config.Endpoint) bool { return have.Network == n.Name })
	want.Endpoints = append(want.Endpoints, ep)
	return want
}

// rewire gives a container other networks: to a running one its devices, then to the
// record. If that fails, a running one has what it had.
func rewire(ctx context.Context, e *Engine, l *container.Locked, rec *container.Record, f *container.Facts, want config.Network) (err error) {
	had := rec.Config.Network
	if f.State().Live() {
		rec.Config.Network = want
		if err := rewireLive(ctx, e, l, rec, f); err != nil {
			rec.Config.Network = had
			return cmp.Or(err, settleLive(context.WithoutCancel(ctx), e, l, rec, f))
		}
		defer func() {
			if err != nil {
				rec.Config.Network = had
				err = cmp.Or(err, asWritten(ctx, e, l, rec, f))
			}
			err = cmp.Or(err, e.Networks.Confirm(rec.ID))
		}()
	}
	return l.Update(func(now *container.Record) error {
		now.Config.Network = want
		return nil
	})
}

// settleLive gives a running container the networks of rec, which are written down.
func settleLive(ctx context.Context, e *Engine, l *container.Locked, rec *container.Record, f *container.Facts) error {
	if err := rewireLive(ctx, e, l, rec, f); err != nil {
		return err
	}
	return e.Networks.Confirm(rec.ID)
}

// asWritten gives a running container the networks of its record after that may have been
// written or not; those of rec if it cannot be read.
func asWritten(ctx context.Context, e *Engine, l *container.Locked, rec *container.Record, f *container.Facts) error {
	if now, err := l.Record(); err == nil {
		rec = now
	}
	return rewireLive(context.WithoutCancel(ctx), e, l, rec, f)
}

// rewireLive gives a running container the networks of rec. The caller confirms it when
// that is written down.
func rewireLive(ctx context.Context, e *Engine, l *container.Locked, rec *container.Record, f *container.Facts) error {
	conn, err := monitor.Dial(e.Containers.RunDir(rec.ID))
	if err != nil {
		return err
	}
	defer conn.Close()
	var held []*os.File
	if publishes(rec) {
		if held, err = conn.Held(); err != nil {
			return err
		}
		defer closeFiles(held)
	}
	req, err := networkRequest(e, rec, held)
	if err != nil {
		return err
	}
	ns, err := networkOf(f.Started.PID)
	if err != nil {
		return err
	}
	defer ns.Close()
	now, err := e.Networks.Alter(ctx, req, ns)
	if err != nil {
		return err
	}
	if now.Moved {
		defer closeFiles(now.Hold)
		if err := conn.Hold(now.Hold...); err != nil {
			return err
		}
		if err := awaitVisitors(now.Attachment, conn); err != nil {
			return err
		}
		if err := conn.Settle(); err != nil {
			return err
		}
	}
	fresh, err := leaseAddresses(ctx, e, rec, now.Attachment, f.Started.PID, ns)
	if err != nil {
		return err
	}
	if now.Named() && !network.Served(e.Networks, rec.ID) {
		fresh = true
		if err := startNames(ctx, e, rec, f, ns, conn); err != nil {
			return err
		}
	}
	if fresh {
		if err := renewResolv(e, rec, f, now.Attachment); err != nil {
			return err
		}
	}
	if err := container.Rewired(l, addressesOf(now.Attachment), portsOf(now.Attachment)); err != nil {
		return err
	}
	if rec.Config.Network.NoHosts {
		return nil
	}
	return rewriteHosts(ctx, e, rec.ID)
}
