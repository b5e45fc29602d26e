package network

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"berth/base/fault"
	"berth/network/portmap"
	"berth/network/watch"
)

// Ports are published and taken back while the container runs: by real packets, with
// their sockets, and what stays keeps the host's ports.
func TestRepublish(t *testing.T) {
	w := newWorld(t, Settings{})
	g := w.run(Request{Publish: []Port{{Protocol: "tcp", Host: 8080, Container: 80, Count: 1}, {Protocol: "tcp", Container: 81, Count: 1}}})
	other := w.run(Request{Publish: []Port{{Protocol: "tcp", Host: 8200, Container: 80, Count: 1}}})
	for _, p := range []string{":80", ":81", ":82", ":8300", ":8302"} {
		w.serve(g.Namespace, "tcp4", p)
	}
	w.serve(g.Namespace, "udp4", ":53")
	tcp := func(host, inside, count uint16) Port {
		return Port{Protocol: "tcp", Host: host, Container: inside, Count: count}
	}
	free := g.a.Ports[1].Host
	ask := func(ports ...Port) Request { return Request{Endpoints: on(Default), Publish: ports} }
	outside := func(port uint16) string { return fmt.Sprintf("192.0.2.2:%d", port) }

	a := w.mustAlter(g, ask(tcp(8080, 80, 1), tcp(0, 81, 1), tcp(8082, 82, 1), Port{Protocol: "udp", Host: 5353, Container: 53, Count: 1}, tcp(8300, 8300, 3)))
	if !a.Moved || len(a.Hold) != 7 || a.Ports[1].Host != free {
		t.Errorf("%+v, %d held", a.Attachment, len(a.Hold))
	}
	w.reach(w.outside, "tcp4", outside(8080), "192.0.2.1")
	w.reach(w.outside, "tcp4", outside(free), "192.0.2.1")
	w.reach(w.outside, "tcp4", outside(8082), "192.0.2.1")
	w.reach(w.outside, "tcp4", outside(8302), "192.0.2.1")
	w.reach(w.outside, "udp4", outside(5353), "192.0.2.1")
	if l, err := net.Listen("tcp", ":8082"); err == nil {
		l.Close()
		t.Error("the new port is not held")
	}
	// A part of a range goes, a port leads elsewhere, one of another is refused.
	a = w.mustAlter(g, ask(tcp(8080, 82, 1), tcp(0, 81, 1), tcp(8300, 8300, 1), tcp(8302, 8302, 1)))
	if !a.Moved || a.Ports[1].Host != free {
		t.Errorf("%+v", a.Attachment)
	}
	w.reach(w.outside, "tcp4", outside(8080), "192.0.2.1")
	w.reach(w.outside, "tcp4", outside(8300), "192.0.2.1")
	w.reach(w.outside, "tcp4", outside(8302), "192.0.2.1")
	w.refuse(w.outside, "tcp4", outside(8082))
	w.refuse(w.outside, "udp4", outside(5353))
	if l, err := net.Listen("tcp", ":8301"); err != nil {
		t.Errorf("a port that was given back is held: %v", err)
	} else {
		l.Close()
	}
	rules := host(t, "nft list ruleset")
	_, err := w.alter(g, ask(tcp(8080, 82, 1), tcp(0, 81, 1), tcp(8400, 80, 1), tcp(8200, 80, 1)))
	if !fault.Is(err, fault.Conflict) || err.Error() != "Bind for 0.0.0.0:8200 failed: port is already allocated" {
		t.Errorf("%v", err)
	}
	if now := host(t, "nft list ruleset"); now != rules {
		t.Errorf("after a refusal the firewall is\n%s\nwas\n%s", now, rules)
	}
	if l, err := net.Listen("tcp", ":8400"); err != nil {
		t.Errorf("after a refusal a port is held: %v", err)
	} else {
		l.Close()
	}
	w.reach(w.outside, "tcp4", outside(8080), "192.0.2.1")
	// More than are held, and back: others do not get them, too.
	w.mustAlter(g, ask(tcp(8080, 82, 1), tcp(20000, 20000, 100)))
	if _, err := w.alter(other, ask(tcp(8200, 80, 1), tcp(20050, 80, 1))); !fault.Is(err, fault.Conflict) {
		t.Errorf("a port of many is given twice: %v", err)
	}
	a = w.mustAlter(g, ask(tcp(8080, 82, 1)))
	if len(a.Hold) != 1 {
		t.Errorf("%d held", len(a.Hold))
	}
	w.mustAlter(other, ask(tcp(8200, 80, 1), tcp(20050, 80, 1)))
	a = w.mustAlter(g, ask())
	if len(a.Ports) != 0 || len(a.Hold) != 0 || !a.Moved {
		t.Errorf("%+v", a)
	}
	w.refuse(w.outside, "tcp4", outside(8080))
}

