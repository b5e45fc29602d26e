package bridge

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/sys/netlink"
)

// Rate bounds one direction: bits a second, 0 for no bound, and how many bytes may
// come at once, 0 for what is usual.
type Rate struct {
	Bits, Burst uint64
}

// Limit is what may go into a container and out of it.
type Limit struct {
	In, Out Rate
}

// FrameOverhead is what a frame has besides its packet, in bytes.
const FrameOverhead = 18

// burst lets through what comes in 20 ms, and at least what the kernel gathers to
// one piece.
func (r Rate) burst() uint64 {
	if r.Burst != 0 {
		return r.Burst
	}
	return max(r.Bits/8/50, 64<<10)
}

// bucket is the rate as a token bucket, with a queue of some 100 ms.
func (r Rate) bucket(index int) netlink.Request {
	return netlink.BucketRequest(index, netlink.Bucket{Rate: r.Bits / 8, Burst: r.burst(), Queue: max(r.Bits/80, 16<<10) + r.burst()})
}

// ShaperOf is the name of the device through which goes what a limited container
// sends; it is its port's, but for a letter that no port's name has there.
func ShaperOf(port string) string {
	const own = 8 // digits of a port that are its own
	at := max(len(port)-own, 0)
	return port[:at] + "i" + port[min(at+1, len(port)):]
}

// limit bounds a port: what goes to the container waits at the port itself. What
// comes from it is led through a device of its own, and waits there: at its own end
// the container could take the limit away.
func limit(c *netlink.Conn, p Port) error {
	if p.Limit == (Limit{}) {
		return nil
	}
	port, err := c.LinkByName(p.Device)
	if err != nil {
		return fmt.Errorf("limit %s: %w", p.Device, err)
	}
	if p.Limit.In.Bits != 0 {
		if err := one(c, p.Limit.In.bucket(port.Index)); err != nil {
			return lacks("limit what goes into the container", "token buckets (CONFIG_NET_SCH_TBF)", err)
		}
	}
	if p.Limit.Out.Bits == 0 {
		return nil
	}
	const what = "limit what comes out of the container"
	shaper, err := shaper(c, ShaperOf(p.Device))
	if err != nil {
		return lacks(what, "devices of the kind ifb (CONFIG_IFB)", err)
	}
	if err := one(c, p.Limit.Out.bucket(shaper.Index)); err != nil {
		return lacks(what, "token buckets (CONFIG_NET_SCH_TBF)", err)
	}
	if err := one(c, netlink.IngressRequest(port.Index)); err != nil {
		return lacks(what, "ingress queues (CONFIG_NET_SCH_INGRESS)", err)
	}
	if err = one(c, netlink.RedirectRequest(port.Index, shaper.Index, "u32")); errors.Is(err, unix.ENOENT) {
		err = one(c, netlink.RedirectRequest(port.Index, shaper.Index, "matchall"))
	}
	if err != nil {
		return lacks(what, "redirections (CONFIG_NET_ACT_MIRRED, and CONFIG_NET_CLS_U32 or CONFIG_NET_CLS_MATCHALL)", err)
	}
	return nil
}

func one(c *netlink.Conn, r netlink.Request) error { return all(c, []netlink.Request{r}) }

// lacks says which feature a kernel is without, where that is why it refuses.
func lacks(what, feature string, err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) {
		return fault.New(fault.Unsupported, "%s: this kernel has no %s: %w", what, feature, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// shaper makes a device that gives back what it is given, when its queue lets it.
func shaper(c *netlink.Conn, name string) (*netlink.Link, error) {
	named := netlink.AppendString(nil, unix.IFLA_IFNAME, name)
	made := netlink.Nest(append([]byte(nil), named...), unix.IFLA_LINKINFO, netlink.AppendString(nil, unix.IFLA_INFO_KIND, "ifb"))
	spec := netlink.Nest(nil, unix.AF_INET6, netlink.Append(nil, unix.IFLA_INET6_ADDR_GEN_MODE, []byte{genModeNone}))
	errs, err := c.DoAll([]netlink.Request{
		netlink.LinkRequest(unix.NLM_F_CREATE|unix.NLM_F_EXCL, 0, netlink.Keep, made),
		netlink.LinkRequest(0, 0, netlink.Keep, netlink.Nest(append([]byte(nil), named...), unix.IFLA_AF_SPEC, spec)),
		netlink.LinkRequest(0, 0, netlink.Up, named),
	})
	if err != nil {
		return nil, err
	}
	for i, e := range errs {
		if e != nil && i != 1 { // a kernel without IPv6
			return nil, e
		}
	}
	return c.LinkByName(name)
}
