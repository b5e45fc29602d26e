package dhcp

import (
	"encoding/binary"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// device is the container's, by a route socket of its namespace. Package netlink
// says this better, but links fmt.
type device struct {
	fd, index int
	route     bool
	kept      bool       // it had a lease before
	router    netip.Addr // of the default route that was set then, zero: none
	seq       uint32
}

// assign gives the device an address for as long as the lease holds: the kernel takes
// it away then, whatever becomes of us.
func (d *device) assign(l Lease) error {
	seconds := uint32(forever)
	if l.For < forever*time.Second {
		seconds = uint32(l.For / time.Second)
	}
	a := d.address(l)
	var info []byte // struct ifa_cacheinfo
	for _, v := range []uint32{seconds, seconds, 0, 0} {
		info = binary.NativeEndian.AppendUint32(info, v)
	}
	a = attribute(a, unix.IFA_CACHEINFO, info)
	if err := d.do(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, a); err != nil {
		return err
	}
	kept := d.kept
	d.kept = true
	if !d.route || !l.Router.IsValid() {
		return nil
	}
	return d.lead(l, kept)
}

// lead sets the default route: at first in the place of any, later where there is none,
// or the one that was set before has another router. What the container's administrator
// has set stays.
func (d *device) lead(l Lease, kept bool) error {
	if kept {
		all, err := d.defaults()
		if err != nil {
			return err
		}
		ours := slices.Contains(all, hop{d.index, d.router, unix.RTPROT_DHCP})
		if len(all) > 0 && !ours || ours && d.router == l.Router {
			return nil
		}
	}
	r := make([]byte, unix.SizeofRtMsg)
	r[0], r[4], r[5], r[6], r[7] = unix.AF_INET, unix.RT_TABLE_MAIN, unix.RTPROT_DHCP, unix.RT_SCOPE_UNIVERSE, unix.RTN_UNICAST
	if !l.Address.Contains(l.Router) { // as some providers have it
		binary.NativeEndian.PutUint32(r[8:], unix.RTNH_F_ONLINK)
	}
	r = attribute(r, unix.RTA_GATEWAY, l.Router.AsSlice())
	r = attribute(r, unix.RTA_OIF, binary.NativeEndian.AppendUint32(nil, uint32(d.index)))
	err := d.do(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, r)
	if err == nil {
		d.router = l.Router
	}
	return err
}

// hop is whither a default route leads, and who set it.
type hop struct {
	index    int
	router   netip.Addr
	protocol byte
}

// defaults lists the default routes of the container.
func (d *device) defaults() (list []hop, err error) {
	ask := make([]byte, unix.SizeofRtMsg)
	ask[0] = unix.AF_INET
	err = d.ask(unix.RTM_GETROUTE, unix.NLM_F_DUMP, ask, func(kind uint16, b []byte) {
		if kind != unix.RTM_NEWROUTE || len(b) < unix.SizeofRtMsg || b[1] != 0 || b[4] != unix.RT_TABLE_MAIN {
			return
		}
		h := hop{protocol: b[5]}
		for b = b[unix.SizeofRtMsg:]; len(b) >= 4; {
			size := int(binary.NativeEndian.Uint16(b))
			if size < 4 || size > len(b) {
				break
			}
			switch value := b[4:size]; binary.NativeEndian.Uint16(b[2:]) {
			case unix.RTA_GATEWAY:
				h.router, _ = netip.AddrFromSlice(value)
			case unix.RTA_OIF:
				if len(value) == 4 {
					h.index = int(binary.NativeEndian.Uint32(value))
				}
			}
			b = b[min(len(b), (size+3)&^3):]
		}
		list = append(list, h)
	})
	return list, err
}

// remove takes the address away; the routes by it go, too.
func (d *device) remove(l Lease) { _ = d.do(unix.RTM_DELADDR, 0, d.address(l)) }

func (d *device) address(l Lease) []byte {
	b := make([]byte, unix.SizeofIfAddrmsg)
	b[0], b[1] = unix.AF_INET, byte(l.Address.Bits())
	binary.NativeEndian.PutUint32(b[4:], uint32(d.index))
	b = attribute(b, unix.IFA_LOCAL, l.Address.Addr().AsSlice())
	b = attribute(b, unix.IFA_ADDRESS, l.Address.Addr().AsSlice())
	if l.Address.Bits() < 31 {
		b = attribute(b, unix.IFA_BROADCAST, last(l.Address).AsSlice())
	}
	return b
}

// last is the subnet's broadcast address.
func last(p netip.Prefix) netip.Addr {
	a := p.Addr().As4()
	v := binary.BigEndian.Uint32(a[:]) | (1<<(32-p.Bits()) - 1)
	binary.BigEndian.PutUint32(a[:], v)
	return netip.AddrFrom4(a)
}

func attribute(b []byte, kind uint16, data []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(4+len(data)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, data...)
	return append(b, make([]byte, (4-len(data)%4)%4)...)
}

// do sends a request and reads its acknowledgement, which is there when the kernel has
// taken it.
func (d *device) do(kind, flags uint16, payload []byte) error {
	return d.ask(kind, flags|unix.NLM_F_ACK, payload, nil)
}

// ask sends a request and gives each message of its answer to take, until the last.
func (d *device) ask(kind, flags uint16, payload []byte, take func(kind uint16, b []byte)) error {
	d.seq++
	b := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(payload)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = binary.NativeEndian.AppendUint16(b, flags|unix.NLM_F_REQUEST)
	b = binary.NativeEndian.AppendUint32(b, d.seq)
	b = append(binary.NativeEndian.AppendUint32(b, 0), payload...)
	if err := unix.Sendto(d.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	answer := make([]byte, 32<<10) // as much as a dump has at once
	for {
		n, _, err := unix.Recvfrom(d.fd, answer, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return os.NewSyscallError("recvfrom", err)
		}
		for b := answer[:n]; len(b) >= unix.SizeofNlMsghdr; {
			size, kind := int(binary.NativeEndian.Uint32(b)), binary.NativeEndian.Uint16(b[4:])
			if size < unix.SizeofNlMsghdr || size > len(b) {
				break
			}
			body := b[unix.SizeofNlMsghdr:size]
			switch {
			case binary.NativeEndian.Uint32(b[8:]) != d.seq:
			case kind == unix.NLMSG_DONE:
				return nil
			case kind == unix.NLMSG_ERROR && len(body) >= 4:
				if code := int32(binary.NativeEndian.Uint32(body)); code != 0 {
					return os.NewSyscallError("change the container's network", unix.Errno(-code))
				}
				return nil
			case take != nil:
				take(kind, body)
			}
			b = b[min(len(b), (size+3)&^3):]
		}
	}
}