// A client that keeps sending to a UDP port comes to the container once it is published,
// and no more when it is not.
func TestRepublishDatagrams(t *testing.T) {
	w := newWorld(t, Settings{})
	g := w.run(Request{})
	w.serve(g.Namespace, "udp4", ":53")
	c := w.sender("192.0.2.2:5353")
	udp := []Port{{Protocol: "udp", Host: 5353, Container: 53, Count: 1}}
	for range 3 {
		if c.answered(300 * time.Millisecond) {
			t.Error("a port that is not published answers")
		}
		w.mustAlter(g, Request{Endpoints: on(Default), Publish: udp})
		if !c.answered(2 * time.Second) {
			t.Error("the published port does not answer")
		}
		w.mustAlter(g, Request{Endpoints: on(Default)})
	}
}

// sender sends from one port, again and again.
type sender struct{ net.Conn }

func (w *world) sender(to string) sender {
	w.t.Helper()
	var c net.Conn
	var err error
	w.outside.Do(func() { c, err = net.Dial("udp4", to) })
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	return sender{c}
}

// answered sends until an answer to that comes.
func (s sender) answered(within time.Duration) bool {
	buf := make([]byte, 100)
	for { // what is under way
		_ = s.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if _, err := s.Read(buf); errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
	}
	for deadline := time.Now().Add(within); time.Now().Before(deadline); {
		_, _ = s.Write([]byte("?")) // refused while nobody is there
		_ = s.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if n, err := s.Read(buf); err == nil && n > 0 {
			return true
		}
	}
	return false
}

// A change whose author was killed after it was made, or in its middle, and before it was
// confirmed, is known as such, and the next one or the container's end takes up all of it.
func TestUnconfirmed(t *testing.T) {
	w := newWorld(t, Settings{})
	w.create(Network{Name: "one"})
	w.create(Network{Name: "two"})
	w.run(Request{Endpoints: on("one", "two")}) // both are there
	before := host(t, "nft list ruleset")
	port := func(host uint16) []Port { return []Port{{Protocol: "tcp", Host: host, Container: 80, Count: 1}} }
	for _, end := range []string{"again", "back", "removed"} {
		for _, damage := range []string{"", "nft flush map inet " + w.s.table + " publish4", "nft flush set bridge " + w.s.table + " link"} {
			g := w.run(Request{Endpoints: on("one"), Publish: port(8080)})
			w.serve(g.Namespace, "tcp4", ":80")
			a, err := w.s.Alter(ctx, Request{Container: g.id, Endpoints: on("one", "two"), Publish: port(8081), Held: g.a.Hold}, g.File)
			if err != nil {
				t.Fatal(err)
			}
			if list, err := w.s.Unconfirmed(); err != nil || len(list) != 1 || list[0] != g.id {
				t.Errorf("unconfirmed are %v, %v", list, err)
			}
			portmap.CloseAll(g.a.Hold) // as when the one that has them is killed
			portmap.CloseAll(a.Hold)
			g.a.Hold = nil
			if damage != "" { // as if it had not come to that
				host(t, damage)
			}
			switch end {
			case "again":
				w.mustAlter(g, Request{Endpoints: on("one", "two"), Publish: port(8081)})
				w.reach(w.outside, "tcp4", "192.0.2.2:8081", "192.0.2.1")
				w.refuse(w.outside, "tcp4", "192.0.2.2:8080")
			case "back":
				w.mustAlter(g, Request{Endpoints: on("one"), Publish: port(8080)})
				w.reach(w.outside, "tcp4", "192.0.2.2:8080", "192.0.2.1")
				w.refuse(w.outside, "tcp4", "192.0.2.2:8081")
			}
			if list, err := w.s.Unconfirmed(); end != "removed" && (err != nil || len(list) != 0) {
				t.Errorf("%s: unconfirmed are %v, %v", end, list, err)
			}
			portmap.CloseAll(g.a.Hold)
			if err := w.s.Release(ctx, g.id); err != nil {
				t.Error(err)
			}
			if out := host(t, "nft list map inet "+w.s.table+" publish4"); strings.Contains(out, " 808") {
				t.Errorf("%s after %q: ports are left:\n%s", end, damage, out)
			}
			if err := w.s.Reload(ctx); err != nil {
				t.Fatal(err)
			}
			if now := host(t, "nft list ruleset"); now != before {
				t.Errorf("%s after %q: the firewall is\n%s\nwas\n%s", end, damage, now, before)
			}
		}
	}
	if again := w.run(Request{Endpoints: on("one")}); again.ip() != "172.18.0.3" {
		t.Errorf("addresses are lost: %s is the next", again.ip())
	}
}

