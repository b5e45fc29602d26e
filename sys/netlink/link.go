package netlink

import (
	"encoding/binary"
	"os"

	"golang.org/x/sys/unix"
)

// Link is a network device.
type Link struct {
	Index int
	Name  string
	Up    bool // IFF_UP: administratively
	MTU   uint32
	Kind  string // of a virtual device: bridge, veth, …
	Alias string // what somebody wrote on it
	// Address is the link's own.
	Address []byte
	// Master is the number of the bridge that it is a port of, 0 of none.
	Master int
}

// infoMessage is struct ifinfomsg.
func infoMessage(index int, flags, change uint32) []byte {
	b := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	binary.NativeEndian.PutUint32(b[8:], flags)
	binary.NativeEndian.PutUint32(b[12:], change)
	return b
}

// LinkByName finds a device. The error unwraps to ENODEV if there is none.
func (c *Conn) LinkByName(name string) (*Link, error) {
	req := AppendString(infoMessage(0, 0, 0), unix.IFLA_IFNAME, name)
	return c.link(req)
}

// LinkByIndex finds a device by its number.
func (c *Conn) LinkByIndex(index int) (*Link, error) { return c.link(infoMessage(index, 0, 0)) }

func (c *Conn) link(req []byte) (*Link, error) {
	list, err := c.Do(unix.RTM_GETLINK, 0, req)
	if err != nil {
		return nil, err
	}
	if links := links(list); len(links) > 0 {
		return links[0], nil
	}
	return nil, unix.ENODEV
}

// Links lists all devices.
func (c *Conn) Links() ([]*Link, error) {
	list, err := c.Do(unix.RTM_GETLINK, unix.NLM_F_DUMP, infoMessage(0, 0, 0))
	return links(list), err
}

func links(list []Message) (all []*Link) {
	for _, m := range list {
		if m.Type != unix.RTM_NEWLINK || len(m.Data) < unix.SizeofIfInfomsg {
			continue
		}
		l := &Link{
			Index: int(int32(binary.NativeEndian.Uint32(m.Data[4:]))),
			Up:    binary.NativeEndian.Uint32(m.Data[8:])&unix.IFF_UP != 0,
		}
		for _, a := range Attributes(m.Data[unix.SizeofIfInfomsg:]) {
			switch a.Type {
			case unix.IFLA_IFNAME:
				l.Name = a.String()
			case unix.IFLA_MTU:
				l.MTU = a.Uint32()
			case unix.IFLA_IFALIAS:
				l.Alias = a.String()
			case unix.IFLA_ADDRESS:
				l.Address = a.Data
			case unix.IFLA_MASTER:
				l.Master = int(a.Uint32())
			case unix.IFLA_LINKINFO:
				l.Kind = kind(a.Data)
			}
		}
		all = append(all, l)
	}
	return all
}

// kind is IFLA_INFO_KIND of a link's information.
func kind(info []byte) string {
	for _, a := range Attributes(info) {
		if a.Type == unix.IFLA_INFO_KIND {
			return a.String()
		}
	}
	return ""
}

// SetUp sets a device up or down.
func (c *Conn) SetUp(index int, up bool) error {
	flags := uint32(0)
	if up {
		flags = unix.IFF_UP
	}
	_, err := c.Do(unix.RTM_NEWLINK, 0, infoMessage(index, flags, unix.IFF_UP))
	return err
}

// Move puts a device into another network namespace under a name, which may be
// a pattern such as eth%d. The device is set down and loses its addresses.
func (c *Conn) Move(index int, netns *os.File, name string) error {
	req := infoMessage(index, 0, 0)
	req = AppendUint32(req, unix.IFLA_NET_NS_FD, uint32(netns.Fd()))
	req = AppendString(req, unix.IFLA_IFNAME, name)
	_, err := c.Do(unix.RTM_NEWLINK, 0, req)
	return err
}

// Address is an address of a device: struct ifaddrmsg and its attributes.
type Address struct {
	Family, PrefixLen, Scope uint8
	Flags                    uint32 // IFA_F_*
	attributes               []Attribute
}

// IP is the address in network byte order, 4 or 16 bytes.
func (a *Address) IP() []byte {
	var ip []byte
	for _, at := range a.attributes {
		if at.Type == unix.IFA_LOCAL || at.Type == unix.IFA_ADDRESS && ip == nil {
			ip = at.Data
		}
	}
	return ip
}

// Addresses lists the addresses of a device, all families.
func (c *Conn) Addresses(index int) ([]Address, error) {
	req := make([]byte, unix.SizeofIfAddrmsg)
	binary.NativeEndian.PutUint32(req[4:], uint32(index))
	list, err := c.Do(unix.RTM_GETADDR, unix.NLM_F_DUMP, req)
	if err != nil {
		return nil, err
	}
	var out []Address
	for _, m := range list {
		d := m.Data
		// Kernels without strict checking list all devices.
		if m.Type != unix.RTM_NEWADDR || len(d) < unix.SizeofIfAddrmsg || binary.NativeEndian.Uint32(d[4:]) != uint32(index) {
			continue
		}
		a := Address{Family: d[0], PrefixLen: d[1], Flags: uint32(d[2]), Scope: d[3]}
		for _, at := range Attributes(d[unix.SizeofIfAddrmsg:]) {
			if at.Type == unix.IFA_FLAGS {
				a.Flags = at.Uint32()
			}
			a.attributes = append(a.attributes, at)
		}
		out = append(out, a)
	}
	return out, nil
}

// kernelFlags are set by the kernel, not by who adds an address.
const kernelFlags = unix.IFA_F_PERMANENT | unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED | unix.IFA_F_DEPRECATED | unix.IFA_F_SECONDARY

// AddAddress gives a device an address as Addresses listed it. label says
// whether to keep the label, which must begin with the device's name. An
// address that is there already is no error.
func (c *Conn) AddAddress(index int, a *Address, label bool) error {
	req := make([]byte, unix.SizeofIfAddrmsg)
	req[0], req[1], req[3] = a.Family, a.PrefixLen, a.Scope
	binary.NativeEndian.PutUint32(req[4:], uint32(index))
	for _, at := range a.attributes {
		switch at.Type {
		case unix.IFA_LOCAL, unix.IFA_ADDRESS, unix.IFA_BROADCAST, unix.IFA_ANYCAST, unix.IFA_RT_PRIORITY:
			req = Append(req, at.Type, at.Data)
		case unix.IFA_LABEL:
			if label {
				req = Append(req, at.Type, at.Data)
			}
		}
	}
	req = AppendUint32(req, unix.IFA_FLAGS, a.Flags&^kernelFlags)
	_, err := c.Do(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, req)
	return err
}
