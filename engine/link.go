package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"berth/base/fault"
	"berth/container"
	"berth/container/config"
	"berth/network"
)

// Docker's legacy links: a container on the default bridge knows another one by an
// alias in /etc/hosts, and its ports and variables by variables of its own. They
// open nothing: who is on the bridge can be reached.
//
// A running container that links to another has a file of its id in that one's
// folder linkedFolder, so that a start of the other finds whose hosts to change.

// linkedFolder is in the run folder of the container that is linked to.
const linkedFolder = "linked"

// link is one link with what is known of the other container.
type link struct {
	alias string
	rec   *container.Record
	addr  netip.Addr
}

// resolveLinks puts ids in the place of the names in links, NAME[:ALIAS].
func resolveLinks(ctx context.Context, e *Engine, c *config.Config) error {
	if len(c.Network.Links) == 0 {
		return nil
	}
	for _, l := range c.Network.Links {
		if err := checkLink(l); err != nil {
			return err
		}
	}
	if endpointLinks(&c.Network) {
		return nil
	}
	if c.Network.Mode != "" && c.Network.Mode != "bridge" {
		return fault.New(fault.Invalid, "conflicting options: links are between containers of the default bridge, and the network mode is %s", c.Network.Mode)
	}
	links := make([]string, 0, len(c.Network.Links))
	for _, l := range c.Network.Links {
		name, alias, ok := strings.Cut(l, ":")
		if !ok {
			alias = strings.TrimPrefix(name, "/")
		}
		other, err := e.Containers.Get(ctx, name)
		if err != nil {
			return fmt.Errorf("could not get container for %s: %w", name, err)
		}
		if m := other.Config.Network.Mode; m == "host" {
			return fault.New(fault.Invalid, "conflicting options: host type networking can't be used with links. This would result in undefined behavior")
		}
		links = append(links, string(other.ID)+":"+alias)
	}
	c.Network.Links = links
	return nil
}

// checkLink refuses an alias that cannot be one.
func checkLink(l string) error {
	name, alias, _ := strings.Cut(wholeLink(l), ":")
	if name == "" || alias == "" || strings.ContainsFunc(name+alias, func(r rune) bool { return r <= ' ' || r == '/' || r == '=' || r == 0x7f }) {
		return fault.New(fault.Invalid, "link to %s: %q cannot be an alias", name, alias)
	}
	return nil
}

// linksOf finds the other containers of a container's links; must says that they
// have to run.
func linksOf(ctx context.Context, e *Engine, rec *container.Record, must bool) ([]link, error) {
	var out []link
	for _, l := range rec.Config.Network.Links {
		id, alias, _ := strings.Cut(l, ":")
		other, err := e.Containers.Get(ctx, id)
		if fault.Is(err, fault.NotFound) && !must {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("could not get container for %s: %w", alias, err)
		}
		addr, err := addressOf(ctx, e, other.ID)
		if err != nil {
			return nil, err
		}
		if !addr.IsValid() {
			if !must {
				continue
			}
			return nil, fault.New(fault.Conflict, "Cannot link to a non running container: /%s AS /%s/%s", other.Name, rec.Name, alias)
		}
		out = append(out, link{alias, other, addr})
	}
	return out, nil
}

// addressOf is where a running container is on the default bridge, the zero
// address for one that is not.
func addressOf(ctx context.Context, e *Engine, id container.ID) (netip.Addr, error) {
	f, err := e.Containers.Facts(ctx, id)
	if err != nil || !f.State().Live() {
		return netip.Addr{}, err
	}
	net, err := e.Networks.Endpoints(id)
	if fault.Is(err, fault.NotFound) {
		return netip.Addr{}, nil
	}
	if err != nil {
		return netip.Addr{}, err
	}
	for _, a := range net.Endpoints {
		if a.Network == network.Default && a.IPv4.IsValid() {
			return a.IPv4.Addr(), nil
		}
	}
	return netip.Addr{}, nil
}

