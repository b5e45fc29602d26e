package dhcp

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// answered is a server's message to a client's, with options.
func answered(m *message, k kind, yours string, more ...byte) []byte {
	b := m.encode()[:headSize]
	b[0] = 2
	a := netip.MustParseAddr(yours).As4()
	copy(b[16:], a[:])
	b = append(b, optionKind, 1, byte(k), optionServer, 4, 192, 0, 2, 1)
	return append(append(b, more...), optionEnd)
}

// datagram is what a server's message comes in.
func datagram(payload []byte) []byte {
	b := wrap([4]byte{192, 0, 2, 1}, [4]byte{255, 255, 255, 255}, payload)
	binary.BigEndian.PutUint16(b[ipSize:], serverPort)
	binary.BigEndian.PutUint16(b[ipSize+2:], clientPort)
	return b
}

func TestDecode(t *testing.T) {
	m := message{kind: discover, xid: 7, mac: [6]byte{2, 0, 0, 0, 0, 9}, host: "web"}
	mask := []byte{optionMask, 4, 255, 255, 255, 0}
	lease := append(mask, optionRouter, 8, 192, 0, 2, 254, 192, 0, 2, 253, optionTime, 4, 0, 0, 14, 16)
	got, ok := decode(unwrap(datagram(answered(&m, ack, "192.0.2.9", lease...))))
	if !ok || got.xid != 7 || got.mac != m.mac || got.kind != ack || got.server.String() != "192.0.2.1" {
		t.Fatalf("%+v, %v", got, ok)
	}
	l, ok := got.lease.settle()
	if !ok || l.Address.String() != "192.0.2.9/24" || l.Router.String() != "192.0.2.254" || l.For != time.Hour || l.Renew != 30*time.Minute || l.Rebind != 3150*time.Second {
		t.Errorf("%+v, %v", l, ok)
	}
	if got, err := Answer(l.Text()); err != nil || got.Address != l.Address || got.Router != l.Router {
		t.Errorf("%+v, %v", got, err)
	}
	for what, b := range map[string][]byte{
		"no time":        answered(&m, ack, "192.0.2.9", mask...),
		"a short one":    answered(&m, ack, "192.0.2.9", optionTime, 4, 0, 0, 0, 1),
		"no address":     answered(&m, ack, "0.0.0.0", lease...),
		"loopback":       answered(&m, ack, "127.0.0.1", lease...),
		"a group's":      answered(&m, ack, "224.0.0.1", lease...),
		"the broadcast":  answered(&m, ack, "255.255.255.255", lease...),
		"cut in options": answered(&m, ack, "192.0.2.9", optionTime, 200, 1),
	} {
		got, _ := decode(b)
		if l, ok := got.lease.settle(); ok {
			t.Errorf("%s: %+v", what, l)
		}
	}
	o := Order{Index: 3, MAC: m.mac, Host: "web", Had: netip.MustParseAddr("192.0.2.9"), Route: true, Held: netip.MustParsePrefix("192.0.2.9/24"), Router: netip.MustParseAddr("192.0.2.1")}
	var back Order
	if !back.read(o.Text()) || back != o {
		t.Errorf("%+v", back)
	}
}

func TestDomains(t *testing.T) {
	list := "\x03lan\x04test\x00" + "\x02in\xc0\x00" + "\xc0\x04"
	for text, want := range map[string]string{
		list:                         "lan.test in.lan.test test",
		list + "\xc0\xff":            "lan.test in.lan.test test", // points onwards
		"\x03lan":                    "own.test",                  // has no end
		"\xc0\x00":                   "own.test",                  // points at itself
		"\x03a b\x00":                "own.test",
		"\x09lan\nfoo x\x00":         "own.test",
		strings.Repeat("\x01a", 200): "own.test",
	} {
		o := options{optionSearch: []byte(text), optionDomain: []byte("own.test.\x00")}
		if got := strings.Join(o.domains(), " "); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
	o := options{optionDomain: []byte("x\nnameserver 1.2.3.4"), optionNames: []byte{192, 0, 2, 1, 127, 0, 0, 1, 192, 0, 2, 2, 9}}
	if d, s := o.domains(), o.servers(); len(d) != 0 || len(s) != 2 || s[1].String() != "192.0.2.2" {
		t.Errorf("%q %v", d, s)
	}
	l := Lease{Address: netip.MustParsePrefix("192.0.2.9/24"), Names: o.servers(), Search: []string{"a.test", "b"}}
	if got, err := Answer(l.Text()); err != nil || len(got.Names) != 2 || strings.Join(got.Search, " ") != "a.test b" {
		t.Errorf("%+v, %v", got, err)
	}
}

// fake is a wire to a server.
type fake struct {
	answer func(m []byte) [][]byte
	ready  [][]byte
	sent   int
}

func (f *fake) send(b []byte) error {
	f.sent++
	f.ready = append(f.ready, f.answer(b[ipSize+udpSize:])...)
	return nil
}

func (f *fake) receive(time.Time) ([]byte, error) {
	if len(f.ready) == 0 {
		return nil, nil
	}
	b := f.ready[0]
	f.ready = f.ready[1:]
	return b, nil
}

func TestAcquire(t *testing.T) {
	mac := [6]byte{2, 0, 0, 0, 0, 9}
	refusals := 1
	f := &fake{}
	f.answer = func(b []byte) [][]byte {
		m := message{xid: binary.BigEndian.Uint32(b[4:]), mac: mac}
		other := m
		other.xid++
		time := []byte{optionTime, 4, 0, 0, 14, 16}
		noise := [][]byte{{1, 2, 3}, bytes.Repeat([]byte{0x45}, 400), datagram(answered(&other, offer, "192.0.2.66", time...))}
		switch {
		case bytes.Contains(b[headSize:], []byte{optionKind, 1, byte(discover)}):
			return append(noise, datagram(answered(&m, offer, "192.0.2.9", time...)))
		case refusals > 0:
			refusals--
			return append(noise, datagram(answered(&m, nak, "0.0.0.0")))
		}
		return append(noise, datagram(answered(&m, ack, "192.0.2.9", time...)))
	}
	c := &Client{wire: f, mac: mac}
	l, err := c.Acquire(netip.Addr{})
	if err != nil || l.Address.Addr().String() != "192.0.2.9" || f.sent != 4 {
		t.Errorf("%+v, %v, %d messages", l, err, f.sent)
	}
	f.answer = func([]byte) [][]byte { return nil }
	if _, err := c.Acquire(netip.Addr{}); err != errSilent {
		t.Errorf("%v", err)
	}
}

func FuzzDecode(f *testing.F) {
	m := message{kind: discover, xid: 7}
	f.Add(datagram(answered(&m, ack, "192.0.2.9", optionOverload, 1, 3)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, ok := decode(unwrap(b)); ok {
			if l, ok := m.lease.settle(); ok && (!usable(l.Address.Addr()) || l.Renew <= 0 || l.Renew >= l.For || l.Address.Bits() < 1) {
				t.Errorf("%+v", l)
			}
		}
	})
}
