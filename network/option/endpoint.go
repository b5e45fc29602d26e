// Package option reads what Docker, and berth beside it, lets people ask of one
// endpoint of a container: kernel parameters of its device, the name of it, bounds of
// what goes in and out. It does nothing with them. Row 3, for room network.
package option

import (
	"math"
	"strconv"
	"strings"

	"berth/base/fault"
	"berth/base/units"
	"berth/network/bridge"
)

// Options of endpoints that mean something here: two of Docker's, and limits of
// what goes into and out of the container.
const (
	EndpointSysctls = "com.docker.network.endpoint.sysctls"
	EndpointName    = "com.docker.network.endpoint.ifname"

	ingressRate, ingressBurst = "ingress-rate", "ingress-burst"
	egressRate, egressBurst   = "egress-rate", "egress-burst"
)

// Endpoint is those options, read.
type Endpoint struct {
	Name    string // of the device inside
	Sysctls []bridge.Setting
	Limit   bridge.Limit
}

// ReadEndpoint reads the options of an endpoint. Kinds: Invalid, Unsupported one of
// Docker's that would change nothing here.
func ReadEndpoint(options map[string]string) (o Endpoint, err error) {
	for key, value := range options {
		switch key {
		case EndpointSysctls:
			o.Sysctls, err = readSysctls(value)
		case EndpointName:
			o.Name = value
		case ingressRate:
			o.Limit.In.Bits, err = readRate(key, value)
		case egressRate:
			o.Limit.Out.Bits, err = readRate(key, value)
		case ingressBurst:
			o.Limit.In.Burst, err = readBurst(key, value)
		case egressBurst:
			o.Limit.Out.Burst, err = readBurst(key, value)
		default:
			if strings.HasPrefix(key, "com.docker.network.") {
				err = fault.New(fault.Unsupported, "endpoint option %.80s is not served yet", key)
			}
		}
		if err != nil {
			return o, err
		}
	}
	for _, one := range []struct {
		rate        bridge.Rate
		burst, need string
	}{{o.Limit.In, ingressBurst, ingressRate}, {o.Limit.Out, egressBurst, egressRate}} {
		if one.rate.Burst != 0 && one.rate.Bits == 0 {
			return o, fault.New(fault.Invalid, "%s means nothing without %s", one.burst, one.need)
		}
	}
	return o, nil
}

// readSysctls reads net.X.Y.IFNAME.Z=V, several with commas between: IFNAME stands
// for the device inside.
func readSysctls(text string) (list []bridge.Setting, err error) {
	for _, one := range strings.Split(text, ",") {
		key, value, ok := strings.Cut(strings.TrimSpace(one), "=")
		parts := strings.Split(key, ".")
		if !ok || len(parts) != 5 || parts[0] != "net" || parts[1] != "ipv4" && parts[1] != "ipv6" && parts[1] != "mpls" ||
			!strings.EqualFold(parts[3], "IFNAME") || !isWord(parts[2]) || !isWord(parts[4]) {
			return nil, fault.New(fault.Invalid, "unrecognised network interface sysctl '%.100s'; it has the form net.X.Y.IFNAME.Z=V, and X is ipv4, ipv6 or mpls", one)
		}
		list = append(list, bridge.Setting{Family: parts[1], Group: parts[2], Name: parts[4], Value: value})
	}
	return list, nil
}

// isWord reports whether s can be part of a sysctl's path.
func isWord(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_'
	})
}

// lowestRate is the least that is still a connection, in bits a second.
const lowestRate = 8000

// readRate reads bits a second: a number, and k, m or g for a thousand, a million
// or a billion of them, and "bit" if one likes.
func readRate(key, text string) (uint64, error) {
	s := strings.TrimSuffix(strings.ToLower(text), "bit")
	factor := 1.0
	if i := strings.IndexAny(s, "kmg"); i >= 0 && i == len(s)-1 {
		factor = map[byte]float64{'k': 1e3, 'm': 1e6, 'g': 1e9}[s[i]]
		s = s[:i]
	}
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(n) || n*factor < lowestRate || n*factor > 1e13 {
		return 0, fault.New(fault.Invalid, "%s=%.40s: bits a second, from 8k, as in 500k, 10mbit or 1.5g", key, text)
	}
	return uint64(n * factor), nil
}

// readBurst reads bytes, which may come at once.
func readBurst(key, text string) (uint64, error) {
	n, err := units.ParseBytes(text)
	if err != nil || n < 1 || n > math.MaxInt32 {
		return 0, fault.New(fault.Invalid, "%s=%.40s: bytes, as in 64k or 1m", key, text)
	}
	return uint64(n), nil
}

// Fits refuses bursts that would not let a single packet through.
func (o *Endpoint) Fits(mtu int) error {
	for key, r := range map[string]bridge.Rate{ingressBurst: o.Limit.In, egressBurst: o.Limit.Out} {
		if r.Burst != 0 && r.Burst < uint64(mtu)+bridge.FrameOverhead {
			return fault.New(fault.Invalid, "%s: %d bytes do not let through a single packet of %d", key, r.Burst, mtu)
		}
	}
	return nil
}
