package rootless

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/base/flock"
	"berth/base/undo"
	"berth/rootless/hold"
	"berth/rootless/uplink/order"
	"berth/runtime"
	"berth/sys/netlink"
	"berth/sys/proc"
)

// MTU is of the device that leads out, and of the bridges beside it, in bytes.
const MTU = order.MTU

// uplinkDevice is the device in a user's network that leads out of it.
const uplinkDevice = "uplink"

// WayOut makes sure that there is a way out of the network: a device, and the process
// that carries what goes there by connections of its own in the host's network. It is
// called from a thread in the host's network.
func (n *Network) WayOut() error {
	h := &home{dir: n.Run}
	held, err := flock.TryLock(h.path(uplinkLock))
	if fault.Is(err, fault.Busy) { // by one that lives, or is being started
		return nil
	}
	if err != nil {
		return fmt.Errorf("lead the user's network out: %w", err)
	}
	defer held.Unlock() // the process has it, too
	ns, err := n.Open()
	if err != nil {
		return err
	}
	defer ns.Close()
	err = n.lead(h, ns, held)
	if err != nil {
		err = fmt.Errorf("lead the user's network out: %w", err)
	}
	if fault.Is(err, fault.Unsupported) && n.Warn != nil {
		n.Warn(fmt.Errorf("containers reach each other, but nothing outside: %w", err))
		return nil
	}
	return err
}

// lead makes the device and starts the process.
func (n *Network) lead(h *home, ns *os.File, held *flock.Held) (err error) {
	var u undo.Stack
	defer u.Unwind(&err)
	program, err := uplinkPath()
	if err != nil {
		return err
	}
	var tun *os.File
	err = netlink.Inside(ns, func() (err error) {
		tun, err = makeTun()
		return err
	})
	if err != nil {
		return err
	}
	defer tun.Close()
	cmd := exec.Command(program, order.Order{Host: n.ReachHost}.Arguments()...)
	cmd.Dir, cmd.Env = "/", []string{"GOMAXPROCS=2"}
	life, err := eternal()
	if err != nil {
		return err
	}
	defer life.Close()
	lock, err := held.Copy()
	if err != nil {
		return err
	}
	defer lock.Close()
	cmd.ExtraFiles = []*os.File{tun, life, ns, lock} // order.Tun and on
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	u.Push("end the way out", cmd.Process.Kill)
	st, err := proc.ReadStat(cmd.Process.Pid)
	if err != nil {
		return err
	}
	if err := h.note(uplinkFile, process{cmd.Process.Pid, st.StartTime}); err != nil {
		return err
	}
	if err := runtime.OwnScope(context.Background(), "berth-uplink-"+strconv.Itoa(cmd.Process.Pid), cmd.Process.Pid); err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }() // if it ends before the caller
	u.Release()
	return nil
}

// eternal is a descriptor that nothing makes readable: whoever ends the holder ends the
// way out.
func eternal() (*os.File, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	return os.NewFile(uintptr(fd), "life"), nil
}

// uplinkPath finds the program: beside this one.
func uplinkPath() (string, error) {
	own, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	p := filepath.Join(filepath.Dir(own), hold.Program)
	if _, err := os.Stat(p); errors.Is(err, fs.ErrNotExist) {
		return "", fault.New(fault.Unsupported, "%s is missing: install it beside %s, it carries what an ordinary user's containers send", p, own)
	}
	return p, nil
}

// makeTun makes the device in the network namespace of the thread: addresses and the
// default routes.
func makeTun() (_ *os.File, err error) {
	var u undo.Stack
	defer u.Unwind(&err)
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
		return nil, fault.New(fault.Unsupported, "open /dev/net/tun: %v: the administrator makes it usable with: modprobe tun; chmod 0666 /dev/net/tun", err)
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: "/dev/net/tun", Err: err}
	}
	tun := os.NewFile(uintptr(fd), "/dev/net/tun")
	u.Push("close the tunnel", tun.Close)
	req, err := unix.NewIfreq(uplinkDevice)
	if err != nil {
		return nil, err
	}
	req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		return nil, fmt.Errorf("make device %s: %w", uplinkDevice, os.NewSyscallError("ioctl", err))
	}
	c, err := netlink.Open()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	link, err := c.LinkByName(uplinkDevice)
	if err != nil {
		return nil, err
	}
	list := []netlink.Request{
		netlink.LinkRequest(0, 1, netlink.Up, nil), // lo
		netlink.LinkRequest(0, link.Index, netlink.Up, netlink.AppendUint32(nil, unix.IFLA_MTU, order.MTU)),
	}
	// Seen by nobody: the first is kept for ends of tunnels (RFC 6333, 5.7), the other is a
	// local one.
	for _, text := range [...]string{"192.0.0.2/32", "fd62:6572:7468::2/128"} {
		p := netip.MustParsePrefix(text)
		list = append(list, netlink.AddressRequest(link.Index, p), netlink.StraightRequest(link.Index, p.Addr()))
	}
	errs, err := c.DoAll(list)
	if err != nil {
		return nil, err
	}
	for i, err := range errs {
		if err != nil && (i < 4 || !errors.Is(err, unix.EAFNOSUPPORT) && !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EPERM)) { // without IPv6
			return nil, fmt.Errorf("set device %s: %w", uplinkDevice, err)
		}
	}
	u.Release()
	return tun, nil
}

// wayOut is the process that is noted as the way out.
func (h *home) wayOut() (process, error) {
	p, _, err := h.noted(uplinkFile, 0)
	return p, err
}
