package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"berth/base/fault"
	"berth/container"
	"berth/network"
)

// NetworkInfo is a network and who is on it.
type NetworkInfo struct {
	network.Network
	Containers []NetworkUse // those that run
	Users      []string     // ids of all containers that are to be on it
}

// NetworkUse is what a container has on a network.
type NetworkUse struct {
	Container container.ID
	Name      string
	network.Attached
}

// Networks lists the networks that pass the filters: name, id, driver, scope, type,
// label, dangling.
func Networks(ctx context.Context, e *Engine, filters map[string][]string) ([]NetworkInfo, error) {
	if err := checkNetworkFilters(filters, "name", "id", "driver", "scope", "type", "label", "dangling"); err != nil {
		return nil, err
	}
	all, err := networkInfos(ctx, e)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(n NetworkInfo) bool { return !networkFits(&n, filters) }), nil
}

func networkInfos(ctx context.Context, e *Engine) ([]NetworkInfo, error) {
	list, err := e.Networks.List()
	if err != nil {
		return nil, err
	}
	uses, err := networkUsers(ctx, e)
	if err != nil {
		return nil, err
	}
	var out []NetworkInfo
	for _, n := range list {
		out = append(out, *uses.info(n))
	}
	return out, nil
}

// networkUses are all containers, and what they have on networks now.
type networkUses struct {
	containers []container.Summary
	attached   []*network.Attachment
}

// networkUsers looks at all containers, which ends what killed monitors have left.
func networkUsers(ctx context.Context, e *Engine) (u networkUses, err error) {
	if u.containers, err = Containers(ctx, e); err != nil {
		return u, err
	}
	u.attached, err = e.Networks.Attachments()
	return u, err
}

// info is a network and who is on it.
func (u *networkUses) info(n *network.Network) *NetworkInfo {
	i := &NetworkInfo{Network: *n}
	names := map[container.ID]string{}
	for j := range u.containers {
		s := &u.containers[j]
		if !slices.Contains(s.Networks, n.Name) {
			continue
		}
		i.Users = append(i.Users, string(s.ID))
		if !s.State().Live() {
			continue
		}
		names[s.ID] = s.Name
		if !n.HasDevices() { // no device of its own
			i.Containers = append(i.Containers, NetworkUse{s.ID, s.Name, network.Attached{EndpointID: endpointOf(n.ID, s.ID)}})
		}
	}
	for _, a := range u.attached {
		name, runs := names[a.Container]
		if at := a.On(n.ID); runs && at != nil {
			i.Containers = append(i.Containers, NetworkUse{a.Container, name, *at})
		}
	}
	return i
}

// endpointOf is the id of what a container has on a network where it has nothing.
func endpointOf(network string, id container.ID) string {
	sum := sha256.Sum256([]byte("endpoint " + network + " " + string(id)))
	return hex.EncodeToString(sum[:])
}

// NetworkInspect tells of one network.
func NetworkInspect(ctx context.Context, e *Engine, name string) (*NetworkInfo, error) {
	n, err := e.Networks.Find(name)
	if err != nil {
		return nil, err
	}
	if n, err = e.Networks.Settle(n); err != nil {
		return nil, err
	}
	uses, err := networkUsers(ctx, e)
	if err != nil {
		return nil, err
	}
	return uses.info(n), nil
}

// checkNetworkFilters refuses keys that are not among those known, and values that
// mean nothing.
func checkNetworkFilters(filters map[string][]string, known ...string) error {
	for key, values := range filters {
		if !slices.Contains(known, key) {
			return fault.New(fault.Invalid, "Invalid filter '%s'", key)
		}
		for _, v := range values {
			switch {
			case key == "dangling" && !slices.Contains([]string{"true", "1", "false", "0"}, v):
				return fault.New(fault.Invalid, `invalid value for filter 'dangling', must be "true" (or "1"), or "false" (or "0")`)
			case key == "type" && v != "custom" && v != "builtin":
				return fault.New(fault.Invalid, "invalid filter: 'type'='%s'", v)
			}
		}
	}
	return nil
}

// networkFits tells whether a network passes filters that were checked: any value of
// a key, all of labels, all keys.
func networkFits(n *NetworkInfo, filters map[string][]string) bool {
	builtIn := n.builtIn()
	for key, values := range filters {
		one := func(v string) bool {
			switch key {
			case "name":
				return MatchesName(v, n.Name)
			case "id":
				return MatchesName(v, n.ID)
			case "driver":
				return n.Driver == v
			case "scope":
				return v == "local"
			case "type":
				return builtIn == (v == "builtin")
			case "label":
				return HasLabel(n.Labels, v)
			case "label!":
				return !HasLabel(n.Labels, v)
			}
			return (!builtIn && len(n.Users) == 0) == (v == "true" || v == "1") // dangling
		}
		all := key == "label" || key == "label!"
		if fits := slices.ContainsFunc(values, one); !fits && len(values) > 0 {
			return false
		}
		if all && slices.ContainsFunc(values, func(v string) bool { return !one(v) }) {
			return false
		}
	}
	return true
}

func (n *NetworkInfo) builtIn() bool {
	return n.Name == network.Default || n.Name == network.Host || n.Name == network.None
}
