package network

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/base/fault"
	"berth/base/ids"
	"berth/test/netns"
)

// Somebody flushes the firewall, or removes the bridge: the next verb mends it.
func TestMended(t *testing.T) {
	w := newWorld(t, Settings{})
	w.create(Network{Name: "net", IPv6: true})
	a := w.run(Request{Endpoints: on("net"), Publish: []Port{{Protocol: "tcp", Host: 8080, Container: 80, Count: 1}}})
	w.serve(a.Namespace, "tcp4", ":80")
	whole := host(t, "nft list ruleset")
	for _, damage := range []string{
		"nft flush ruleset",
		"nft flush table inet " + w.s.table,
		"nft flush chain inet " + w.s.table + " publish",
		"nft delete table bridge " + w.s.table,
	} {
		host(t, damage)
		b := w.run(Request{Endpoints: on("net")})
		w.reach(w.outside, "tcp4", "192.0.2.2:8080", "192.0.2.1")
		w.reach(b.Namespace, "tcp4", a.ip()+":80", b.ip())
		if err := w.s.Release(ctx, b.id); err != nil {
			t.Fatal(err)
		}
		if err := w.s.Reload(ctx); err != nil {
			t.Fatal(err)
		}
		if now := host(t, "nft list ruleset"); now != whole {
			t.Errorf("after %s:\n%s\nwant\n%s", damage, now, whole)
		}
	}
	// Of other tables' changes nothing follows, and ours is not made anew.
	handles := host(t, "nft -a list chain inet "+w.s.table+" publish")
	host(t, "nft add table inet other")
	b := w.run(Request{Endpoints: on("net")})
	host(t, "nft delete table inet other")
	if now := host(t, "nft -a list chain inet "+w.s.table+" publish"); now != handles {
		t.Errorf("the table was made anew:\n%s\n%s", handles, now)
	}

	n, _ := w.s.Find("net")
	host(t, "ip link delete "+n.Device)
	c := w.run(Request{Endpoints: on("net")})
	w.serve(nil, "tcp4", "0.0.0.0:90")
	w.reach(c.Namespace, "tcp4", n.Subnets[0].Gateway.String()+":90", c.ip())
	for _, g := range []*guest{a, b, c} {
		if err := w.s.Release(ctx, g.id); err != nil {
			t.Error(err)
		}
	}
}

// TestMain's binary is the victim too: with this in its environment it attaches
// a container and detaches it.
const victimMark = "BERTH_TEST_NETWORK_VICTIM"

