package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"berth/base/atomicfile"
	"berth/base/fault"
	"berth/container"
	"berth/container/config"
	"berth/monitor"
	"berth/network"
	"berth/sys/pidfd"
)

// Containers on networks that people made ask for names at an address of their own
// loopback, where a resolver of their network answers: docs/journeys/names.md.

// naming is what a container is called by, and whom it asks.
func naming(e *Engine, rec *container.Record) (network.Naming, error) {
	c := &rec.Config.Network
	if !slices.ContainsFunc(c.Networks(), func(ep config.Endpoint) bool { return cmp.Or(ep.Network, network.Default) != network.Default }) {
		return network.Naming{}, nil
	}
	n := network.Naming{Hostname: rec.Hostname}
	for _, s := range c.DNS {
		if a, err := netip.ParseAddr(s); err == nil {
			n.Servers = append(n.Servers, a)
		}
	}
	if len(n.Servers) == 0 {
		var err error
		if n.Servers, err = networkServers(e, c); err != nil {
			return n, err
		}
	}
	host, err := hostResolv("/etc/resolv.conf")
	if err != nil {
		return n, err
	}
	_, n.Dotted, err = container.ResolvConfNamed(host, asksOf(c), network.NameServer)
	return n, err
}

// networkServers are whom the networks of a container say that it should ask.
func networkServers(e *Engine, c *config.Network) (servers []netip.Addr, err error) {
	for _, ep := range c.Networks() {
		if ep.Network == network.Default {
			continue
		}
		on, err := e.Networks.Find(ep.Network)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return nil, err
		}
		if err != nil {
			continue
		}
		for _, s := range on.DNS {
			if a, err := netip.ParseAddr(s); err == nil && !slices.Contains(servers, a) {
				servers = append(servers, a)
			}
		}
	}
	return servers, nil
}

// serveNames has a running container's questions for names answered, and its monitor
// watch that they are. pid is its first process, ns its network namespace.
func serveNames(ctx context.Context, e *Engine, id container.ID, pid int, ns *os.File, conn *monitor.Conn) error {
	process, err := pidfd.Open(pid)
	if err != nil {
		return err
	}
	defer process.Close()
	beside, err := network.Serve(e.Networks, id, ns, process, func() (*os.File, error) { return beginSibling(ctx, e, "names", nil) })
	if err != nil || beside == nil {
		return err
	}
	defer beside.Close()
	return monitor.Beside(conn, beside)
}

// NamesDue has a container's names served again after their resolver was lost.
func NamesDue(ctx context.Context, e *Engine, id container.ID) error {
	return besideDue(ctx, e, id, func(pid int, conn *monitor.Conn) error { return renewNames(ctx, e, id, pid, conn) })
}

// besideDue calls do for a container that runs: something beside it was lost. One that
// does not, or is gone, needs nothing.
func besideDue(ctx context.Context, e *Engine, id container.ID, do func(pid int, conn *monitor.Conn) error) error {
	l, err := e.Containers.Lock(ctx, id)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer l.Unlock()
	f, err := l.Facts()
	if err != nil {
		return err
	}
	if !f.State().Live() || f.Started == nil {
		return nil
	}
	conn, err := monitor.Dial(e.Containers.RunDir(id))
	if err != nil {
		return err
	}
	defer conn.Close()
	return do(f.Started.PID, conn)
}

// renewNames is serveNames for a container that runs.
func renewNames(ctx context.Context, e *Engine, id container.ID, pid int, conn *monitor.Conn) error {
	ns, err := networkOf(pid)
	if err != nil {
		return err
	}
	defer ns.Close()
	if err := serveNames(ctx, e, id, pid, ns, conn); err != nil {
		return err
	}
	return conn.Settle()
}

// networkOf opens the network namespace of a process.
func networkOf(pid int) (*os.File, error) {
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return nil, fmt.Errorf("open the network namespace of process %d: %w", pid, err)
	}
	return ns, nil
}

