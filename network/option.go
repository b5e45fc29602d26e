package network

import (
	"crypto/sha256"
	"net"
	"net/netip"
	"strconv"

	"berth/base/fault"
)

// Docker's option keys of bridge networks that mean something here.
const (
	optionName    = "com.docker.network.bridge.name"
	optionICC     = "com.docker.network.bridge.enable_icc"
	optionMasq    = "com.docker.network.bridge.enable_ip_masquerade"
	optionMTU     = "com.docker.network.driver.mtu"
	optionBinding = "com.docker.network.bridge.host_binding_ipv4"
	optionMode4   = "com.docker.network.bridge.gateway_mode_ipv4"
)

// checkOptions refuses values that mean nothing: kind Invalid.
func checkOptions(options map[string]string) error {
	for key, value := range options {
		var err error
		switch key {
		case optionICC, optionMasq:
			_, err = strconv.ParseBool(value)
		case optionMTU:
			var mtu int
			if mtu, err = strconv.Atoi(value); err == nil && (mtu < 68 || mtu > 65535) {
				err = strconv.ErrRange
			}
		case optionBinding:
			_, err = netip.ParseAddr(value)
		case optionName:
			if len(value) == 0 || len(value) > 15 {
				err = strconv.ErrRange
			}
		}
		if err != nil {
			return fault.New(fault.Invalid, "invalid value for %s: %.80q", key, value)
		}
	}
	return nil
}

// flag reads a yes or no that was checked.
func flag(options map[string]string, key string, otherwise bool) bool {
	if v, err := strconv.ParseBool(options[key]); err == nil {
		return v
	}
	return otherwise
}

// apart reports whether the network's containers do not reach each other.
func (n *Network) apart() bool { return !flag(n.Options, optionICC, true) }

// routed reports whether containers go out with their own addresses.
func (n *Network) routed() bool {
	return !flag(n.Options, optionMasq, true) || n.Options[optionMode4] == "routed"
}

func (s *builder) mtu(n *Network) int {
	if v, err := strconv.Atoi(n.Options[optionMTU]); err == nil {
		return v
	}
	if n.Name == Default && s.settings.MTU > 0 {
		return s.settings.MTU
	}
	return defaultMTU
}

// publishAddress is where ports without an address are published; zero: all.
func (s *builder) publishAddress(n *Network) netip.Addr {
	a := s.settings.PublishAddress
	if v, err := netip.ParseAddr(n.Options[optionBinding]); err == nil {
		a = v
	}
	if a.IsValid() && a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}

// hostMAC is a bridge's link address, the same for as long as there is the
// network; locally administered, of Docker's range.
func hostMAC(id string) string {
	sum := sha256.Sum256([]byte("bridge " + id))
	return net.HardwareAddr{2, 0x42, sum[0], sum[1], sum[2], sum[3]}.String()
}

// containerMAC is made of the address, so that neighbours that remember an
// address given to another container are not misled for long.
func containerMAC(a netip.Addr) string {
	b := a.AsSlice()
	b = b[len(b)-4:]
	return net.HardwareAddr{2, 0x42, b[0], b[1], b[2], b[3]}.String()
}