func victim(spec string) int {
	var v struct {
		Root, Namespace string
		ID              ids.ID
		Release         bool
	}
	if err := json.Unmarshal([]byte(spec), &v); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	s, err := Open(Options{Root: v.Root + "/root", Run: v.Root + "/run"})
	if err == nil && v.Release {
		err = s.Release(context.Background(), v.ID)
	} else if err == nil {
		var file *os.File
		if file, err = os.Open(v.Namespace); err == nil {
			_, err = s.Attach(context.Background(), Request{
				Container: v.ID, Endpoints: []Endpoint{{Network: Default}},
				Publish: []Port{{Protocol: "tcp", Host: 8080, Container: 80, Count: 1}, {Protocol: "udp", Host: 53, Container: 53, Count: 1}},
			}, file)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// Killed at any of its calls that change something, a verb leaves nothing that
// Release does not take away, and the next one works.
func TestKilled(t *testing.T) {
	w := newWorld(t, Settings{})
	w.run(Request{}) // the bridge and the table are there
	clean := host(t, "nft list ruleset")
	files := func() string {
		out := ""
		for _, kind := range []string{"endpoints", "addresses", "ports"} {
			_ = filepath.WalkDir(filepath.Join(w.s.files.Run, kind), func(path string, d os.DirEntry, err error) error {
				if err == nil && !d.IsDir() && !strings.Contains(path, ".stage-") {
					out += path + "\n"
				}
				return nil
			})
		}
		return out
	}
	before := files()
	kills := 0
	for _, release := range []bool{false, true} {
		for _, call := range []string{"sendto", "renameat", "linkat", "bind", "unlinkat"} {
			for n := 1; ; n++ {
				ns := netns.New(t)
				id := ids.New()
				if release {
					if g, err := w.try(Request{Container: id, Publish: []Port{{Protocol: "tcp", Host: 8080, Container: 80, Count: 1}}}); err != nil {
						t.Fatal(err)
					} else {
						for _, f := range g.a.Hold {
							f.Close()
						}
					}
				}
				spec, _ := json.Marshal(map[string]any{"Root": w.root, "Namespace": fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), ns.File.Fd()), "ID": id, "Release": release})
				cmd := exec.Command("strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace="+call, "-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", call, n), "/proc/self/exe")
				cmd.Args[len(cmd.Args)-1] = fmt.Sprintf("/proc/%d/exe", os.Getpid())
				cmd.Env = append(os.Environ(), victimMark+"="+string(spec))
				out, err := cmd.CombinedOutput()
				if err := w.s.Release(ctx, id); err != nil {
					t.Errorf("%s %d: release: %v", call, n, err)
				}
				ns.Close()
				if now := files(); now != before {
					t.Errorf("killed at %s %d (release %v): files are left:\n%s\nwant\n%s", call, n, release, now, before)
				}
				if now := host(t, "nft list ruleset"); now != clean {
					t.Errorf("killed at %s %d (release %v): the firewall is\n%s\nwant\n%s", call, n, release, now, clean)
				}
				if err == nil {
					break // it had no such call any more
				}
				if len(out) > 0 {
					t.Fatalf("%s %d: %v: %s", call, n, err, out)
				}
				if kills++; n > 100 {
					t.Fatal("no end")
				}
			}
		}
	}
	t.Log(kills, "kills")
	if kills < 20 {
		t.Errorf("only %d kills", kills)
	}
}

