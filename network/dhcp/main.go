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

// Order is what a process of ours is to do, and whose three descriptors it has: of a
// packet socket (Listen) and a route socket in the container's namespace, and a pidfd of
// its first process.
type Order struct {
	Index int // of the device
	MAC   [6]byte
	Host  string     // the name that the server is told
	Had   netip.Addr // the address of the last run; zero: none
	Route bool       // the server's router is the default route
}

// OrderFDs is how many descriptors come with an Order.
const OrderFDs = 3

// Text is the order on its way.
func (o *Order) Text() []byte {
	had := ""
	if o.Had.IsValid() {
		had = o.Had.String()
	}
	return []byte(strings.Join([]string{strconv.Itoa(o.Index), string(o.MAC[:]), o.Host, had, strconv.FormatBool(o.Route)}, "\x00"))
}

func (o *Order) read(text []byte) bool {
	head, rest, _ := strings.Cut(string(text), "\x00")
	if len(rest) < len(o.MAC) {
		return false
	}
	copy(o.MAC[:], rest)
	f := strings.Split(rest[len(o.MAC):], "\x00")
	if len(f) != 4 {
		return false
	}
	var err error
	if o.Index, err = strconv.Atoi(head); err != nil {
		return false
	}
	o.Host, o.Route = f[1], f[3] == "true"
	o.Had, _ = netip.ParseAddr(f[2])
	return true
}

// Text is the answer to an Order, once.
func (l Lease) Text() []byte {
	router := ""
	if l.Router.IsValid() {
		router = l.Router.String()
	}
	return []byte("lease " + l.Address.String() + " " + router)
}

// Answer reads what Text or a failure was.
func Answer(text []byte) (l Lease, err error) {
	rest, ok := strings.CutPrefix(string(text), "lease ")
	if !ok {
		return l, failure(text)
	}
	address, router, _ := strings.Cut(rest, " ")
	if l.Address, err = netip.ParsePrefix(address); err != nil {
		return l, err
	}
	l.Router, _ = netip.ParseAddr(router)
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
	var l Lease
	if err = confined(); err == nil {
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
	if err != nil { // nobody waits for it
		k.client.Release(l)
		return 1
	}
	k.keep(l)
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
	for _, l := range []struct {
		what int
		n    uint64
	}{{unix.RLIMIT_NOFILE, 2}, {unix.RLIMIT_FSIZE, 0}, {unix.RLIMIT_CORE, 0}} { // 2: as many as poll(2) is asked about
		if err := unix.Setrlimit(l.what, &unix.Rlimit{Cur: l.n, Max: l.n}); err != nil {
			return os.NewSyscallError("setrlimit", err)
		}
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
func (k *keeper) keep(l Lease) {
	begun := time.Now()
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
	for {
		begun = time.Now()
		l, err = k.client.Acquire(netip.Addr{})
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
