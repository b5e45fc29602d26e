package bridge

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/sys/netlink"
	"berth/test/netns"
)

func TestMain(m *testing.M) { os.Exit(netns.Main(m.Run)) }

func TestShaperOf(t *testing.T) {
	for port, want := range map[string]string{"veth-1a2b3c4d": "veth-ia2b3c4d", "ve12ab-1a2b3c4d": "ve12ab-ia2b3c4d"} {
		if got := ShaperOf(port); got != want {
			t.Errorf("%s: %s, want %s", port, got, want)
		}
	}
}

// Where a kernel is without something, the error names it; that is so for a classifier
// that there is not, too.
func TestLacks(t *testing.T) {
	for _, e := range []error{unix.ENOENT, fmt.Errorf("%w (Specified qdisc kind is unknown)", unix.EOPNOTSUPP)} {
		err := lacks("limit it", "token buckets (CONFIG_NET_SCH_TBF)", e)
		if !fault.Is(err, fault.Unsupported) || !strings.HasPrefix(err.Error(), "limit it: this kernel has no token buckets (CONFIG_NET_SCH_TBF): ") {
			t.Error(err)
		}
	}
	if err := lacks("limit it", "x", unix.EPERM); fault.Is(err, fault.Unsupported) || err.Error() != "limit it: operation not permitted" {
		t.Error(err)
	}
	netns.Need(t)
	c, err := netlink.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	l, err := shaper(c, "ve-i0000001")
	if err != nil {
		t.Fatal(err)
	}
	defer Remove(c, l.Name)
	if err := one(c, netlink.IngressRequest(l.Index)); err != nil {
		t.Fatal(err)
	}
	if err := lacks("redirect", "such thing", one(c, netlink.RedirectRequest(l.Index, l.Index, "nosuch"))); !fault.Is(err, fault.Unsupported) {
		t.Errorf("%v", err)
	}
}
