// Package parent makes the links of networks on a parent interface by netlink:
// macvlan and ipvlan links of containers on a device of the host, and that device
// itself where it is a VLAN, or only stands for one. It chooses no addresses and
// opens no firewall: such links are beside the host's. Row 3, below network.
package parent

import (
	"cmp"
	"slices"
	"strings"
	"unicode"

	"berth/base/fault"
	"berth/network/record"
)

// The drivers, docker's names and the kernel's.
const (
	Macvlan = record.Macvlan
	IPvlan  = record.IPvlan
)

// Docker's options of them.
const (
	optionParent = "parent"
	optionMode   = "_mode" // behind the driver
	optionFlag   = "ipvlan_flag"
)

// Way is how the containers of a network are linked to its parent interface.
type Way struct {
	Driver string `json:"driver"`
	Parent string `json:"parent"`
	Mode   string `json:"mode"`
	Flag   string `json:"flag,omitempty"` // ipvlan's
	// Straight: the default route has no gateway.
	Straight bool `json:"straight,omitempty"`
}

// passthru gives one link all that the parent has, its address too.
const passthru = "passthru"

// words are the values of an option, the first the one that it has by itself.
type words struct {
	what, driver string
	list         []string
}

var modes = map[string]words{
	Macvlan: {"requested macvlan mode '%.40s' is not valid, 'bridge' mode is the macvlan driver default", Macvlan, []string{"bridge", "private", "vepa", passthru}},
	IPvlan:  {"requested ipvlan mode '%.40s' is not valid, 'l2' mode is the ipvlan driver default", IPvlan, []string{"l2", "l3", "l3s"}},
}

var flags = words{"requested ipvlan flag '%.40s' is not valid, 'bridge' is the ipvlan driver default", IPvlan, []string{"bridge", "private", "vepa"}}

func (w words) of(value string) (string, error) {
	value = cmp.Or(value, w.list[0])
	if !slices.Contains(w.list, value) {
		return "", fault.New(fault.Invalid, w.what, value)
	}
	return value, nil
}

// Is reports whether a driver is of networks on a parent interface.
func Is(driver string) bool { return driver == Macvlan || driver == IPvlan }

// read reads a network's options. Apart is for one that leads nowhere: it has no
// parent, whatever the options name; Parent is "" then.
func read(driver string, options map[string]string, apart bool) (w Way, err error) {
	w = Way{Driver: driver, Parent: options[optionParent]}
	if w.Mode, err = modes[driver].of(options[driver+optionMode]); err != nil {
		return w, err
	}
	if driver == IPvlan {
		if w.Flag, err = flags.of(options[optionFlag]); err != nil {
			return w, err
		}
	}
	switch {
	case apart:
		w.Parent = ""
	case w.Parent == "lo":
		return w, fault.New(fault.Invalid, "loopback interface is not a valid %s parent link", driver)
	case w.Parent != "" && !isName(w.Parent):
		return w, fault.New(fault.Invalid, "parent interface %.80q: not the name of a device", w.Parent)
	}
	return w, nil
}

// isName reports whether the kernel takes a name for a device.
func isName(s string) bool {
	return s != "." && s != ".." && len(s) < 16 && !strings.ContainsFunc(s, func(r rune) bool {
		return r == '/' || r == ':' || r == unicode.ReplacementChar || unicode.IsSpace(r) || unicode.IsControl(r)
	})
}

// Routed reports whether the kernel routes for the links: they have no
// neighbours, so no gateway and no link address of their own.
func (w Way) Routed() bool { return w.Driver == IPvlan && w.Mode != "l2" }

// OwnMAC reports whether each link has an address of its own.
func (w Way) OwnMAC() bool { return w.Driver == Macvlan }

// Sole reports whether only one container has the parent.
func (w Way) Sole() bool { return w.Mode == passthru }

// beside refuses networks that cannot be on one parent at the same time.
func (w Way) beside(other Way, name string) error {
	switch {
	case w.Parent != other.Parent:
		return nil
	case w.Driver != other.Driver:
		return fault.New(fault.Conflict, "%s network %s is already using parent interface %s, which is for links of one driver", other.Driver, name, w.Parent)
	case w.Sole():
		return fault.New(fault.Conflict, "cannot use mode passthru, %s network %s is already using parent interface %s", other.Driver, name, w.Parent)
	case other.Sole():
		return fault.New(fault.Conflict, "%s network %s is already using parent interface %s in mode passthru", other.Driver, name, w.Parent)
	case w.Driver == IPvlan && (w.Mode != other.Mode || w.Flag != other.Flag):
		// The kernel has one of both for all links of a parent.
		return fault.New(fault.Conflict, "ipvlan network %s is already using parent interface %s in mode %s, flag %s", name, w.Parent, other.Mode, other.Flag)
	}
	return nil
}