// Somebody removes a bridge on which containers are: the next verb makes it anew, with
// their ports.
func TestBridgeRemoved(t *testing.T) {
	w := newWorld(t, Settings{})
	n := w.create(Network{Name: "net"})
	publish := []Port{{Protocol: "tcp", Host: 8080, Container: 80, Count: 1}}
	a := w.run(Request{Endpoints: on("net"), Publish: publish})
	w.serve(a.Namespace, "tcp4", ":80")
	for _, mend := range []func() error{
		func() error {
			b := w.run(Request{Endpoints: on("net")})
			w.reach(b.Namespace, "tcp4", a.ip()+":80", b.ip())
			return w.s.Release(ctx, b.id)
		},
		func() error { return w.s.Reload(ctx) },
		func() error {
			if mended, err := w.s.Mend(ctx); err != nil || !mended {
				return fmt.Errorf("mended %v, %w", mended, err)
			}
			mended, err := w.s.Mend(ctx)
			if mended {
				err = errors.New("mended again")
			}
			return err
		},
	} {
		host(t, "ip link delete "+n.Device)
		w.refuse(w.outside, "tcp4", "192.0.2.2:8080")
		if err := mend(); err != nil {
			t.Error(err)
		}
		w.reach(w.outside, "tcp4", "192.0.2.2:8080", "192.0.2.1")
		w.reach(a.Namespace, "tcp4", "192.0.2.2:8080", n.Subnets[0].Gateway.String()) // hairpin
	}
	// It goes while the network is removed, or a container leaves it: no error.
	host(t, "ip link delete "+n.Device)
	if err := w.s.Release(ctx, a.id); err != nil {
		t.Error(err)
	}
	if err := w.s.Remove(ctx, n); err != nil {
		t.Error(err)
	}
}

