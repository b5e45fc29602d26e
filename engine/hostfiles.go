package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"berth/base/atomicfile"
	"berth/base/fault"
	"berth/container"
	"berth/container/config"
	"berth/network"
)

// writeFiles writes what lies over the image's /etc/hostname, hosts and
// resolv.conf, anew for each start; owner is the container's root, as the host
// sees it. A container that shares another's network has that one's files.
func writeFiles(e *Engine, rec *container.Record, net *network.Attachment, links []link, owner int) (container.Files, error) {
	home := filesOf(e, rec)
	n := &rec.Config.Network
	if other, ok := strings.CutPrefix(n.Mode, "container:"); ok {
		return otherFiles(e, other)
	}
	resolv, err := resolvConf(e, n, net)
	if err != nil {
		return container.Files{}, err
	}
	hosts, err := hostsFile(e, rec, net, links)
	if err != nil {
		return container.Files{}, err
	}
	var f container.Files
	for _, one := range []struct {
		name, text string
		path       *string
		not        bool
	}{
		{"hostname", rec.Hostname + "\n", &f.Hostname, false},
		{"hosts", hosts, &f.Hosts, n.NoHosts},
		{"resolv.conf", resolv, &f.Resolv, false},
	} {
		if one.not {
			continue
		}
		p := filepath.Join(home, one.name)
		if err := atomicfile.Write(p, []byte(one.text), 0o644); err != nil {
			return container.Files{}, fmt.Errorf("write %s of container %s: %w", one.name, rec.Name, err)
		}
		if err := os.Chown(p, owner, owner); err != nil {
			return container.Files{}, fmt.Errorf("give %s to container %s: %w", one.name, rec.Name, err)
		}
		if err := labelFile(rec, p); err != nil {
			return container.Files{}, err
		}
		*one.path = p
	}
	return f, nil
}

// filesOf is the folder with the files that lie over the image's.
func filesOf(e *Engine, rec *container.Record) string {
	if rec.Config.Life.Remove {
		return e.Containers.RunDir(rec.ID)
	}
	return e.Containers.Home(rec.ID)
}

func otherFiles(e *Engine, id string) (container.Files, error) {
	var f container.Files
	for _, home := range []string{e.Containers.Home(container.ID(id)), e.Containers.RunDir(container.ID(id))} {
		for name, p := range map[string]*string{"hostname": &f.Hostname, "hosts": &f.Hosts, "resolv.conf": &f.Resolv} {
			at := filepath.Join(home, name)
			if _, err := os.Lstat(at); err == nil {
				*p = at
			} else if !errors.Is(err, fs.ErrNotExist) {
				return f, err
			}
		}
	}
	return f, nil
}

const maxHostFile = 1 << 20

// hostsFile is /etc/hosts; with the host's network it is the host's, and more.
func hostsFile(e *Engine, rec *container.Record, net *network.Attachment, links []link) (string, error) {
	n := &rec.Config.Network
	extra, err := extraHosts(e, n, net)
	if err != nil {
		return "", err
	}
	for i := range links {
		extra = append(extra, links[i].hosts())
	}
	if n.Mode == "host" {
		b, err := atomicfile.ReadCapped("/etc/hosts", maxHostFile)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("read /etc/hosts: %w", err)
		}
		text := string(b)
		for _, x := range extra {
			text += x.Address.String() + "\t" + x.Name + "\n"
		}
		return text, nil
	}
	var addresses []netip.Addr
	if net != nil {
		for _, a := range net.Endpoints {
			for _, p := range []netip.Prefix{a.IPv4, a.IPv6} {
				if p.IsValid() {
					addresses = append(addresses, p.Addr())
				}
			}
		}
	}
	return container.HostsFile(rec.Hostname, rec.Config.Domainname, addresses, extra)
}

// hostGateway is the address by which a container reaches the host: what the
// administrator says (host-gateway-ip of daemon.json), else the host's end of its network.
func hostGateway(e *Engine, net *network.Attachment) (netip.Addr, error) {
	if text := e.Defaults.HostGatewayIP; text != "" {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return a, fault.New(fault.Invalid, "host-gateway-ip: %q is no IP address", text)
		}
		return a, nil
	}
	if e.Defaults.HostAddress != nil {
		if a := e.Defaults.HostAddress(); a.IsValid() {
			return a, nil
		}
	}
	if net == nil || len(net.Endpoints) == 0 || !net.Endpoints[0].Gateway.IsValid() {
		return netip.Addr{}, fault.New(fault.Invalid, "unable to derive the IP value for host-gateway")
	}
	return net.Endpoints[0].Gateway, nil
}

// extraHosts are the entries of --add-host.
func extraHosts(e *Engine, n *config.Network, net *network.Attachment) ([]container.HostEntry, error) {
	var out []container.HostEntry
	for _, h := range n.ExtraHosts {
		name, text, _ := strings.Cut(h, ":")
		if text == "host-gateway" {
			address, err := hostGateway(e, net)
			if err != nil {
				return nil, err
			}
			out = append(out, container.HostEntry{Name: name, Address: address})
			continue
		}
		address, err := netip.ParseAddr(strings.Trim(text, "[]"))
		if err != nil {
			return nil, fault.New(fault.Invalid, "invalid IP address in add-host: %q", text)
		}
		out = append(out, container.HostEntry{Name: name, Address: address})
	}
	return out, nil
}
