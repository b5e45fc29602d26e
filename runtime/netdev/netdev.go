// Package netdev moves network devices of the host into a container's network
// namespace: linux.netDevices of the runtime-spec 1.3.
//
// It makes no devices, and takes none back when the container goes: the kernel
// returns physical ones to the host and removes virtual ones. Row 2.
package netdev

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/base/undo"
	"berth/runtime/namespace"
	"berth/sys/netlink"
)

// maxName is the kernel's IFNAMSIZ less the NUL.
const maxName = 15

// Check refuses devices that cannot be moved, with kind Invalid and the
// field's name.
func Check(devices map[string]specs.LinuxNetDevice, ns namespace.Set) error {
	if len(devices) == 0 {
		return nil
	}
	if !ns.Has(unix.CLONE_NEWNET) {
		return fault.New(fault.Invalid, "linux.netDevices: devices need a network namespace in linux.namespaces")
	}
	owner := make(map[string]string)
	for _, host := range names(devices) {
		field := fmt.Sprintf("linux.netDevices[%.40q]", host)
		if err := checkName(host, false); err != nil {
			return fault.New(fault.Invalid, "%s: %v", field, err)
		}
		name := inside(host, devices[host])
		if err := checkName(name, true); err != nil {
			return fault.New(fault.Invalid, "%s.name: %v", field, err)
		}
		if other, ok := owner[name]; ok && !strings.Contains(name, "%") {
			return fault.New(fault.Invalid, "%s.name: %q is the name of device %q too", field, name, other)
		}
		owner[name] = host
	}
	return nil
}

// names lists the devices in a fixed order.
func names(devices map[string]specs.LinuxNetDevice) []string {
	list := make([]string, 0, len(devices))
	for n := range devices {
		list = append(list, n)
	}
	slices.Sort(list)
	return list
}

// inside is the device's name in the container.
func inside(host string, d specs.LinuxNetDevice) string {
	if d.Name == "" {
		return host
	}
	return d.Name
}

// checkName is the kernel's dev_valid_name; pattern allows one %d.
func checkName(name string, pattern bool) error {
	switch {
	case name == "" || len(name) > maxName:
		return fmt.Errorf("%.40q does not have 1 to %d bytes", name, maxName)
	case name == "." || name == "..":
		return fmt.Errorf("%q is not a device's name", name)
	}
	for i := 0; i < len(name); i++ {
		if c := name[i]; c <= ' ' || c == '/' || c == ':' || c == 0x7f {
			return fmt.Errorf("%q has a character that no device's name has", name)
		}
	}
	rest := name
	if pattern {
		rest = strings.Replace(name, "%d", "", 1)
	}
	if strings.Contains(rest, "%") {
		return fmt.Errorf("%q has a %% that is not one %%d at most", name)
	}
	return nil
}

// Moved is what a move did. It keeps both namespaces alive until Close. A nil
// *Moved moved nothing.
type Moved struct {
	source, target  *os.File
	host, container *netlink.Conn
	undo            undo.Stack
}

// MoveInto is Move into the network namespace of process pid. A caller that
// fails later calls Back, and every caller Close. The
// devices would go back by themselves, or vanish if virtual, when the
// namespace ends, but without their addresses.
func MoveInto(devices map[string]specs.LinuxNetDevice, pid int) (*Moved, error) {
	if len(devices) == 0 {
		return nil, nil
	}
	netns, err := os.Open("/proc/" + strconv.Itoa(pid) + "/ns/net")
	if err != nil {
		return nil, fmt.Errorf("move network devices: %w", err)
	}
	defer netns.Close()
	return Move(devices, netns)
}

// Move moves devices from the caller's network namespace into netns, keeps
// their permanent addresses of global scope, and sets them up. When one fails
// those before it go back. Errors name the device.
func Move(devices map[string]specs.LinuxNetDevice, netns *os.File) (*Moved, error) {
	m, err := open(netns)
	if err != nil {
		m.Close()
		return nil, fmt.Errorf("move network devices: %w", err)
	}
	for _, host := range names(devices) {
		if err := m.move(host, inside(host, devices[host])); err != nil {
			err = fmt.Errorf("move network device %s into the container: %w", host, err)
			m.undo.Unwind(&err)
			m.Close()
			return nil, err
		}
	}
	return m, nil
}