// Somebody removes a container's device, takes it from its bridge, or sets it down: that is
// seen, and Alter makes it anew.
func TestDeviceRemoved(t *testing.T) {
	w := newWorld(t, Settings{})
	w.create(Network{Name: "net"})
	publish := []Port{{Protocol: "tcp", Host: 8080, Container: 80, Count: 1}}
	g := w.run(Request{Endpoints: on("net"), Publish: publish})
	w.serve(g.Namespace, "tcp4", ":80")
	at, device := g.ip(), g.a.Endpoints[0].Device
	for _, damage := range []string{"delete " + device, "set nomaster dev " + device, "set down dev " + device} {
		host(t, "ip link "+damage)
		if list, err := w.s.Unplugged(); err != nil || len(list) != 1 || list[0] != g.id {
			t.Errorf("%s: unplugged are %v, %v", damage, list, err)
		}
		w.refuse(w.outside, "tcp4", "192.0.2.2:8080")
		w.mustAlter(g, Request{Endpoints: on("net"), Publish: publish})
		if list, err := w.s.Unplugged(); err != nil || len(list) != 0 || g.ip() != at {
			t.Errorf("%s: unplugged are %v, %v; it has %s", damage, list, err, g.ip())
		}
		w.reach(w.outside, "tcp4", "192.0.2.2:8080", "192.0.2.1")
		w.reach(g.Namespace, "tcp4", "192.0.2.2:8080", g.a.Endpoints[0].Gateway.String())
	}
	host(t, "ip link delete "+device)
	if err := w.s.Release(ctx, g.id); err != nil {
		t.Error(err)
	}
}

// The namespace of a container goes, with all that is in it: what is asked of it says so,
// and it can be detached.
func TestNamespaceGone(t *testing.T) {
	w := newWorld(t, Settings{})
	w.create(Network{Name: "one"})
	w.create(Network{Name: "two"})
	g := w.run(Request{Endpoints: on("one")})
	plain, err := os.Open("/dev/null") // what is not one
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if _, err := w.s.Alter(ctx, Request{Container: g.id, Endpoints: on("one", "two")}, plain); err == nil || !strings.HasPrefix(err.Error(), "connect container ") {
		t.Errorf("%v", err)
	}
	if out := host(t, "ip -o -br link"); strings.Count(out, w.s.ports) != 1 {
		t.Errorf("devices are left:\n%s", out)
	}
	g.Close()
	for range 2 {
		if err := w.s.Detach(ctx, g.id); err != nil {
			t.Error(err)
		}
	}
	if err := w.s.Release(ctx, g.id); err != nil {
		t.Error(err)
	}
}

// The administrator's reload switches forwarding off: the next Mend sees it.
func TestForwardingMended(t *testing.T) {
	w := newWorld(t, Settings{})
	g := w.run(Request{})
	w.serve(w.outside, "tcp4", "192.0.2.1:80")
	w.reach(g.Namespace, "tcp4", "192.0.2.1:80", "192.0.2.2")
	for _, line := range []string{"sysctl -qw net.ipv4.ip_forward=1", "sysctl -qw net.ipv4.ip_forward=0"} {
		host(t, line)
		if _, err := w.s.Mend(ctx); err != nil {
			t.Fatal(err)
		}
		w.reach(g.Namespace, "tcp4", "192.0.2.1:80", "192.0.2.2")
	}
	// A host that was a router when somebody looked.
	for _, mend := range []func() error{
		func() error { w.run(Request{}); return nil },
		func() error { _, err := w.s.Mend(ctx); return err },
	} {
		host(t, "sysctl -qw net.ipv4.ip_forward=1")
		w.run(Request{})
		host(t, "sysctl -qw net.ipv4.ip_forward=0")
		if err := mend(); err != nil {
			t.Fatal(err)
		}
		w.reach(w.run(Request{}).Namespace, "tcp4", "192.0.2.1:80", "192.0.2.2")
	}
	w.create(Network{Name: "six", IPv6: true})
	for _, mend := range []func() error{
		func() error { w.run(Request{Endpoints: on("six")}); return nil },
		func() error { _, err := w.s.Mend(ctx); return err },
	} {
		w.run(Request{Endpoints: on("six")})
		host(t, "sysctl -qw net.ipv6.conf.all.forwarding=0")
		if err := mend(); err != nil {
			t.Fatal(err)
		}
		if out := host(t, "sysctl -n net.ipv6.conf.all.forwarding"); out != "1\n" {
			t.Errorf("IPv6 is not forwarded: %s", out)
		}
	}
}

