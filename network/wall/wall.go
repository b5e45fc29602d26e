// Package wall keeps the host's firewall, nft's table and what lets its networks through
// the firewalls of others, as it shall be: it changes what its user says, notices that
// somebody else changed it, and makes it anew from what its user knows. It knows no
// network and no container. Row 3, for room network.
package wall

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"berth/base/flock"
	"berth/network/firewalld"
	"berth/network/folder"
	"berth/network/nft"
)

// Wall is a store's part of the firewall.
type Wall struct {
	Files        folder.Folder
	Table, Ports string // nft's, and how the names of our ports begin
	Alone        bool   // others' firewalls are left as they are
	Relays       bool   // nft's: relays serve published ports, and keep addresses
	// Elements are all that the table shall have, but for Forward's; Bridges those that lead
	// out, which the firewalls of others are to let through.
	Elements func() ([]nft.Element, error)
	Bridges  func() ([]string, error)
}

// Gone is the kind of files of what was left in the table: they go when it is made anew.
const Gone = "gone"

func (w *Wall) open() (*nft.Conn, error) {
	f, err := nft.Open(w.Table, w.Ports)
	if err == nil {
		f.Relays = w.Relays
	}
	return f, err
}

// known is what was known of the firewall after our last change.
type known struct {
	Boot string `json:"boot"`
	// Generation is the kernel's count of changes when the rules were as they
	// shall be; another one says that somebody changed something since.
	Generation  uint32 `json:"generation"`
	Fingerprint string `json:"fingerprint"`
}

func (k *known) BootID() string { return k.Boot }

// Change adds and removes elements, each list in one transaction. If the table
// is not as it was left, all of it is made anew from the records.
func (w *Wall) Change(add, remove []nft.Element) error {
	f, err := w.open()
	if err != nil {
		return err
	}
	defer closeLater(f)
	held, err := w.Files.Lock("firewall", flock.Shared)
	if err != nil {
		return err
	}
	before, intact, err := w.intact(f)
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
			w.note(f, before, commits)
		}
	}
	held.Unlock()
	if err == nil && intact {
		return nil
	}
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	return w.mend(f, add, remove)
}

// TellOthers has the firewalls of others let the networks through that are here now,
// and forget bridges that have gone.
func (w *Wall) TellOthers(gone ...string) error {
	if w.Alone {
		return nil
	}
	f, err := w.open()
	if err != nil {
		return err
	}
	defer closeLater(f)
	if err := w.pass(f); err != nil || len(gone) == 0 {
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
func (w *Wall) intact(f *nft.Conn) (generation uint32, intact bool, err error) {
	var k known
	found, err := w.Files.Get("", "firewall", &k)
	if err != nil || !found {
		return 0, false, err
	}
	generation, err = f.Generation()
	if err != nil || generation == k.Generation {
		return generation, err == nil, err
	}
	// Perhaps dockerd, ufw or firewalld has come since, or began anew.
	if err := w.pass(f); err != nil {
		return 0, false, err
	}
	if generation, err = f.Generation(); err != nil {
		return 0, false, err
	}
	now, err := f.Fingerprint()
	return generation, now == k.Fingerprint, err
}

// note writes the generation down if all changes since before were ours. That
// it cannot be written costs the next verb a look at the rules.
func (w *Wall) note(f *nft.Conn, before, commits uint32) {
	var k known
	now, err := f.Generation()
	if found, getErr := w.Files.Get("", "firewall", &k); err != nil || getErr != nil || !found || now != before+commits {
		return
	}
	k.Generation = now
	_ = w.Files.Put("", "firewall", &k)
}

// mend makes the table anew from the records, and besides with what the caller
// is about to add and without what it removes.
func (w *Wall) mend(f *nft.Conn, add, remove []nft.Element) error {
	held, err := w.Files.Lock("firewall", flock.Lock)
	if err != nil {
		return err
	}
	defer held.Unlock()
	gone, err := w.Files.Names(Gone) // what is left of them goes with the old table
	if err != nil {
		return err
	}
	elements, err := w.all()
	if err != nil {
		return err
	}
	if err := w.pass(f); err != nil {
		return err
	}
	if err := f.Install(append(nft.Without(elements, add, remove), add...)); err != nil {
		return err
	}
	k := known{Boot: w.Files.Boot}
	if k.Generation, err = f.Generation(); err != nil {
		return err
	}
	if k.Fingerprint, err = f.Fingerprint(); err != nil {
		return err
	}
	if err := w.Files.Put("", "firewall", &k); err != nil {
		return err
	}
	return w.Files.DropAll(Gone, gone)
}

// pass lets the networks that lead out through the firewalls of others.
func (w *Wall) pass(f *nft.Conn) error {
	if w.Alone {
		return nil
	}
	bridges, err := w.Bridges()
	if err != nil {
		return err
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

// Mend makes the table anew.
func (w *Wall) Mend() error {
	f, err := w.open()
	if err != nil {
		return err
	}
	defer f.Close()
	return w.mend(f, nil, nil)
}

// Intact reports whether the rules are as they were left.
func (w *Wall) Intact() (bool, error) {
	f, err := w.open()
	if err != nil {
		return false, err
	}
	defer f.Close()
	held, err := w.Files.Lock("firewall", flock.Shared)
	if err != nil {
		return false, err
	}
	defer held.Unlock()
	_, intact, err := w.intact(f)
	return intact, err
}

// Remove takes the table away.
func (w *Wall) Remove() error {
	f, err := w.open()
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Uninstall()
}

// all are the elements that the table shall have.
func (w *Wall) all() ([]nft.Element, error) {
	list, err := w.Elements()
	if err != nil {
		return nil, err
	}
	var o outlets
	found, err := w.Files.Get("", "forwarding", &o)
	if found {
		list = append(list, o.Elements()...)
	}
	return list, err
}