// Many at once get different addresses and ports.
func TestParallel(t *testing.T) {
	w := newWorld(t, Settings{})
	const count = 40
	var mu sync.Mutex
	seen := map[string]bool{}
	spaces := make([]*netns.Namespace, count)
	for i := range spaces {
		spaces[i] = netns.New(t)
	}
	attachments := make([]*Attachment, count)
	parallel := func(f func(i int) error) {
		var group sync.WaitGroup
		for i := range count {
			group.Go(func() {
				if err := f(i); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
	}
	parallel(func(i int) error {
		r := Request{Container: ids.New(), Endpoints: on(Default), Publish: []Port{{Protocol: "tcp", Container: 80, Count: 1}}}
		a, err := w.s.Attach(ctx, r, spaces[i].File)
		if err != nil {
			return err
		}
		attachments[i] = a
		if i%2 == 0 { // as if its monitor had died: another still gets another port
			closeAll(a)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, key := range []string{a.Endpoints[0].IPv4.String(), a.Ports[0].String()} {
			if seen[key] {
				t.Errorf("%s is given twice", key)
			}
			seen[key] = true
		}
		return nil
	})
	if len(seen) != 2*count {
		t.Errorf("%d addresses and ports", len(seen))
	}
	parallel(func(i int) error {
		if attachments[i] == nil {
			return nil
		}
		closeAll(attachments[i])
		return w.s.Release(ctx, attachments[i].Container)
	})
	if g := w.run(Request{}); g.ip() != "172.17.0.2" {
		t.Errorf("addresses are lost: %s is the next", g.ip())
	}
}

func closeAll(a *Attachment) {
	for _, f := range a.Hold {
		f.Close()
	}
}

func TestManyPorts(t *testing.T) {
	w := newWorld(t, Settings{})
	w.run(Request{})
	start := time.Now()
	a := w.run(Request{Publish: []Port{{Protocol: "tcp", Host: 10000, Container: 20000, Count: 1000}, {Protocol: "udp", Host: 10000, Container: 10000, Count: 1000}}})
	t.Logf("2,000 ports of which 1,000 are shifted: %v", time.Since(start))
	if len(a.a.Hold) != 0 {
		t.Errorf("%d are held", len(a.a.Hold))
	}
	w.serve(a.Namespace, "tcp4", ":20999")
	w.serve(a.Namespace, "udp4", ":10500")
	w.reach(w.outside, "tcp4", "192.0.2.2:10999", "192.0.2.1")
	w.reach(w.outside, "udp4", "192.0.2.2:10500", "192.0.2.1")
	for _, p := range []Port{
		{Protocol: "tcp", Host: 10700, Container: 80, Count: 1},
		{Protocol: "tcp", Host: 10700, Container: 80, Count: 1, Address: netip.MustParseAddr("127.0.0.1")},
		{Protocol: "udp", Host: 9990, Container: 9990, Count: 20},
	} {
		if _, err := w.try(Request{Publish: []Port{p}}); !fault.Is(err, fault.Conflict) || !strings.HasSuffix(err.Error(), "port is already allocated") {
			t.Errorf("%v: %v", p, err)
		}
	}
	if err := w.s.Detach(ctx, a.id); err != nil {
		t.Fatal(err)
	}
	w.run(Request{Publish: []Port{{Protocol: "tcp", Host: 10700, Container: 80, Count: 1}}})
}

// A client that keeps sending from one port reaches the container when it comes
// back, also at another address.
func TestDatagramsFollow(t *testing.T) {
	w := newWorld(t, Settings{})
	publish := []Port{{Protocol: "udp", Host: 5353, Container: 53, Count: 1}}
	var c net.Conn
	var err error
	w.outside.Do(func() { c, err = net.Dial("udp4", "192.0.2.2:5353") })
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	answered := func(within time.Duration) bool {
		buf := make([]byte, 100)
		for { // what is under way
			_ = c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
			if n, err := c.Read(buf); err != nil && n == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
		}
		for deadline := time.Now().Add(within); time.Now().Before(deadline); {
			_, _ = c.Write([]byte("?")) // refused while nobody is there
			_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			if n, err := c.Read(buf); err == nil && n > 0 {
				return true
			}
		}
		return false
	}
	answered(200 * time.Millisecond) // to the host: nobody
	a := w.run(Request{Publish: publish})
	w.serve(a.Namespace, "udp4", ":53")
	if !answered(10 * time.Second) {
		t.Error("the first container is not reached")
	}
	if err := w.s.Release(ctx, a.id); err != nil {
		t.Fatal(err)
	}
	for _, f := range a.a.Hold {
		f.Close()
	}
	if answered(300 * time.Millisecond) {
		t.Error("a container that is gone answers")
	}
	w.run(Request{}) // has the address now
	b := w.run(Request{Publish: publish})
	w.serve(b.Namespace, "udp4", ":53")
	if !answered(2 * time.Second) {
		t.Error("the next container is not reached")
	}
}

// A bridge has 1,023 ports, and who comes then is told.
func TestFullBridge(t *testing.T) {
	w := newWorld(t, Settings{})
	a := w.run(Request{})
	if err := w.s.Release(ctx, a.id); err != nil {
		t.Fatal(err)
	}
	var batch strings.Builder
	for i := range 512 {
		fmt.Fprintf(&batch, "link add x%d type veth peer name y%d\nlink set x%d master docker0\nlink set y%d master docker0\n", i, i, i, i)
	}
	file := filepath.Join(t.TempDir(), "batch")
	if err := os.WriteFile(file, []byte(batch.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _ = netns.Run("ip", "-force", "-batch", file) // the last fail
	_, err := w.try(Request{})
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "1023") {
		t.Errorf("%v", err)
	}
	host(t, "ip link delete docker0")
	batch.Reset()
	for i := range 512 {
		fmt.Fprintf(&batch, "link delete x%d\n", i)
	}
	if err := os.WriteFile(file, []byte(batch.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	host(t, "ip -force -batch "+file)
}