// startNames has the names of a running container served that has come to the first
// network with names.
func startNames(ctx context.Context, e *Engine, rec *container.Record, f *container.Facts, ns *os.File, conn *monitor.Conn) error {
	if err := serveNames(ctx, e, rec.ID, f.Started.PID, ns, conn); err != nil {
		return err
	}
	return conn.Settle()
}

// renewResolv leads a running container's programs to whom they are to ask now, unless
// somebody has changed its resolv.conf since it started.
func renewResolv(e *Engine, rec *container.Record, f *container.Facts, a *network.Attachment) error {
	text, err := resolvConf(e, &rec.Config.Network, a)
	if err != nil {
		return err
	}
	info, err := os.Lstat(filepath.Join(filesOf(e, rec), "resolv.conf"))
	if err != nil {
		return fmt.Errorf("change resolv.conf of container %s: %w", rec.Name, err)
	}
	if info.ModTime().After(f.Started.At) {
		return nil
	}
	return rewriteFile(e, rec, "resolv.conf", text)
}

// rewriteFile writes a file over the image's anew, in place: that very file is what a
// running container sees.
func rewriteFile(e *Engine, rec *container.Record, name, text string) error {
	f, err := os.OpenFile(filepath.Join(filesOf(e, rec), name), os.O_WRONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return fmt.Errorf("change %s of container %s: %w", name, rec.Name, err)
	}
	defer f.Close()
	if _, err = f.WriteAt([]byte(text), 0); err == nil {
		err = f.Truncate(int64(len(text)))
	}
	if err != nil {
		return fmt.Errorf("change %s of container %s: %w", name, rec.Name, err)
	}
	return nil
}

// resolvConf is /etc/resolv.conf: the host's as far as it means something in the
// container, and what was asked for, or a DHCP server said, in its place; a may be nil.
// Where a resolver of ours knows names, it is asked. A network namespace that ip-netns(8) knows by name
// may have a file of its own.
func resolvConf(e *Engine, n *config.Network, a *network.Attachment) (string, error) {
	file, as := "/etc/resolv.conf", n.Mode == network.Host
	if ns, ok := strings.CutPrefix(n.Mode, "ns:"); ok && !strings.HasPrefix(ns, "/proc/") {
		own := filepath.Join("/etc/netns", filepath.Base(ns), "resolv.conf")
		if _, err := os.Lstat(own); err == nil {
			file, as = own, true
		}
	}
	host, err := hostResolv(file)
	if err != nil {
		return "", err
	}
	asked := asksOf(n)
	if a != nil && len(asked.Search) == 0 {
		asked.Search = a.Search()
	}
	if a != nil && a.Named() {
		text, _, err := container.ResolvConfNamed(host, asked, network.NameServer)
		return text, err
	}
	if len(asked.Servers) == 0 {
		servers, err := networkServers(e, n)
		if err != nil {
			return "", err
		}
		if a != nil && len(servers) == 0 {
			servers = a.Servers()
		}
		for _, s := range servers {
			asked.Servers = append(asked.Servers, s.String())
		}
	}
	return container.ResolvConf(host, asked, as)
}

func asksOf(n *config.Network) container.Resolver {
	return container.Resolver{Servers: n.DNS, Search: n.DNSSearch, Options: n.DNSOptions}
}

// hostResolv reads a resolv.conf of the host, which there need not be.
func hostResolv(file string) ([]byte, error) {
	host, err := atomicfile.ReadCapped(file, maxHostFile)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	return host, nil
}

// endpointLinks moves links to the first network if that is one that a person made:
// there they are names, of containers that need not be there yet.
func endpointLinks(c *config.Network) bool {
	if c.Mode != "bridge" || len(c.Endpoints) == 0 || c.Endpoints[0].Network == network.Default {
		return false
	}
	first := &c.Endpoints[0]
	for _, l := range c.Links {
		first.Links = append(first.Links, wholeLink(l))
	}
	c.Links = nil
	return true
}

// wholeLink is NAME:ALIAS of a link that may be NAME alone.
func wholeLink(l string) string {
	l = strings.TrimPrefix(l, "/")
	if strings.Contains(l, ":") {
		return l
	}
	return l + ":" + l
}
