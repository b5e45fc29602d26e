package network

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"berth/base/fault"
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

// place is where a store's devices are: in the caller's network namespace without a home.
type place struct{ home Home }

// inside runs f where the store's devices are: for a user on a thread that has joined
// that namespace and ends with f. f starts no goroutines that rely on it.
func (p place) inside(f func() error) error {
	if p.home == nil {
		return f()
	}
	ns, err := p.home.Open()
	if err != nil {
		return err
	}
	defer ns.Close()
	return netlink.Inside(ns, f)
}

// after is inside for what takes away: where the namespace is lost, so is all that was in
// it, and f finds nothing.
func (p place) after(f func() error) error {
	err := p.inside(f)
	if p.home == nil || !fault.Is(err, fault.Unavailable) {
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

// outside runs f in the namespace of the process, from inside: there are the sockets of
// published ports, and the routes that a user's subnets stay clear of.
func (p place) outside(f func() error) error {
	if p.home == nil {
		return f()
	}
	done := make(chan error)
	go func() { done <- f() }()
	return <-done
}

// lead has packets of networks that lead out find their way.
func (p place) lead(lives []*live) error {
	if p.home == nil {
		return nil
	}
	for _, l := range lives {
		if l.leadsOut() {
			return p.outside(p.home.WayOut)
		}
	}
	return nil
}
