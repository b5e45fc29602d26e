package container

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"berth/test/berth"
	"berth/test/netns"
	"berth/test/sample"
)

// addresses is how many addresses of networks are reserved.
func addresses(b *berth.Berth) int { return len(glob(b.Run + "/network/addresses/*/*.*")) }

// TestNetworksComeAndGo: networks are made and removed, several at a time, with a
// container on each or without; each has a subnet of its own meanwhile.
func TestNetworksComeAndGo(t *testing.T) {
	b := store(t)
	before := addresses(b)
	sample.Parallel(t, workers, sample.Rounds(500), func(i int) error {
		name := fmt.Sprintf("net%d", i)
		if err := b.Do("network", "create", name).Err(); err != nil {
			return err
		}
		if i%2 == 0 {
			if err := b.Do("run", "--rm", "--network", name, "berth/base", "true").Err(); err != nil {
				return err
			}
		}
		return b.Do("network", "rm", name).Err()
	})
	if out := b.Must(t, "network", "ls", "-q", "--filter", "type=custom"); out != "" {
		t.Errorf("networks are left: %q", out)
	}
	if now := addresses(b); now != before {
		t.Errorf("%d addresses are reserved, were %d", now, before)
	}
}

// TestPluggedOften: containers that run come to a network and leave it.
func TestPluggedOften(t *testing.T) {
	b := store(t)
	b.Must(t, "network", "create", "--subnet", "10.211.0.0/24", "net")
	for i := range workers {
		b.Must(t, "run", "-d", "--name", fmt.Sprintf("plugged%d", i), "berth/base", "sleep", "100000")
	}
	before := addresses(b)
	names := make(chan string, workers)
	for i := range workers {
		names <- fmt.Sprintf("plugged%d", i)
	}
	sample.Parallel(t, workers, sample.Rounds(500), func(int) error {
		name := <-names
		defer func() { names <- name }()
		if err := b.Do("network", "connect", "net", name).Err(); err != nil {
			return err
		}
		r := b.Do("inspect", "-f", "{{.NetworkSettings.Networks.net.IPAddress}}", name)
		if a, err := netip.ParseAddr(strings.TrimSpace(r.Out)); err != nil || !netip.MustParsePrefix("10.211.0.0/28").Contains(a) {
			return fmt.Errorf("addresses are used up: %s", r)
		}
		return b.Do("network", "disconnect", "net", name).Err()
	})
	if now := addresses(b); now != before {
		t.Errorf("%d addresses are reserved, were %d", now, before)
	}
	for i := range workers {
		b.Must(t, "rm", "-f", fmt.Sprintf("plugged%d", i))
	}
	b.Must(t, "network", "rm", "net")
	if now := addresses(b); now != 0 {
		t.Errorf("%d addresses are reserved", now)
	}
}

// TestPortsComeAndGo: ports are published by run and by update, and taken back, several at
// a time: all are free again.
func TestPortsComeAndGo(t *testing.T) {
	b := store(t)
	sample.Parallel(t, workers, sample.Rounds(500), func(i int) error {
		name, first := fmt.Sprintf("port%d", i), 20000+10*(i%1000)
		words := []string{"run", "-d", "--name", name, "-p", fmt.Sprintf("%d:80", first), "-p", fmt.Sprintf("%d-%d:81-83/udp", first+1, first+3), "-p", "90", "berth/base", "sleep", "100000"}
		if err := b.Do(words...).Err(); err != nil {
			return err
		}
		if err := b.Do("update", "--publish-add", fmt.Sprintf("%d:84", first+4), "--publish-rm", "82/udp", "--publish-rm", "90", name).Err(); err != nil {
			return err
		}
		if r := b.Do("port", name); r.Code != 0 || strings.Count(r.Out, "\n") != 8 {
			return fmt.Errorf("%s", r)
		}
		return b.Do("rm", "-f", name).Err()
	})
	for p := 20000; p < 20000+10*min(sample.Rounds(500), 1000); p++ {
		l, err := net.Listen("tcp", fmt.Sprintf(":%d", p))
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		l.Close()
	}
	if out, err := netns.Run("nft", "list", "ruleset"); err != nil || strings.Contains(out, " 200") {
		t.Errorf("ports are left in the firewall, %v:\n%s", err, out)
	}
	if now := addresses(b); now != 0 {
		t.Errorf("%d addresses are reserved", now)
	}
}

// TestCrowdOnOneNetwork: 200 containers on one network (12 in make test) have addresses
// of their own, and all are reached; the last start is not much slower than the first.
func TestCrowdOnOneNetwork(t *testing.T) {
	b := store(t)
	b.Must(t, "network", "create", "--subnet", "10.212.0.0/16", "crowd")
	count := 12
	if sample.Whole() {
		count = 200
	}
	took := make([]time.Duration, count)
	for i := range count {
		begin := time.Now()
		b.Must(t, "run", "-d", "--name", fmt.Sprintf("one%d", i), "--network", "crowd", "berth/base", "sleep", "100000")
		took[i] = time.Since(begin)
	}
	t.Logf("the first took %v, the last %v", took[0], took[count-1])
	seen := map[string]bool{}
	for _, a := range strings.Fields(b.Must(t, "network", "inspect", "-f", "{{range .Containers}}{{.IPv4Address}} {{end}}", "crowd")) {
		seen[a] = true
		address := netip.MustParsePrefix(a).Addr()
		c, err := net.DialTimeout("tcp", netip.AddrPortFrom(address, 1).String(), 10*time.Second)
		if err == nil {
			c.Close()
		} else if !strings.Contains(err.Error(), "refused") {
			t.Errorf("%s is not reached: %v", a, err)
		}
	}
	if len(seen) != count {
		t.Errorf("%d addresses of %d containers", len(seen), count)
	}
	var names []string
	for i := range count {
		names = append(names, fmt.Sprintf("one%d", i))
	}
	b.Must(t, append([]string{"rm", "-f"}, names...)...)
	b.Must(t, "network", "rm", "crowd")
}