// What others flush is mended without a verb while somebody watches, and idle he does
// nothing.
func TestWatch(t *testing.T) {
	w := newWorld(t, Settings{})
	n := w.create(Network{Name: "net"})
	g := w.run(Request{Endpoints: on("net"), Publish: []Port{{Protocol: "tcp", Host: 8080, Container: 80, Count: 1}}})
	w.serve(g.Namespace, "tcp4", ":80")
	watching, stop := context.WithCancel(ctx)
	looks, ended := make(chan bool, 100), make(chan error)
	begun := make(chan struct{})
	go func() {
		first := true
		ended <- Watch(watching, w.s, func() error {
			mended, err := w.s.Mend(watching)
			if first {
				close(begun)
				first = false
			}
			looks <- mended
			return err
		})
	}()
	<-begun
	for _, damage := range []string{"nft flush ruleset", "nft flush chain inet " + w.s.table + " publish", "ip link delete " + n.Device, "sysctl -qw net.ipv4.conf." + n.Device + ".forwarding=0"} {
		for len(looks) > 0 {
			<-looks
		}
		host(t, damage)
		for deadline := time.After(20 * time.Second); ; {
			select {
			case mended := <-looks:
				if !mended {
					continue
				}
			case <-deadline:
				t.Errorf("%s: nobody mends it", damage)
			}
			break
		}
		w.reach(w.outside, "tcp4", "192.0.2.2:8080", "192.0.2.1")
	}
	// As after ufw reload: the place that it offers is a new one.
	for range 2 {
		host(t, "nft add table ip filter")
		host(t, "nft add chain ip filter ufw-user-forward")
		for end := time.Now().Add(20 * time.Second); !strings.Contains(host(t, "nft list chain ip filter ufw-user-forward"), "jump BERTH-FORWARD"); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Error("a new firewall does not let the network through")
				break
			}
		}
		host(t, "nft delete table ip filter")
	}
	// Our own changes end it: no look follows the other for ever.
	for quiet := 0; quiet < 2; {
		select {
		case <-looks:
			quiet = 0
		case <-time.After(watch.Most + 2*watch.Quiet):
			quiet++
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// What is in an endpoint file of a change that was not confirmed.
func TestWasIsKept(t *testing.T) {
	e := endpointFile{Was: []earlier{{Ports: []Port{{Protocol: "tcp", Host: 1, Container: 1, Count: 1}}, Endpoints: []Attached{{Device: "x", IPv4: netip.MustParsePrefix("10.0.0.2/24"), Default: true}}}}}
	data, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var back endpointFile
	if err := json.Unmarshal(data, &back); err != nil || len(back.before()) != 1 || len(back.leavings()) != len(e.leavings()) || len(e.leavings()) < 2 {
		t.Errorf("%+v, %v", back, err)
	}
}

// What a killed removal left of a network, and of which no verb takes notice, check finds.
func TestCheckFindsNetworks(t *testing.T) {
	w := newWorld(t, Settings{})
	n := w.create(Network{Name: "net"})
	g := w.run(Request{Endpoints: on("net")})
	if err := w.s.Release(ctx, g.id); err != nil {
		t.Fatal(err)
	}
	for _, left := range []string{"device", "lock", "none"} {
		switch left {
		case "device":
			host(t, "rm "+w.s.records.File("net"))
		case "lock":
			host(t, "touch "+w.s.files.Run+"/locks/"+n.ID)
			host(t, "mkdir "+w.s.files.Run+"/addresses/"+n.ID)
		}
		found, err := w.s.Check(ctx, false)
		if err != nil || (len(found) > 0) != (left != "none") {
			t.Errorf("%s: found %+v, %v", left, found, err)
		}
		if found, err = w.s.Check(ctx, true); err != nil {
			t.Error(err)
		}
		for _, f := range found {
			if !f.Repaired {
				t.Errorf("%s: not repaired: %+v", left, f)
			}
		}
		if found, err = w.s.Check(ctx, false); err != nil || len(found) > 0 {
			t.Errorf("%s: after the repair: %+v, %v", left, found, err)
		}
	}
	if out := host(t, "ip -o link show type bridge"); out != "" {
		t.Errorf("bridges are left:\n%s", out)
	}
}
