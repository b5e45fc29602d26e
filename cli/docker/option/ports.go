package option

import (
	"net"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/container/config"
)

// ports reads -p and --expose.
func (n *network) ports(c *config.Network) error {
	for _, spec := range n.publish {
		p, err := publish(spec)
		if err != nil {
			return err
		}
		c.Publish = append(c.Publish, p)
	}
	for _, spec := range n.expose {
		if strings.Contains(spec, ":") {
			return command.Line("invalid port format for --expose: %s", spec)
		}
		protocol, ports := splitProtocol(spec)
		first, last, err := portRange(ports)
		if err != nil {
			return command.Line("invalid range format for --expose: %s, error: %w", spec, err)
		}
		c.Expose = append(c.Expose, config.Port{Protocol: strings.ToLower(protocol), Container: first, Count: last - first + 1})
	}
	return nil
}

// Ports is what update changes of the published ports; docker has none of these flags.
type Ports struct{ add, remove []config.Port }

// Flags adds them.
func (p *Ports) Flags(f *pflag.FlagSet) {
	into := func(list *[]config.Port) *value {
		return &value{kind: "list", take: func(spec string) error {
			one, err := publish(spec)
			if err == nil {
				*list = append(*list, one)
			}
			return err
		}}
	}
	f.Var(into(&p.add), "publish-add", "Publish one more port, at once if it runs; as --publish of run")
	f.Var(into(&p.remove), "publish-rm", "Publish a port no longer, written as it was published or by the container's port alone")
	command.Extra(f, "publish-add", "publish-rm")
}

// Value is what they ask for.
func (p *Ports) Value() (add, remove []config.Port) { return p.add, p.remove }

// publish reads [[ADDRESS:][HOST]:]CONTAINER[/PROTOCOL], where HOST and
// CONTAINER may be ranges, or target=CONTAINER,published=HOST,protocol=….
func publish(spec string) (config.Port, error) {
	raw, err := shortForm(spec)
	if err != nil {
		return config.Port{}, err
	}
	address, host, inside := splitPort(raw)
	protocol, inside := splitProtocol(inside)
	ip, _, err := net.SplitHostPort(address + ":")
	switch {
	case err != nil:
		return config.Port{}, command.Line("Invalid ip address %s: %w", address, err)
	case ip != "" && net.ParseIP(ip) == nil:
		return config.Port{}, command.Line("Invalid ip address: %s", ip)
	case inside == "":
		return config.Port{}, command.Line("No port specified: %s<empty>", raw)
	}
	first, last, err := portRange(inside)
	if err != nil {
		return config.Port{}, command.Line("Invalid containerPort: %s", inside)
	}
	p := config.Port{Protocol: strings.ToLower(protocol), Address: ip, Container: first, Count: last - first + 1}
	if host != "" {
		from, to, err := portRange(host)
		if err != nil {
			return config.Port{}, command.Line("Invalid hostPort: %s", host)
		}
		p.Host = from
		if to-from != last-first {
			if first != last {
				return config.Port{}, command.Line("Invalid ranges specified for container and host Ports: %s and %s", inside, host)
			}
			p.HostEnd = to
		}
	}
	switch p.Protocol {
	case "tcp", "udp", "sctp":
		return p, nil
	}
	return config.Port{}, command.Line("Invalid proto: %s", protocol)
}

// shortForm turns the form of named fields into the short one.
func shortForm(spec string) (string, error) {
	if !strings.Contains(spec, "=") {
		return spec, nil
	}
	fields := map[string]string{"protocol": "tcp"}
	for param := range strings.SplitSeq(spec, ",") {
		k, v, ok := strings.Cut(param, "=")
		if !ok {
			return "", command.Line("invalid publish opts format (should be name=value but got '%s')", param)
		}
		fields[k] = v
	}
	return fields["published"] + ":" + fields["target"] + "/" + fields["protocol"], nil
}

// splitPort parts ADDRESS:HOST:CONTAINER from its end.
func splitPort(raw string) (address, host, inside string) {
	parts := strings.Split(raw, ":")
	n := len(parts)
	inside = parts[n-1]
	if n > 1 {
		host = parts[n-2]
	}
	if n > 2 {
		address = strings.Join(parts[:n-2], ":")
	}
	return address, host, inside
}

// splitProtocol parts PORT/PROTOCOL; tcp is the default.
func splitProtocol(s string) (protocol, port string) {
	port, protocol, _ = strings.Cut(s, "/")
	if port == "" {
		return "", ""
	}
	protocol, _, _ = strings.Cut(protocol, "/")
	if protocol == "" {
		protocol = "tcp"
	}
	return protocol, port
}

// portRange reads PORT or FIRST-LAST.
func portRange(s string) (first, last uint16, err error) {
	low, high, ranged := strings.Cut(s, "-")
	if !ranged {
		high = low
	}
	if s == "" {
		return 0, 0, command.Line("Empty string specified for ports.")
	}
	a, err := strconv.ParseUint(low, 10, 16)
	if err != nil {
		return 0, 0, err
	}
	b, err := strconv.ParseUint(high, 10, 16)
	if err != nil {
		return 0, 0, err
	}
	if b < a || b-a == 0xffff {
		return 0, 0, command.Line("Invalid range specified for the Port: %s", s)
	}
	return uint16(a), uint16(b), nil
}
