package names

import (
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// conf is the host's resolv.conf, read again when it has changed.
type conf struct {
	path string

	mu   sync.Mutex
	page *page[[]netip.AddrPort]
}

// servers are the host's.
func (c *conf) servers() []netip.AddrPort {
	c.mu.Lock()
	defer c.mu.Unlock()
	var st unix.Stat_t
	if err := unix.Stat(c.path, &st); err != nil {
		if err == unix.ENOENT {
			c.page = nil
			return standard
		}
		return c.last()
	}
	if c.page.fresh(&st) {
		return c.page.T
	}
	now := time.Now()
	fd, err := unix.Open(c.path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return c.last()
	}
	defer unix.Close(fd)
	text, ok := readAll(fd)
	if !ok {
		return c.last()
	}
	c.page = &page[[]netip.AddrPort]{parseServers(text), st.Ino, st.Mtim, now}
	return c.page.T
}

// last are those of the last time that the file could be read.
func (c *conf) last() []netip.AddrPort {
	if c.page == nil {
		return nil
	}
	return c.page.T
}

// standard is asked where the host says nothing: resolv.conf(5).
var standard = []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), Port)}

// maxServers is how many of a resolv.conf are asked: MAXNS of resolv.conf(5).
const maxServers = 3

// parseServers reads resolv.conf(5).
func parseServers(text string) (list []netip.AddrPort) {
	for l := range strings.Lines(text) {
		f := strings.Fields(l)
		if len(f) < 2 || f[0] != "nameserver" || len(list) == maxServers {
			continue
		}
		if a, err := netip.ParseAddr(f[1]); err == nil {
			list = append(list, netip.AddrPortFrom(a.Unmap(), Port))
		}
	}
	if len(list) == 0 {
		return standard
	}
	return list
}
