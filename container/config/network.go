package config

import "slices"

// Networks lists the endpoints of the networks that the container is on, the default
// bridge's too where that was not named; none for the modes that have none.
func (n *Network) Networks() []Endpoint {
	if n.Left || n.Mode != "" && n.Mode != "bridge" {
		return nil
	}
	if len(n.Endpoints) == 0 {
		return []Endpoint{{Network: "bridge"}}
	}
	return slices.Clone(n.Endpoints)
}

// On reports whether the container is on a network of that name, those without
// endpoints too.
func (n *Network) On(name string) bool {
	if n.Mode == "none" || n.Mode == "host" {
		return n.Mode == name
	}
	return slices.ContainsFunc(n.Networks(), func(e Endpoint) bool { return e.Network == name })
}
