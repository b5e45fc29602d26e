// Command containers measures berth's verbs on containers beside docker's and
// podman's (with crun), on one machine in one run and in interleaved rounds, and
// prints each ratio beside its goal as met or missed. It exits 0 when everything
// could be measured.
//
//	go run ./test/bench/containers [-rounds 30] [-many 1000] [-running 200] [-only run,syncs,…]
//
// The parts are run, syncs, exec, start, crowd, many, logs, memory; attach, ports,
// members, throughput and names are of networks; userns and users of user
// namespaces. All engines have the same image, a
// copy of berth/base, and stores of their own below one temporary folder; dockerd has
// a network namespace of its own, the rest shares another one. It needs root and
// Debian's docker.io, podman and crun, for throughput and users iperf3, for users
// slirp4netns. Outside the rows.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"berth/test/netns"
)

type options struct {
	rounds, many, running int
	only                  []string
}

// parts in their order.
var parts = []struct {
	name  string
	peers bool // it needs docker and podman
	run   func(*stage, *table, options) error
}{
	{"run", true, (*stage).runs}, {"syncs", false, (*stage).syncs}, {"exec", true, (*stage).execs}, {"start", true, (*stage).starts},
	{"crowd", true, (*stage).crowd}, {"many", false, (*stage).many}, {"logs", true, (*stage).logs}, {"memory", false, (*stage).memory},
	{"attach", true, (*stage).attach}, {"ports", false, (*stage).ports}, {"members", false, (*stage).members}, {"throughput", true, (*stage).throughput}, {"names", true, (*stage).names},
	{"userns", false, (*stage).userns}, {"users", true, (*stage).users},
}

func main() {
	var o options
	var only string
	flag.IntVar(&o.rounds, "rounds", 30, "rounds of each measurement; the median counts")
	flag.IntVar(&o.many, "many", 1000, "number of containers for the lists")
	flag.IntVar(&o.running, "running", 200, "how many of them run")
	flag.StringVar(&only, "only", "", "parts to measure, with commas between")
	flag.Parse()
	if only != "" {
		o.only = strings.Split(only, ",")
	}
	os.Exit(netns.Main(func() int {
		if err := bench(o); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			return 1
		}
		return 0
	}))
}

func bench(o options) error {
	peers := false
	for _, p := range parts {
		peers = peers || p.peers && o.wants(p.name)
	}
	s, err := newStage(peers)
	if err != nil {
		return err
	}
	defer s.remove()
	stopped := make(chan os.Signal, 1)
	signal.Notify(stopped, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-stopped
		s.remove()
		os.Exit(1)
	}()
	var t table
	for _, p := range parts {
		if !o.wants(p.name) {
			continue
		}
		if err := p.run(s, &t, o); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	t.print(os.Stdout)
	return nil
}

func (o *options) wants(part string) bool { return len(o.only) == 0 || slices.Contains(o.only, part) }
