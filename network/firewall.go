package network

import (
	"berth/base/fault"
	"berth/base/flock"
	"berth/network/nft"
	"berth/network/wall"
)

// wall is the store's part of the firewall.
func (s *firewall) wall() *wall.Wall {
	files := s.files
	if s.at.Home != nil { // what is known of one namespace says nothing of the next
		files.Boot += " " + s.at.Home.Name()
	}
	return &wall.Wall{Files: files, Table: s.table, Ports: s.ports, Alone: s.alone, Relays: s.at.Home != nil, Elements: s.elements, Bridges: s.outward}
}

// outward are the bridges of networks that lead out.
func (s *firewall) outward() ([]string, error) {
	lives, err := s.lives()
	if err != nil {
		return nil, err
	}
	var bridges []string
	for _, l := range lives {
		if l.leadsOut() {
			bridges = append(bridges, l.Network.Device)
		}
	}
	return bridges, nil
}

// elements are all that the records ask for.
func (s *firewall) elements() ([]nft.Element, error) {
	var list []nft.Element
	lives, err := s.lives()
	if err != nil {
		return nil, err
	}
	for _, l := range lives {
		list = append(list, l.elements()...)
	}
	all, err := s.endpointFiles()
	if err != nil {
		return nil, err
	}
	for _, e := range all {
		if e.State == stateUp {
			list = append(list, e.elements()...)
		}
	}
	return list, nil
}

// maxGone is how many containers that are gone may have elements left.
const maxGone = 50

// sweep removes what is left in the firewall of containers that are gone, once
// it is worth a transaction.
func (s *firewall) sweep() error {
	names, err := s.files.Names(wall.Gone)
	if err != nil || len(names) < maxGone {
		return err
	}
	held, err := s.files.Lock("sweep", flock.TryLock)
	if err != nil {
		if fault.Is(err, fault.Busy) {
			return nil // another does it
		}
		return err
	}
	defer held.Unlock()
	var list []nft.Element
	for _, name := range names {
		var e endpointFile
		found, err := s.files.Get(wall.Gone, name, &e)
		if err != nil {
			return err
		}
		if found {
			list = append(list, e.leavings()...)
		}
	}
	if err := s.wall().Change(nil, list); err != nil {
		return err
	}
	return s.files.DropAll(wall.Gone, names)
}
