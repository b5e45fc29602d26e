package network

import (
	"errors"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/base/flock"
	"berth/network/bridge"
	"berth/network/firewalld"
	"berth/network/forward"
	"berth/network/nft"
	"berth/sys/netlink"
)

// wall is what was known of the firewall after our last change.
type wall struct {
	Boot string `json:"boot"`
	// Generation is the kernel's count of changes when the rules were as they
	// shall be; another one says that somebody changed something since.
	Generation  uint32 `json:"generation"`
	Fingerprint string `json:"fingerprint"`
}

func (w *wall) BootID() string { return w.Boot }

// change adds and removes elements, each list in one transaction. If the table
// is not as it was left, all of it is made anew from the records.
func (s *firewall) change(add, remove []nft.Element) error {
	f, err := s.dial()
	if err != nil {
		return err
	}
	defer closeLater(f)
	held, err := s.files.Lock("firewall", flock.Shared)
	if err != nil {
		return err
	}
	before, intact, err := s.intact(f)
	if err == nil && intact {
		commits := uint32(0)
		if len(remove) > 0 {
			err = f.Remove(remove)
			commits++
		}
		if err == nil && len(add) > 0 {
			err = f.Add(add)
			commits++
		}
		if err == nil {
			s.note(f, before, commits)
		}
	}
	held.Unlock()
	if err == nil && intact {
		return nil
	}
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	return s.mend(f, add, remove)
}

// tellOthers has the firewalls of others let the networks through that are here now,
// and forget bridges that have gone.
func (s *firewall) tellOthers(gone ...string) error {
	if s.alone {
		return nil
	}
	f, err := s.dial()
	if err != nil {
		return err
	}
	defer closeLater(f)
	if err := s.pass(f); err != nil || len(gone) == 0 {
		return err
	}
	return zone(f, firewalld.Forget, gone)
}

// closeLater closes a connection when the kernel is done with what was removed. A
// close before that waits for all processors, some 10 ms, and keeps all other
// changes of the firewall waiting too.
func closeLater(f *nft.Conn) { time.AfterFunc(50*time.Millisecond, func() { f.Close() }) }

// intact reports whether the rules are as they were installed, by the kernel's
// generation if nobody else changed anything, else by looking.
func (s *firewall) intact(f *nft.Conn) (generation uint32, intact bool, err error) {
	var w wall
	found, err := s.files.Get("", "firewall", &w)
	if err != nil || !found {
		return 0, false, err
	}
	generation, err = f.Generation()
	if err != nil || generation == w.Generation {
		return generation, err == nil, err
	}
	// Perhaps dockerd, ufw or firewalld has come since, or began anew.
	if err := s.pass(f); err != nil {
		return 0, false, err
	}
	if generation, err = f.Generation(); err != nil {
		return 0, false, err
	}
	now, err := f.Fingerprint()
	return generation, now == w.Fingerprint, err
}

// note writes the generation down if all changes since before were ours. That
// it cannot be written costs the next verb a look at the rules.
func (s *firewall) note(f *nft.Conn, before, commits uint32) {
	var w wall
	now, err := f.Generation()
	if found, getErr := s.files.Get("", "firewall", &w); err != nil || getErr != nil || !found || now != before+commits {
		return
	}
	w.Generation = now
	_ = s.files.Put("", "firewall", &w)
}

// mend makes the table anew from the records, and besides with what the caller
// is about to add and without what it removes.
func (s *firewall) mend(f *nft.Conn, add, remove []nft.Element) error {
	held, err := s.files.Lock("firewall", flock.Lock)
	if err != nil {
		return err
	}
	defer held.Unlock()
	gone, err := s.files.Names("gone") // what is left of them goes with the old table
	if err != nil {
		return err
	}
	elements, err := s.elements()
	if err != nil {
		return err
	}
	if err := s.pass(f); err != nil {
		return err
	}
	if err := f.Install(append(nft.Without(elements, add, remove), add...)); err != nil {
		return err
	}
	w := wall{Boot: s.files.Boot}
	if w.Generation, err = f.Generation(); err != nil {
		return err
	}
	if w.Fingerprint, err = f.Fingerprint(); err != nil {
		return err
	}
	if err := s.files.Put("", "firewall", &w); err != nil {
		return err
	}
	return s.files.DropAll("gone", gone)
}

// pass lets the networks that lead out through the firewalls of others.
func (s *firewall) pass(f *nft.Conn) error {
	if s.alone {
		return nil
	}
	lives, err := s.lives()
	if err != nil {
		return err
	}
	var bridges []string
	for _, l := range lives {
		if l.leadsOut() {
			bridges = append(bridges, l.Network.Device)
		}
	}
	if err := f.Pass(bridges); err != nil {
		return err
	}
	return zone(f, firewalld.Trust, bridges)
}

// zone tells firewalld of bridges, if it is there.
func zone(f *nft.Conn, tell func([]string) error, bridges []string) error {
	there, err := f.Has(firewalld.Table)
	if err != nil || !there {
		return err
	}
	return tell(bridges)
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
	var w ways
	if found, err := s.files.Get("", "forwarding", &w); err != nil {
		return nil, err
	} else if found {
		list = append(list, w.Elements()...)
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
	names, err := s.files.Names("gone")
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
		found, err := s.files.Get("gone", name, &e)
		if err != nil {
			return err
		}
		if found {
			list = append(list, e.leavings()...)
		}
	}
	if err := s.change(nil, list); err != nil {
		return err
	}
	return s.files.DropAll("gone", names)
}

// ways is what is known of the devices by which packets leave the host.
type ways struct{ forward.Ways }

func (w *ways) BootID() string { return w.Boot }

// unsee has the next forward look at all devices again.
func (s *firewall) unsee() error {
	var w ways
	found, err := s.files.Get("", "forwarding", &w)
	if err != nil || !found || len(w.Seen)+len(w.Seen6) == 0 {
		return err
	}
	w.Seen, w.Seen6 = nil, nil
	return s.files.Put("", "forwarding", &w)
}

// forward lets packets through the host's devices that have addresses, for
// networks that lead out. Where the administrator has not made the host a router
// it stays none: what is not ours, and comes in by a device that forwards only
// for us, is dropped. IPv4 and IPv6 are apart in this.
func (s *firewall) forward(c *netlink.Conn, v6 bool) error {
	var old ways
	if found, err := s.files.Get("", "forwarding", &old); err != nil {
		return err
	} else if !found {
		old.Boot = s.files.Boot
	}
	now := ways{old.Clone()}
	router4, router6 := bridge.Router()
	if router4 {
		now.Opened = nil
	}
	now.Six = now.Six || v6 && !router6
	closed, names, err := now.Look(c, router4, v6)
	if err != nil {
		return err
	}
	if now.Equal(&old.Ways) {
		return nil
	}
	// First the guard, then what it guards; a device counts as seen when all is done.
	guarded := ways{now.Clone()}
	guarded.Seen, guarded.Seen6 = old.Seen, old.Seen6
	if err := s.files.Put("", "forwarding", &guarded); err != nil {
		return err
	}
	var gone []nft.Element
	for _, name := range old.Opened {
		if !slices.Contains(now.Opened, name) {
			gone = append(gone, nft.Opened(name, false))
		}
	}
	if err := s.change(now.Elements(), gone); err != nil {
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
	return s.files.Put("", "forwarding", &now)
}
