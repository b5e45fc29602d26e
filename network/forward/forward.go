// Package forward remembers by which of the host's devices packets leave and come in
// for networks, and which of them forward only because of us. It looks at devices and
// changes none. Row 3, for room network.
package forward

import (
	"fmt"
	"slices"

	"berth/network/bridge"
	"berth/network/nft"
	"berth/sys/netlink"
)

// Ways is what is known of the devices by which packets leave the host.
type Ways struct {
	Boot    string   `json:"boot"`
	Seen    []int    `json:"seen,omitempty"`    // numbers of devices that forward
	Seen6   []int    `json:"seen6,omitempty"`   // of those looked at for IPv6
	Opened  []string `json:"opened,omitempty"`  // those that do so only for us
	Opened6 []string `json:"opened6,omitempty"` // the same of IPv6
	Bridges []string `json:"bridges,omitempty"` // of the opened, those that are bridges
	Six     bool     `json:"six,omitempty"`     // IPv6 is forwarded only for us
	Router  bool     `json:"router,omitempty"`  // the host was one of IPv4 when its devices were looked at
}

// Elements are the firewall's for them.
func (w *Ways) Elements() (list []nft.Element) {
	for _, name := range w.Opened {
		list = append(list, nft.Opened(name, false))
	}
	for _, name := range w.Opened6 {
		list = append(list, nft.Opened(name, true))
	}
	for _, name := range w.Bridges {
		if slices.Contains(w.Opened, name) || slices.Contains(w.Opened6, name) {
			list = append(list, nft.Within(name))
		}
	}
	return list
}

// Clone is a copy that can be changed.
func (w *Ways) Clone() Ways {
	n := *w
	n.Seen, n.Seen6 = slices.Clone(w.Seen), slices.Clone(w.Seen6)
	n.Opened, n.Opened6, n.Bridges = slices.Clone(w.Opened), slices.Clone(w.Opened6), slices.Clone(w.Bridges)
	return n
}

// Equal reports whether nothing was found out since.
func (w *Ways) Equal(o *Ways) bool {
	return slices.Equal(w.Seen, o.Seen) && slices.Equal(w.Seen6, o.Seen6) && slices.Equal(w.Opened, o.Opened) &&
		slices.Equal(w.Opened6, o.Opened6) && w.Six == o.Six && w.Router == o.Router
}

// Look takes in the devices that have addresses: closed are those that do not
// forward yet, names those that were not looked at for IPv6.
func (w *Ways) Look(c *netlink.Conn, router4, v6 bool) (closed, names []string, err error) {
	addresses, err := c.AllAddresses()
	if err != nil {
		return nil, nil, fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addresses {
		new4, new6 := !slices.Contains(w.Seen, a.Index), v6 && !slices.Contains(w.Seen6, a.Index)
		if a.Prefix.Addr().IsLoopback() || !new4 && !new6 {
			continue
		}
		l, err := c.LinkByIndex(a.Index)
		if err != nil {
			continue // it is gone meanwhile
		}
		foreign := bridge.Owner(l) == ""
		if foreign && l.Kind == "bridge" {
			w.Bridges = with(w.Bridges, l.Name)
		}
		if new4 {
			w.Seen = append(w.Seen, a.Index)
			if !router4 && !bridge.Forwards(l.Name) {
				closed = append(closed, l.Name)
				if foreign {
					w.Opened = with(w.Opened, l.Name)
				}
			}
		}
		if new6 {
			w.Seen6 = append(w.Seen6, a.Index)
			names = append(names, l.Name)
			if foreign && w.Six {
				w.Opened6 = with(w.Opened6, l.Name)
			}
		}
	}
	return closed, names, nil
}

// with is a list that has a name once.
func with(list []string, name string) []string {
	if slices.Contains(list, name) {
		return list
	}
	return append(list, name)
}
