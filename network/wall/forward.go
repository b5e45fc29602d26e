package wall

import (
	"slices"

	"berth/network/bridge"
	"berth/network/forward"
	"berth/network/nft"
	"berth/sys/netlink"
)

// outlets is what is known of the devices by which packets leave the host.
type outlets struct{ forward.Ways }

func (o *outlets) BootID() string { return o.Boot }

// unsee has the next forward look at all devices again.
func (w *Wall) unsee() error {
	var o outlets
	found, err := w.Files.Get("", "forwarding", &o)
	if err != nil || !found || len(o.Seen)+len(o.Seen6) == 0 {
		return err
	}
	o.Seen, o.Seen6 = nil, nil
	return w.Files.Put("", "forwarding", &o)
}

// Forward lets packets through the host's devices that have addresses, for
// networks that lead out. Where the administrator has not made the host a router
// it stays none: what is not ours, and comes in by a device that forwards only
// for us, is dropped. IPv4 and IPv6 are apart in this.
func (w *Wall) Forward(c *netlink.Conn, v6 bool) error {
	var old outlets
	if found, err := w.Files.Get("", "forwarding", &old); err != nil {
		return err
	} else if !found { // or of another boot, or another namespace
		old = outlets{forward.Ways{Boot: w.Files.Boot}}
	}
	now := outlets{old.Clone()}
	router4, router6 := bridge.Router()
	if router4 {
		now.Opened = nil
	} else if now.Router {
		now.Seen = nil // who ended that has closed all devices
	}
	now.Router = router4
	if v6 && !router6 {
		now.Six, now.Seen6 = true, nil
	}
	closed, names, err := now.Look(c, router4, v6)
	if err != nil {
		return err
	}
	if now.Equal(&old.Ways) && len(closed)+len(names) == 0 {
		return nil
	}
	// First the guard, then what it guards; a device counts as seen when all is done.
	guarded := outlets{now.Clone()}
	guarded.Seen, guarded.Seen6 = old.Seen, old.Seen6
	if err := w.Files.Put("", "forwarding", &guarded); err != nil {
		return err
	}
	var gone []nft.Element
	for _, name := range old.Opened {
		if !slices.Contains(now.Opened, name) {
			gone = append(gone, nft.Opened(name, false))
		}
	}
	if err := w.Change(now.Elements(), gone); err != nil {
		return err
	}
	for _, name := range closed {
		if err := bridge.Forward(name); err != nil {
			return err
		}
	}
	if len(names) > 0 && now.Six {
		if err := bridge.Forward6(names); err != nil {
			return err
		}
	}
	return w.Files.Put("", "forwarding", &now)
}

// Opens reports whether the host forwards still as networks that lead out by IPv4 and
// IPv6 were left to.
func (w *Wall) Opens(c *netlink.Conn, v4, v6 bool) (bool, error) {
	var o outlets
	if found, err := w.Files.Get("", "forwarding", &o); err != nil {
		return false, err
	} else if !found {
		o = outlets{}
	}
	if router4, router6 := bridge.Router(); v4 && o.Router && !router4 || v6 && !router6 {
		return false, nil
	}
	for _, name := range o.Opened {
		if link, err := bridge.Find(c, name); err != nil || link != nil && !bridge.Forwards(name) {
			return false, err
		}
	}
	return true, nil
}

// Again is Forward that looks at all devices.
func (w *Wall) Again(c *netlink.Conn, v6 bool) error {
	if err := w.unsee(); err != nil {
		return err
	}
	return w.Forward(c, v6)
}
