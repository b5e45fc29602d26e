package netlink

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"golang.org/x/sys/unix"
)

func TestLoopback(t *testing.T) {
	c, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	lo, err := c.LinkByName("lo")
	if err != nil || lo.Name != "lo" || lo.MTU == 0 {
		t.Fatalf("%+v, %v", lo, err)
	}
	again, err := c.LinkByIndex(lo.Index)
	if err != nil || !reflect.DeepEqual(again, lo) {
		t.Errorf("%+v, %v", again, err)
	}
	list, err := c.Addresses(lo.Index)
	if err != nil {
		t.Fatal(err)
	}
	if lo.Up && len(list) == 0 {
		t.Error("lo has no address")
	}
	for _, a := range list {
		if a.Family == unix.AF_INET && !bytes.Equal(a.IP()[:1], []byte{127}) {
			t.Errorf("lo has %v", a.IP())
		}
	}
	if _, err := c.LinkByName("no-such-device"); !errors.Is(err, unix.ENODEV) {
		t.Errorf("%v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte{20, 0, 0, 0, 2, 0, 0, 3, 7, 0, 0, 0, 0, 0, 0, 0, 0xed, 0xff, 0xff, 0xff}, uint32(7))
	f.Fuzz(func(t *testing.T, b []byte, seq uint32) {
		list, _, err := parse(b, seq)
		if err != nil && list != nil {
			t.Error("both messages and an error")
		}
		for _, m := range list {
			for _, a := range Attributes(m.Data) {
				_, _ = a.String(), a.Uint32()
			}
		}
	})
}

func FuzzAcknowledgements(f *testing.F) {
	f.Add([]byte{20, 0, 0, 0, 2, 0, 0, 3, 7, 0, 0, 0, 0, 0, 0, 0, 0xed, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		if n := len(acknowledgements(b)); n > len(b)/headerSize {
			t.Errorf("%d answers in %d bytes", n, len(b))
		}
		for _, l := range links([]Message{{unix.RTM_NEWLINK, b}}) {
			_ = l.Kind
		}
	})
}

// Each request of a batch has its own answer, and later ones are carried out.
func TestBatch(t *testing.T) {
	c, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	lo, err := c.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	ask := func(name string) Request {
		return Request{Kind: unix.RTM_GETLINK, Payload: AppendString(infoMessage(0, 0, 0), unix.IFLA_IFNAME, name)}
	}
	errs, err := c.DoAll([]Request{ask("lo"), ask("no-such-device"), ask("lo")})
	if err != nil || len(errs) != 3 || errs[0] != nil || !errors.Is(errs[1], unix.ENODEV) || errs[2] != nil {
		t.Errorf("%v, %v", errs, err)
	}
	if errs, err := c.DoAll([]Request{ask("lo")}); errs != nil || err != nil {
		t.Errorf("%v, %v", errs, err)
	}
	if again, err := c.LinkByIndex(lo.Index); err != nil || again.Name != "lo" {
		t.Errorf("what follows a batch: %v, %v", again, err)
	}
}
