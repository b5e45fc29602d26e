package engine

import (
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
	"berth/runtime"
	"berth/sys/pidfd"
)

// Containers on networks that people made ask for names at an address of their own
// loopback, where a resolver of their network answers: docs/journeys/names.md.

// naming is what a container is called by, and whom it asks.
func naming(rec *container.Record) (network.Naming, error) {
	c := &rec.Config.Network
	if !slices.ContainsFunc(c.Networks(), func(ep config.Endpoint) bool { return ep.Network != network.Default }) {
		return network.Naming{}, nil
	}
	n := network.Naming{Hostname: rec.Hostname}
	for _, s := range c.DNS {
		if a, err := netip.ParseAddr(s); err == nil {
			n.Servers = append(n.Servers, a)
		}
	}
	host, err := hostResolv()
	if err != nil {
		return n, err
	}
	_, n.Dotted, err = container.ResolvConfNamed(host, asksOf(c), network.NameServer)
	return n, err
}

// serveNames has a running container's questions for names answered, and its monitor
// watch that they are. pid is its first process, ns its network namespace.
func serveNames(ctx context.Context, e *Engine, id container.ID, pid int, ns *os.File, conn *monitor.Conn) error {
	process, err := pidfd.Open(pid)
	if err != nil {
		return err
	}
	defer process.Close()
	beside, err := network.Serve(e.Networks, id, ns, process, func() (*os.File, error) { return beginResolver(ctx, e) })
	if err != nil || beside == nil {
		return err
	}
	defer beside.Close()
	return monitor.Beside(conn, beside)
}

func beginResolver(ctx context.Context, e *Engine) (*os.File, error) {
	helper, err := runtime.Helper()
	if err != nil {
		return nil, err
	}
	defer helper.Close()
	place, err := runtime.MonitorPlace(ctx, e.Runtime)
	if err != nil {
		return nil, err
	}
	defer place.Close()
	return monitor.Sibling(helper, monitor.Place{Tasks: place.Tasks, Dir: place.Dir}, "names")
}

// NamesDue has a container's names served again after their resolver was lost. It
// tells when it is to be called again, if it could not.
func NamesDue(ctx context.Context, e *Engine, id container.ID) (*Again, error) {
	l, err := e.Containers.Lock(ctx, id)
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer l.Unlock()
	f, err := l.Facts()
	if err != nil {
		return nil, err
	}
	if !f.State().Live() || f.Started == nil {
		return nil, nil
	}
	conn, err := monitor.Dial(e.Containers.RunDir(id))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return nil, renewNames(ctx, e, id, f.Started.PID, conn)
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
// network with names, and leads its programs there, unless somebody has changed its
// resolv.conf since it started.
func startNames(ctx context.Context, e *Engine, rec *container.Record, f *container.Facts, ns *os.File, conn *monitor.Conn) error {
	if err := serveNames(ctx, e, rec.ID, f.Started.PID, ns, conn); err != nil {
		return err
	}
	if err := conn.Settle(); err != nil {
		return err
	}
	text, err := resolvConf(&rec.Config.Network, true)
	if err != nil {
		return err
	}
	path := filepath.Join(e.Containers.Home(rec.ID), "resolv.conf")
	info, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("change resolv.conf of container %s: %w", rec.Name, err)
	}
	if info.ModTime().After(f.Started.At) {
		return nil
	}
	if err := rewrite(path, text); err != nil {
		return fmt.Errorf("change resolv.conf of container %s: %w", rec.Name, err)
	}
	return nil
}

// rewrite changes a file of ours in place: that very file is what a container sees.
func rewrite(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err = f.WriteAt([]byte(text), 0); err == nil {
		err = f.Truncate(int64(len(text)))
	}
	return err
}

// resolvConf is /etc/resolv.conf: the host's as far as it means something in the
// container, and what was asked for in its place; with named, for a container whose
// names a resolver of ours knows.
func resolvConf(n *config.Network, named bool) (string, error) {
	host, err := hostResolv()
	if err != nil {
		return "", err
	}
	if named {
		text, _, err := container.ResolvConfNamed(host, asksOf(n), network.NameServer)
		return text, err
	}
	return container.ResolvConf(host, asksOf(n), n.Mode == "host")
}

func asksOf(n *config.Network) container.Resolver {
	return container.Resolver{Servers: n.DNS, Search: n.DNSSearch, Options: n.DNSOptions}
}

// hostResolv reads the host's resolv.conf, which there need not be.
func hostResolv() ([]byte, error) {
	host, err := atomicfile.ReadCapped("/etc/resolv.conf", maxHostFile)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read /etc/resolv.conf: %w", err)
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
