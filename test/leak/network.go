package leak

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// takeNetworks lists links and nft tables, chains, sets and rules of every
// network namespace in scope that a process or a mount leads to.
func takeNetworks(s Snapshot, w *world) error {
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		return err
	}
	var errs []error
	for ns, path := range w.networks() {
		f, err := os.Open(path)
		if err != nil {
			continue // its process is gone
		}
		link, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
		if err == nil && link == ns {
			all := w.cfg.Strict || ns != own
			errs = append(errs, takeLinks(s, w.cfg, ns, int(f.Fd()), all), takeTables(s, w.cfg, ns, int(f.Fd()), all))
		}
		f.Close()
	}
	return errors.Join(errs...)
}

// networks maps each network namespace in scope to a path that opens it.
func (w *world) networks() map[string]string {
	paths := map[string]string{}
	put := func(path string) {
		if ns, err := os.Readlink(path); err == nil {
			paths[ns] = path
		}
	}
	for _, p := range w.processes {
		if p.ours {
			put(fmt.Sprintf("/proc/%d/ns/net", p.pid))
		}
	}
	for _, m := range readMounts(w.self) {
		if m.kind == "nsfs" && strings.HasPrefix(m.root, "net:") && (w.cfg.Strict || w.cfg.below(m.target)) {
			paths[m.root] = m.target
		}
	}
	put("/proc/self/ns/net")
	return paths
}

func takeLinks(s Snapshot, cfg Config, ns string, fd int, all bool) error {
	h, err := netlink.NewHandleAt(netns.NsHandle(fd))
	if err != nil {
		return fmt.Errorf("netlink in %s: %w", ns, err)
	}
	defer h.Close()
	links, err := h.LinkList()
	if err != nil {
		return fmt.Errorf("links of %s: %w", ns, err)
	}
	for _, l := range links {
		a := l.Attrs()
		if all || cfg.named(a.Name) {
			s.add(Link, fmt.Sprintf("%s %d %s", ns, a.Index, a.Name), fmt.Sprintf("%s (%s) in %s", a.Name, l.Type(), ns))
		}
	}
	return nil
}

func takeTables(s Snapshot, cfg Config, ns string, fd int, all bool) error {
	c, err := nftables.New(nftables.WithNetNSFd(fd))
	if err != nil {
		return fmt.Errorf("nft in %s: %w", ns, err)
	}
	tables, err := c.ListTables()
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPROTONOSUPPORT) {
		return nil // the kernel has no nf_tables, so there can be none
	}
	if err != nil {
		return fmt.Errorf("nft tables of %s: %w", ns, err)
	}
	for _, t := range tables {
		if !all && !cfg.named(t.Name) {
			continue
		}
		name := fmt.Sprintf("table %d %s", t.Family, t.Name)
		s.add(NFT, ns+" "+name, name+" in "+ns)
		sets, err := c.GetSets(t)
		if err != nil {
			return fmt.Errorf("nft sets of %s: %w", name, err)
		}
		for _, set := range sets {
			s.add(NFT, fmt.Sprintf("%s %s set %s", ns, name, set.Name), fmt.Sprintf("set %s of %s in %s", set.Name, name, ns))
		}
		if err := takeRules(s, c, t, ns, name); err != nil {
			return err
		}
	}
	return nil
}

func takeRules(s Snapshot, c *nftables.Conn, t *nftables.Table, ns, table string) error {
	chains, err := c.ListChainsOfTableFamily(t.Family)
	if err != nil {
		return fmt.Errorf("nft chains of %s: %w", table, err)
	}
	for _, ch := range chains {
		if ch.Table.Name != t.Name {
			continue
		}
		name := fmt.Sprintf("chain %s of %s", ch.Name, table)
		s.add(NFT, ns+" "+name, name+" in "+ns)
		rules, err := c.GetRules(t, ch)
		if err != nil {
			return fmt.Errorf("nft rules of %s: %w", name, err)
		}
		for _, r := range rules {
			s.add(NFT, fmt.Sprintf("%s %s rule %d", ns, name, r.Handle), fmt.Sprintf("rule %d in %s in %s", r.Handle, name, ns))
		}
	}
	return nil
}