// hosts are the names by which the other container is known.
func (l *link) hosts() container.HostEntry {
	more := strings.Fields(l.rec.Hostname) // blanks in it make several names of it
	if l.alias != l.rec.Name {
		more = append(more, l.rec.Name)
	}
	return container.HostEntry{Name: l.alias, Aliases: more, Address: l.addr}
}

// environ are the variables that tell of it, as docker writes them.
func (l *link) environ(name string) []string {
	prefix := strings.ToUpper(strings.ReplaceAll(l.alias, "-", "_"))
	env := []string{prefix + "_NAME=/" + name + "/" + l.alias}
	ports := slices.Clone(l.rec.Resolved.Expose)
	order := []string{"tcp", "sctp", "udp"}
	slices.SortFunc(ports, func(a, b config.Port) int {
		return cmp.Or(slices.Index(order, a.Protocol)-slices.Index(order, b.Protocol), int(a.Container)-int(b.Container))
	})
	for i, p := range ports {
		at := func(port uint16) string { return fmt.Sprintf("%s://%s:%d", p.Protocol, l.addr, port) }
		if i == 0 {
			env = append(env, prefix+"_PORT="+at(p.Container))
		}
		for n := range max(1, p.Count) {
			port := p.Container + n
			one := fmt.Sprintf("%s_PORT_%d_%s", prefix, port, strings.ToUpper(p.Protocol))
			env = append(env, one+"="+at(port), one+"_ADDR="+l.addr.String(), fmt.Sprintf("%s_PORT=%d", one, port), one+"_PROTO="+p.Protocol)
		}
	}
	for _, kv := range l.rec.Resolved.Env {
		if key, _, ok := strings.Cut(kv, "="); ok && key != "HOME" && key != "PATH" {
			env = append(env, prefix+"_ENV_"+kv)
		}
	}
	return env
}

// noteLinks leaves this container's id with those that it links to.
func noteLinks(e *Engine, rec *container.Record, links []link) error {
	for _, l := range links {
		if err := leaveID(filepath.Join(e.Containers.RunDir(l.rec.ID), linkedFolder), rec.ID); err != nil {
			return fmt.Errorf("note the link to container %s: %w", l.rec.Name, err)
		}
	}
	return nil
}

// leaveID leaves a container's id in a folder of another's run folder.
func leaveID(dir string, id container.ID) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return os.WriteFile(filepath.Join(dir, string(id)), nil, 0o600)
}

// tellLinked changes the hosts of running containers that link to one that has been
// started: it may have another address now. The start does not fail for them.
func tellLinked(ctx context.Context, e *Engine, id container.ID) {
	dir := filepath.Join(e.Containers.RunDir(id), linkedFolder)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return // nobody does
	}
	for _, entry := range entries {
		if err := rewriteHosts(ctx, e, container.ID(entry.Name())); err != nil {
			e.warn(err)
		}
	}
}

// rewriteHosts writes a running container's hosts anew, in place: that very file is
// what it sees.
func rewriteHosts(ctx context.Context, e *Engine, id container.ID) error {
	rec, err := e.Containers.Get(ctx, string(id))
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	net, err := e.Networks.Endpoints(id)
	if fault.Is(err, fault.NotFound) { // it does not run
		return nil
	}
	if err != nil {
		return err
	}
	links, err := linksOf(ctx, e, rec, false)
	if err != nil {
		return err
	}
	text, err := hostsFile(e, rec, net, links)
	if err != nil {
		return err
	}
	return rewriteFile(e, rec, "hosts", text)
}

// linkWords are a container's links as docker's inspect shows them.
func linkWords(ctx context.Context, e *Engine, rec *container.Record) []string {
	var out []string
	for _, l := range rec.Config.Network.Links {
		id, alias, _ := strings.Cut(l, ":")
		name := id
		if other, err := e.Containers.Get(ctx, id); err == nil {
			name = other.Name
		}
		out = append(out, "/"+name+":/"+rec.Name+"/"+alias)
	}
	return out
}
