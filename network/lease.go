package network

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"berth/base/fault"
	"berth/base/flock"
	"berth/base/ids"
	"berth/network/dhcp"
	"berth/network/lease"
	"berth/network/nft"
)

// ownMAC is the link address of a container on a network that gives no addresses itself:
// the same for as long as there are both, so that a server knows it again.
func ownMAC(container, network string) string {
	sum := sha256.Sum256([]byte("link " + container + " " + network))
	return net.HardwareAddr{2, 0x42, sum[0], sum[1], sum[2], sum[3]}.String()
}

// Leases reports whether any of the container's addresses are a DHCP server's to give.
func (a *Attachment) Leases() bool {
	return slices.ContainsFunc(a.Endpoints, func(e Attached) bool { return e.DHCP })
}

// Servers are the name servers that DHCP servers told the container of, Search its search
// list: those of the endpoint with the default route first.
func (a *Attachment) Servers() (list []netip.Addr) {
	for _, e := range byDefault(a.Endpoints) {
		list = append(list, e.Servers...)
	}
	return list
}

func (a *Attachment) Search() (list []string) {
	for _, e := range byDefault(a.Endpoints) {
		list = append(list, e.Search...)
	}
	return list
}

// Leaser is a container for whom addresses are leased.
type Leaser = lease.Container

// leases is the folder of locks that those hold who keep leases, by container and network.
const leases = "leases"

func (s *boot) leasePath(container, network string) string {
	return filepath.Join(s.files.Run, leases, container, network)
}

// unlease has nobody take who kept a lease of a container on a network for one that keeps
// it: its device is gone.
func (s *boot) unlease(container, network string) error {
	err := os.Remove(s.leasePath(container, network))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Lease has DHCP servers give the addresses that are theirs to give, in a container's
// namespace, and renewed until its first process has ended. Begin starts a process of
// the helper's word "dhcp" and gives a socket to it. A lease that is kept is left; one
// whose keeper was killed is kept again, and nobody is waited for. Fresh tells that
// there are new ones. Kind Unavailable: nobody answers.
func Lease(s *Store, a *Attachment, by Leaser, begin func() (*os.File, error)) (fresh bool, err error) {
	for i := range a.Endpoints {
		at := &a.Endpoints[i]
		if !at.DHCP {
			continue
		}
		is, err := leaseOne(s, string(a.Container), at, by, begin)
		if err != nil {
			return fresh, fmt.Errorf("network %s: ask for an address by DHCP: %w", at.Network, err)
		}
		if !is {
			continue
		}
		fresh = true
		e, err := s.endpoint(a.Container)
		if err != nil {
			return fresh, err
		}
		if e == nil {
			return fresh, fault.New(fault.NotFound, "container %s is on no network", a.Container)
		}
		if has := e.on(at.NetworkID); has != nil {
			add, remove := nft.Differences(has.guard(), at.guard())
			*has = *at
			if err := s.write(e, nil); err != nil {
				return fresh, err
			}
			if len(add)+len(remove) > 0 {
				if err := s.wall().Change(add, remove); err != nil {
					return fresh, err
				}
			}
		}
	}
	return fresh, nil
}

// leaseOne is Lease of one endpoint.
func leaseOne(s *Store, container string, at *Attached, by Leaser, begin func() (*os.File, error)) (fresh bool, err error) {
	path := s.leasePath(container, at.NetworkID)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return false, err
	}
	held, err := flock.TryLock(path)
	if fault.Is(err, fault.Busy) && at.Leased {
		return false, nil
	}
	if fault.Is(err, fault.Busy) { // who kept that of an earlier device has not gone yet
		if err = s.unlease(container, at.NetworkID); err == nil {
			held, err = flock.TryLock(path)
		}
	}
	if err != nil {
		return false, err
	}
	defer held.Unlock() // the keeper has it, too
	o := dhcp.Order{Host: by.Hostname, Had: at.Had, Route: at.Default}
	if at.Leased {
		o.Held, o.Router = at.IPv4, at.Gateway
	}
	mac, _ := net.ParseMAC(at.MAC)
	copy(o.MAC[:], mac)
	l, err := by.Ask(at.Interface, o, held.FD(), begin)
	if err != nil || at.Leased {
		return false, err
	}
	at.IPv4, at.Gateway, at.Servers, at.Search, at.Leased = l.Address, l.Router, l.Names, l.Search, true
	return true, nil
}

// LeaseLost reports whether someone who kept a lease of a container was killed: it takes a
// Lease then.
func LeaseLost(s *Store, container ids.ID) bool {
	dir := filepath.Join(s.files.Run, leases, string(container))
	list, err := os.ReadDir(dir)
	if err != nil {
		return false // it has none
	}
	for _, one := range list {
		held, err := flock.TryFound(filepath.Join(dir, one.Name()))
		if err == nil {
			_ = held.Unlock()
			return true
		}
	}
	return false
}
