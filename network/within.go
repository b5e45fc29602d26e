package network

import "berth/network/home"

// Home is where an ordinary user's networks are.
type Home = home.Home

// lead has packets of networks that lead out find their way.
func lead(p home.Place, lives []*live) error {
	if p.Home == nil {
		return nil
	}
	for _, l := range lives {
		if l.leadsOut() {
			return p.Outside(p.Home.WayOut)
		}
	}
	return nil
}
