package network

import (
	"crypto/sha256"
	"fmt"
	"net"
	"os"
	"slices"

	"berth/base/fault"
	"berth/network/dhcp"
	"berth/network/lease"
)

// ownMAC is the link address of a container on a network that gives no addresses itself:
// the same for as long as there are both, so that a server knows it again.
func ownMAC(container, network string) string {
	sum := sha256.Sum256([]byte("link " + container + " " + network))
	return net.HardwareAddr{2, 0x42, sum[0], sum[1], sum[2], sum[3]}.String()
}

// Leased reports whether any of the container's addresses are a DHCP server's to give.
func (a *Attachment) Leased() bool {
	return slices.ContainsFunc(a.Endpoints, func(e Attached) bool { return e.DHCP })
}

// Leaser is a container for whom addresses are leased.
type Leaser = lease.Container

// Lease has DHCP servers give the addresses that are theirs to give, in a container's
// namespace, and renewed until its first process has ended. Begin starts a process of
// the helper's word "dhcp" and gives a socket to it. What is leased is left. Kind
// Unavailable: nobody answers.
func Lease(s *Store, a *Attachment, by Leaser, begin func() (*os.File, error)) error {
	for i := range a.Endpoints {
		at := &a.Endpoints[i]
		if !at.DHCP || at.Leased {
			continue
		}
		o := dhcp.Order{Host: by.Hostname, Had: at.Had, Route: at.Default}
		mac, _ := net.ParseMAC(at.MAC)
		copy(o.MAC[:], mac)
		l, err := by.Ask(at.Interface, o, begin)
		if err != nil {
			return fmt.Errorf("network %s: ask for an address by DHCP: %w", at.Network, err)
		}
		at.IPv4, at.Gateway, at.Leased = l.Address, l.Router, true
		e, err := s.endpoint(a.Container)
		if err != nil {
			return err
		}
		if e == nil {
			return fault.New(fault.NotFound, "container %s is on no network", a.Container)
		}
		if has := e.on(at.NetworkID); has != nil {
			*has = *at
		}
		if err := s.write(e, nil); err != nil {
			return err
		}
	}
	return nil
}
