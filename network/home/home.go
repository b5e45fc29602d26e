// Package home is where a store's devices are: root's in the caller's network namespace,
// an ordinary user's in one of the user's own. It runs what it is given there, and knows
// no network. Row 3, for room network.
package home

import (
	"net/netip"
	"os"
	"runtime"
	"slices"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/network/ipam"
	"berth/sys/netlink"
)

// Home is where an ordinary user's networks are: a network namespace of the user's own.
// Root's are in the caller's.
type Home interface {
	// Open opens the namespace, a file of nsfs that is the caller's. Kind Unavailable: it
	// is lost.
	Open() (*os.File, error)
	// Name tells it from those that there were before.
	Name() string
	// WayOut makes sure that packets find a way out of it. It is called on a thread in the
	// caller's namespace.
	WayOut() error
}

// Place is where a store's devices are: in the caller's network namespace without a home.
type Place struct{ Home Home }

// Inside runs f where the store's devices are: for a user on a thread that has joined
// that namespace and ends with f. f starts no goroutines that rely on it.
func (p Place) Inside(f func() error) error {
	if p.Home == nil {
		return f()
	}
	ns, err := p.Home.Open()
	if err != nil {
		return err
	}
	defer ns.Close()
	return netlink.Inside(ns, f)
}

// After is Inside for what takes away: where the namespace is lost, so is all that was in
// it, and f finds nothing.
func (p Place) After(f func() error) error {
	err := p.Inside(f)
	if p.Home == nil || !fault.Is(err, fault.Unavailable) {
		return err
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		err := os.NewSyscallError("unshare", unix.Unshare(unix.CLONE_NEWNET))
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

// Of is what f gives, run by Inside or After.
func Of[T any](where func(func() error) error, f func() (T, error)) (v T, err error) {
	err = where(func() (err error) {
		v, err = f()
		return err
	})
	return v, err
}

// Outside runs f in the namespace of the process, from inside: there are the sockets of
// published ports, and the routes that a user's subnets stay clear of.
func (p Place) Outside(f func() error) error {
	if p.Home == nil {
		return f()
	}
	done := make(chan error)
	go func() { done <- f() }()
	return <-done
}

// Busy are subnets that are taken, and for a user those of the host, which are given to
// no network that names none: its containers would not reach them.
func (p Place) Busy(taken []netip.Prefix) ([]netip.Prefix, error) {
	if p.Home == nil {
		return taken, nil
	}
	all := slices.Clone(taken)
	err := p.Outside(func() error {
		c, err := netlink.Open()
		if err != nil {
			return err
		}
		defer c.Close()
		host, err := ipam.HostSubnets(c, 0)
		all = append(all, host...)
		return err
	})
	return all, err
}
