package dhcp

import (
	"errors"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"berth/sys/catch"
	"berth/sys/confine"
	"berth/sys/detach"
	"berth/sys/fdpass"
)

// Order is what a process of ours is to do, and whose descriptors it has: of a packet
// socket (Listen) and a route socket in the container's namespace, a pidfd of its first
// process, and a lock that is held for as long as it lives.
type Order struct {
	Index int // of the device
	MAC   [6]byte
	Host  string     // the name that the server is told
	Had   netip.Addr // the address of the last run; zero: none
	Route bool       // the server's router is the default route
	// Held is what the device has by a lease whose keeper was killed, and Router its
	// router: it is kept. Zero: none.
	Held   netip.Prefix
	Router netip.Addr
}

// OrderFDs is how many descriptors come with an Order.
const OrderFDs = 4

// Text is the order on its way.
func (o *Order) Text() []byte {
	held := ""
	if o.Held.IsValid() {
		held = o.Held.String()
	}
	return []byte(strings.Join([]string{strconv.Itoa(o.Index), string(o.MAC[:]), o.Host, text(o.Had), strconv.FormatBool(o.Route), held, text(o.Router)}, "\x00"))
}

// text is an address, "" for none.
func text(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func (o *Order) read(text []byte) bool {
	head, rest, _ := strings.Cut(string(text), "\x00")
	if len(rest) < len(o.MAC) {
		return false
	}
	copy(o.MAC[:], rest)
	f := strings.Split(rest[len(o.MAC):], "\x00")
	if len(f) != 6 {
		return false
	}
	var err error
	if o.Index, err = strconv.Atoi(head); err != nil {
		return false
	}
	o.Host, o.Route = f[1], f[3] == "true"
	o.Had, _ = netip.ParseAddr(f[2])
	o.Held, _ = netip.ParsePrefix(f[4])
	o.Router, _ = netip.ParseAddr(f[5])
	return true
}

// Text is the answer to an Order, once.
func (l Lease) Text() []byte {
	var servers []string
	for _, a := range l.Names {
		servers = append(servers, a.String())
	}
	return []byte("lease " + strings.Join([]string{l.Address.String(), text(l.Router), strings.Join(servers, ","), strings.Join(l.Search, ",")}, " "))
}

// Answer reads what Text or a failure was.
func Answer(text []byte) (l Lease, err error) {
	rest, ok := strings.CutPrefix(string(text), "lease ")
	if !ok {
		return l, failure(text)
	}
	f := strings.Split(rest, " ")
	if len(f) != 4 {
		return l, failure("the helper's answer makes no sense")
	}
	if l.Address, err = netip.ParsePrefix(f[0]); err != nil {
		return l, err
	}
	l.Router, _ = netip.ParseAddr(f[1])
	for _, s := range strings.Split(f[2], ",") {
		if a, err := netip.ParseAddr(s); err == nil {
			l.Names = append(l.Names, a)
		}
	}
	l.Search = strings.FieldsFunc(f[3], func(r rune) bool { return r == ',' })
	return l, nil
}

// Main is the life of a process that the engine started with its end of a socket, by
// which its Order comes, and the first lease goes. It returns the exit code.
func Main(sock int) int {
	if err := detach.From(sock); err != nil {
		return 1
	}
	text, fds, err := fdpass.Receive(sock, OrderFDs)
	if err != nil {
		return 1
	}
	var o Order
	if !o.read(text) {
		return 1
	}
	// What ends a session or a service ends no lease.
	if _, err := catch.Start([]unix.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM}); err != nil {
		return 1
	}
	k := &keeper{
		socket: &socket{fd: fds[0], index: o.Index, end: fds[2]},
		device: device{fd: fds[1], index: o.Index, route: o.Route},
	}
	k.client = &Client{wire: k.socket, mac: o.MAC, host: o.Host}
	l := Lease{Address: o.Held, Router: o.Router}
	if err = confined(); err == nil && !o.Held.IsValid() {
		if l, err = k.client.Acquire(o.Had); err == nil {
			err = k.device.assign(l)
		}
	}
	if err != nil {
		_ = fdpass.Send(sock, []byte(err.Error()))
		return 1
	}
	err = fdpass.Send(sock, l.Text())
	unix.Close(sock)
	begun := time.Now()
	switch {
	case o.Held.IsValid():
		k.device.kept, k.device.router = true, o.Router
		if l, begun, err = k.again(l); err != nil {
			return 1
		}
	case err != nil: // nobody waits for it
		k.client.Release(l)
		return 1
	}
	k.keep(l, begun)
	return 0
}

// confined takes from the process what it does not need, before it reads anything that
// others have sent. What remains is the right to change networks, and but for the
// container's, by the route socket, there is none in its reach: it is in a namespace of
// its own.
func confined() error {
	if _, _, e := syscall.AllThreadsSyscall(unix.SYS_UNSHARE, unix.CLONE_NEWNET, 0, 0); e != 0 {
		return os.NewSyscallError("leave the host's network", e)
	}
	if _, err := confine.Restrict(confine.AllThreads, &confine.Files{}); err != nil && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	if err := (confine.Bounds{Files: 2}).Bind(); err != nil { // as many as poll(2) is asked about
		return err
	}
	return confine.Worker(1 << unix.CAP_NET_ADMIN)
}

// keeper keeps a lease.
type keeper struct {
	client *Client
	socket *socket
	device device
}

// pause is between two attempts to get a lease again that was lost.
const pause = time.Minute

// keep renews the lease until the container ends.
func (k *keeper) keep(l Lease, begun time.Time) {
	for {
		err := k.socket.wait(begun.Add(l.Renew), false)
		for err == nil {
			asked := time.Now()
			var now Lease
			now, err = k.client.Extend(l)
			if err == nil && now.Address.Addr() == l.Address.Addr() {
				err = k.device.assign(now)
				l, begun = now, asked
				break
			}
			left := time.Until(begun.Add(l.For))
			if err == errRefused || err == nil || left <= 0 {
				l, begun, err = k.anew(l)
				break
			}
			if err == errSilent {
				err = k.socket.wait(time.Now().Add(max(time.Second, min(left/2, pause))), false)
			}
		}
		if err == errEnded {
			k.client.Release(l)
			return
		}
		if err != nil {
			return
		}
	}
}

// anew gets a lease after one was lost, which is not used any more.
func (k *keeper) anew(old Lease) (l Lease, begun time.Time, err error) {
	k.device.remove(old)
	return k.acquire(old, netip.Addr{})
}

// again gets a lease whose keeper was killed; another one takes its place.
func (k *keeper) again(old Lease) (l Lease, begun time.Time, err error) {
	if l, begun, err = k.acquire(old, old.Address.Addr()); err == nil && l.Address != old.Address {
		k.device.remove(old)
	}
	return l, begun, err
}

// acquire asks until there is a lease.
func (k *keeper) acquire(old Lease, had netip.Addr) (l Lease, begun time.Time, err error) {
	for {
		begun = time.Now()
		l, err = k.client.Acquire(had)
		if err == nil {
			return l, begun, k.device.assign(l)
		}
		if _, ok := err.(failure); !ok || err == errEnded {
			return old, begun, err
		}
		if err = k.socket.wait(time.Now().Add(pause), false); err != nil {
			return old, begun, err
		}
	}
}
