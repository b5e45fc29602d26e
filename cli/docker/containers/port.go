package containers

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
)

// Port is port.
type Port struct{ all, latest bool }

func (v *Port) Flags(f *pflag.FlagSet) {
	f.BoolVarP(&v.all, "all", "a", false, "Show the ports of all running containers")
	f.BoolVarP(&v.latest, "latest", "l", false, "Use the newest container")
	command.Extra(f, "all", "latest")
}

// portLine is one port of a container and where it is reached.
type portLine struct {
	inside  uint16
	network string
	outside string
}

func (p portLine) key() string { return fmt.Sprintf("%d/%s", p.inside, p.network) }

func (v *Port) Run(ctx context.Context, c *command.Call, words []string) error {
	wanted := ""
	if len(words) == 2 {
		port, protocol, _ := strings.Cut(words[1], "/")
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return err
		}
		if protocol == "" {
			protocol = "tcp"
		}
		wanted = port + "/" + protocol
	}
	e, err := open(c)
	if err != nil {
		return err
	}
	names := words[:min(1, len(words))]
	if v.all || v.latest {
		s := chosen{all: v.all, latest: v.latest, states: []string{"running"}}
		if names, err = s.names(ctx, e, nil); err != nil {
			return err
		}
	}
	if len(names) == 0 && !v.all {
		return fmt.Errorf("you must supply a running container name or id")
	}
	for _, name := range names {
		ports, err := e.Ports(ctx, name)
		if err != nil {
			return notThere(c, name, err)
		}
		if err := printPorts(c, name, wanted, ports); err != nil {
			return err
		}
	}
	return nil
}

func printPorts(c *command.Call, name, wanted string, ports []PortBinding) error {
	found := false
	for _, p := range portLines(ports) {
		switch {
		case wanted == "":
			fmt.Fprintf(c.Out, "%s -> %s\n", p.key(), p.outside)
		case wanted == p.key():
			fmt.Fprintln(c.Out, p.outside)
			found = true
		}
	}
	if wanted != "" && !found {
		return command.Line("Error: No public port '%s' published for %s", wanted, name)
	}
	return nil
}

// portLines are single ports in order, those that are published.
func portLines(ports []PortBinding) []portLine {
	var out []portLine
	for _, p := range ports {
		if p.Host == 0 {
			continue
		}
		for i := range max(1, p.Count) {
			address := p.Address
			if address == "" {
				address = "0.0.0.0"
			}
			host := net.JoinHostPort(address, strconv.Itoa(int(p.Host+i)))
			if strings.Contains(address, ":") {
				host = address + ":" + strconv.Itoa(int(p.Host+i)) // as docker writes it
			}
			out = append(out, portLine{p.Container + i, p.Protocol, host})
		}
	}
	slices.SortStableFunc(out, func(a, b portLine) int {
		if n := int(a.inside) - int(b.inside); n != 0 {
			return n
		}
		return strings.Compare(a.network, b.network)
	})
	return out
}
