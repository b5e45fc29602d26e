package engine

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"berth/base/fault"
	"berth/base/undo"
	"berth/container"
	"berth/container/config"
	"berth/network"
)

// Ports changes what a container publishes: of one that runs at once.
type Ports struct {
	Publish   []config.Port
	NoPublish []config.Port // what goes: all that publish it, or what of a range it names
}

func (p *Ports) empty() bool { return len(p.Publish)+len(p.NoPublish) == 0 }

// republish does what is asked for and changes rec accordingly, which is the caller's to
// write, and then to confirm.
func (p *Ports) republish(ctx context.Context, e *Engine, l *container.Locked, rec *container.Record, f *container.Facts, u *undo.Stack) error {
	if p.empty() {
		return nil
	}
	had, live := rec.Config.Network, f.State().Live()
	c := &rec.Config.Network
	switch {
	case strings.HasPrefix(c.Mode, "container:"):
		return fault.New(fault.Conflict, "conflicting options: port publishing and the container type network mode")
	case c.Mode == network.Host:
		return fault.New(fault.Conflict, "publish ports of container %s: it is on the host's network, and has them there", rec.Name)
	}
	var decided []config.Port
	if live {
		decided = f.Started.Ports
	}
	for _, gone := range p.NoPublish {
		if err := unpublish(rec, gone, decided); err != nil {
			return err
		}
	}
	c.Publish = append(slices.Clone(c.Publish), p.Publish...)
	if !live || len(c.Networks()) == 0 {
		return nil
	}
	if err := rewireLive(ctx, e, l, rec, f); err != nil {
		return err
	}
	u.Push("publish the ports as before", func() error {
		before := *rec
		before.Config.Network = had
		if err := asWritten(ctx, e, l, &before, f); err != nil {
			return err
		}
		return e.Networks.Confirm(rec.ID)
	})
	return nil
}

// unpublish takes ports out of a record: what publishes them, whole or in part. decided
// are the host's ports where any would do, if they are known.
func unpublish(rec *container.Record, gone config.Port, decided []config.Port) error {
	c := &rec.Config.Network
	gone.Count = max(1, gone.Count)
	for range 2 {
		var rest []config.Port
		found := false
		for _, p := range c.Publish {
			p.Count = max(1, p.Count)
			if !publishesIt(p, gone, decided) {
				rest = append(rest, p)
				continue
			}
			found = true
			rest = append(rest, remains(p, gone)...)
		}
		if found {
			c.Publish = rest
			return nil
		}
		if !c.PublishAll {
			break
		}
		// It may be one that the image exposes: those that stay are named from now on.
		c.Publish, c.PublishAll = published(rec), false
	}
	word := strconv.Itoa(int(gone.Container))
	if gone.Count > 1 {
		word += "-" + strconv.Itoa(int(gone.Container+gone.Count-1))
	}
	return fault.New(fault.NotFound, "container %s does not publish port %s/%s as was said", rec.Name, word, gone.Protocol)
}

// publishesIt reports whether p publishes a port of gone, and where gone says.
func publishesIt(p, gone config.Port, decided []config.Port) bool {
	switch {
	case p.Protocol != gone.Protocol || end(gone) <= uint32(p.Container) || end(p) <= uint32(gone.Container):
		return false
	case gone.Address != "" && gone.Address != p.Address:
		return false
	case gone.Host == 0: // wherever it is
		return true
	case p.Host != 0 && p.HostEnd == gone.HostEnd && p.Host-p.Container == gone.Host-gone.Container:
		return true
	case p.Host != 0 && p.HostEnd == 0 || gone.HostEnd != 0:
		return false
	}
	return slices.ContainsFunc(decided, func(d config.Port) bool { // any port did, and that is it
		return d.Protocol == p.Protocol && d.Container == p.Container && d.Host-d.Container == gone.Host-gone.Container &&
			(p.Address == "" || p.Address == d.Address) && (p.HostEnd == 0 || p.Host <= d.Host && d.Host <= p.HostEnd)
	})
}

// end is the first port after a range inside.
func end(p config.Port) uint32 { return uint32(p.Container) + uint32(p.Count) }

// remains is what is left of a published range without another.
func remains(p, gone config.Port) (list []config.Port) {
	if p.Container < gone.Container {
		before := p
		before.Count = gone.Container - p.Container
		list = append(list, before)
	}
	if end(gone) < end(p) {
		after := p
		after.Count, after.Container = uint16(end(p)-end(gone)), uint16(end(gone))
		if p.Host != 0 {
			after.Host = p.Host + uint16(end(gone)-uint32(p.Container))
		}
		list = append(list, after)
	}
	return list
}

// finishRewiring gives containers whose change of networks nobody finished, as he was
// killed, what their records say.
func finishRewiring(ctx context.Context, e *Engine) error {
	ids, err := e.Networks.Unconfirmed()
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := rewired(ctx, e, string(id)); err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
	}
	return nil
}

// rewired gives a container, if it runs, what its record says of networks.
func rewired(ctx context.Context, e *Engine, name string) error {
	return change(ctx, e, name, func(l *container.Locked, rec *container.Record, f *container.Facts) error {
		if !f.State().Live() || len(rec.Config.Network.Networks()) == 0 && !rec.Config.Network.Left {
			return nil
		}
		return settleLive(ctx, e, l, rec, f)
	})
}