func open(netns *os.File) (m *Moved, err error) {
	m = &Moved{}
	fd, err := unix.FcntlInt(netns.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return m, err
	}
	m.target = os.NewFile(uintptr(fd), netns.Name())
	if m.source, err = os.Open("/proc/thread-self/ns/net"); err != nil {
		return m, err
	}
	if m.host, err = netlink.Open(); err != nil {
		return m, err
	}
	m.container, err = netlink.OpenIn(netns)
	return m, err
}

// Back moves the devices back, for a container that could not be made.
func (m *Moved) Back() (err error) {
	if m == nil {
		return nil
	}
	failed := errMoved
	m.undo.Unwind(&failed)
	if failed != errMoved {
		err = failed
	}
	return err
}

// errMoved stands for the failure for which Back is called.
var errMoved = errors.New("move network devices back")

// Close lets go of the namespaces; the devices stay where they are.
func (m *Moved) Close() {
	if m == nil {
		return
	}
	for _, f := range []*os.File{m.source, m.target} {
		if f != nil {
			f.Close()
		}
	}
	for _, c := range []*netlink.Conn{m.host, m.container} {
		if c != nil {
			c.Close()
		}
	}
}

func (m *Moved) move(host, name string) error {
	link, err := m.host.LinkByName(host)
	if errors.Is(err, unix.ENODEV) {
		return fault.New(fault.NotFound, "there is no such device")
	}
	if err != nil {
		return err
	}
	addresses, err := m.host.Addresses(link.Index)
	if err != nil {
		return fmt.Errorf("list its addresses: %w", err)
	}
	if !strings.Contains(name, "%") {
		if _, err := m.container.LinkByName(name); err == nil {
			return fault.New(fault.Exists, "the container's network namespace has a device %s already", name)
		}
	}
	if err := m.host.Move(link.Index, m.target, name); err != nil {
		return err
	}
	// The kernel keeps the number unless it is taken there.
	moved, err := m.find(link.Index, name)
	if err != nil {
		return fmt.Errorf("find it there: %w", err)
	}
	m.undo.Push("move network device "+host+" back", func() error { return m.back(link, moved, addresses) })
	return settle(m.container, moved, keep(addresses), moved.Name == host, true)
}

// find looks for a moved device: by its name, or for a pattern by its number.
func (m *Moved) find(index int, name string) (*netlink.Link, error) {
	if strings.Contains(name, "%") {
		return m.container.LinkByIndex(index)
	}
	return m.container.LinkByName(name)
}

// keep picks the addresses that are not the host's affair: permanent ones of
// global scope (config-linux.md, "Network Devices").
func keep(list []netlink.Address) []netlink.Address {
	var out []netlink.Address
	for _, a := range list {
		if a.Flags&unix.IFA_F_PERMANENT != 0 && a.Scope == unix.RT_SCOPE_UNIVERSE {
			out = append(out, a)
		}
	}
	return out
}

func settle(c *netlink.Conn, l *netlink.Link, addresses []netlink.Address, label, up bool) error {
	for i := range addresses {
		if err := c.AddAddress(l.Index, &addresses[i], label); err != nil {
			return fmt.Errorf("add address %d of %d: %w", i+1, len(addresses), err)
		}
	}
	if !up {
		return nil
	}
	if err := c.SetUp(l.Index, true); err != nil {
		return fmt.Errorf("set it up: %w", err)
	}
	return nil
}

// back undoes a move.
func (m *Moved) back(was, now *netlink.Link, addresses []netlink.Address) error {
	if err := m.container.Move(now.Index, m.source, was.Name); err != nil {
		return err
	}
	l, err := m.host.LinkByName(was.Name)
	if err != nil {
		return err
	}
	return settle(m.host, l, keep(addresses), true, was.Up)
}
