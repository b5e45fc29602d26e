package network

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"berth/base/fault"
)

// Docker's and podman's option keys of bridge networks that mean something here.
const (
	optionName       = "com.docker.network.bridge.name"
	optionICC        = "com.docker.network.bridge.enable_icc"
	optionMasq       = "com.docker.network.bridge.enable_ip_masquerade"
	optionMTU        = "com.docker.network.driver.mtu"
	optionBinding    = "com.docker.network.bridge.host_binding_ipv4"
	optionMode4      = "com.docker.network.bridge.gateway_mode_ipv4"
	optionMode6      = "com.docker.network.bridge.gateway_mode_ipv6"
	optionTrusted    = "com.docker.network.bridge.trusted_host_interfaces"
	optionNoAddress4 = "com.docker.network.bridge.inhibit_ipv4"
	optionPrefix     = "com.docker.network.container_iface_prefix"
	optionIsolate    = "isolate"
	optionManaged    = "mode"
	optionNoDefault  = "no_default_route"
)

// checkOptions refuses values that mean nothing, in Docker's words, and options
// of Docker's that would change nothing here. Others' are kept as they are.
func checkOptions(options map[string]string) error {
	for _, key := range slices.Sorted(maps.Keys(options)) {
		value := options[key]
		var why string
		switch key {
		case optionICC, optionMasq, optionNoAddress4, optionNoDefault:
			if _, err := strconv.ParseBool(value); err != nil {
				why = err.Error()
			}
		case optionIsolate:
			if _, err := strconv.ParseBool(value); err != nil && value != "strict" {
				why = "true, false or strict"
			}
		case optionMTU:
			if err := checkMTU(value); err != nil {
				return err
			}
		case optionBinding:
			if a, err := netip.ParseAddr(value); err != nil || a.Zone() != "" {
				why = "nil ip"
			}
		case optionName:
			if !isDevice(value) {
				why = "not the name of a device: 1 to 15 bytes"
			}
		case optionPrefix:
			if !isDevice(value + "00") {
				why = "not the beginning of a device's name: at most 13 bytes"
			}
		case optionTrusted:
			for _, name := range strings.Split(value, ":") {
				if !isDevice(name) {
					why = "names of devices, with colons between"
				}
			}
		case optionMode4, optionMode6:
			if !slices.Contains([]string{modeNAT, modeUnprotected, modeRouted, modeIsolated}, value) {
				why = "nat, nat-unprotected, routed or isolated"
			}
		case optionManaged:
			if value != "managed" && value != "unmanaged" {
				why = "managed or unmanaged"
			}
		default:
			if strings.HasPrefix(key, "com.docker.network.") {
				return fault.New(fault.Unsupported, "option %.80s is not served yet", key)
			}
		}
		if why != "" {
			return fault.New(fault.Invalid, "failed to parse %s value: %.80s (%s)", key, value, why)
		}
	}
	return nil
}

// isDevice reports whether the kernel takes a name for a device.
func isDevice(name string) bool {
	return name != "." && name != ".." && len(name) > 0 && len(name) < 16 && !strings.ContainsFunc(name, notInDevices)
}

func checkMTU(value string) error {
	mtu, err := strconv.Atoi(value)
	switch {
	case value == "":
		return nil
	case err != nil:
		return fault.New(fault.Invalid, "failed to parse %s value: %.80s (%w)", optionMTU, value, err)
	case mtu != 0 && (mtu < 68 || mtu > 65535):
		return fault.New(fault.Invalid, "failed to parse %s value: %.80s (the kernel takes 68 to 65535)", optionMTU, value)
	}
	return nil
}

func notInDevices(r rune) bool { return r <= ' ' || r == '/' || r == ':' || r == 0x7f }

// flag reads a yes or no that was checked.
func flag(options map[string]string, key string, otherwise bool) bool {
	if v, err := strconv.ParseBool(options[key]); err == nil {
		return v
	}
	return otherwise
}

// apart reports whether the network's containers do not reach each other.
func (n *Network) apart() bool { return !flag(n.Options, optionICC, true) }

func (s *builder) mtu(n *Network) int {
	if v, err := strconv.Atoi(n.Options[optionMTU]); err == nil && v > 0 {
		return v
	}
	if n.Driver != "bridge" {
		return 0 // its parent's
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
	if a.IsValid() && a.Is4() && a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}
