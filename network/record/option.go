package record

import (
	"cmp"
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
	OptionMTU        = "com.docker.network.driver.mtu"
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

// CheckOptions refuses values that mean nothing, in Docker's words, and options
// of Docker's that would change nothing here. Others' are kept as they are.
func CheckOptions(options map[string]string) error {
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
		case OptionMTU:
			if err := CheckMTU(value); err != nil {
				return err
			}
		case optionBinding:
			if a, err := netip.ParseAddr(value); err != nil || a.Zone() != "" {
				why = "nil ip"
			}
		case optionName:
			if !IsDevice(value) {
				why = "not the name of a device: 1 to 15 bytes"
			}
		case optionPrefix:
			if !IsDevice(value + "00") {
				why = "not the beginning of a device's name: at most 13 bytes"
			}
		case optionTrusted:
			for _, name := range strings.Split(value, ":") {
				if !IsDevice(name) {
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

// IsDevice reports whether the kernel takes a name for a device.
func IsDevice(name string) bool {
	return name != "." && name != ".." && len(name) > 0 && len(name) < 16 && !strings.ContainsFunc(name, notInDevices)
}

func CheckMTU(value string) error {
	mtu, err := strconv.Atoi(value)
	switch {
	case value == "":
		return nil
	case err != nil:
		return fault.New(fault.Invalid, "failed to parse %s value: %.80s (%w)", OptionMTU, value, err)
	case mtu != 0 && (mtu < 68 || mtu > 65535):
		return fault.New(fault.Invalid, "failed to parse %s value: %.80s (the kernel takes 68 to 65535)", OptionMTU, value)
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

// Apart reports whether the network's containers do not reach each other.
func (n *Network) Apart() bool { return !flag(n.Options, optionICC, true) }

// Fixed are the options that decide what was made long ago: they do not change.
var Fixed = []string{optionName, optionMode4, optionMode6, optionTrusted, optionNoAddress4, optionManaged}

// defaultMTU is Ethernet's.
const defaultMTU = 1500

// MTU is of the devices on a network; 0: the parent's.
func (s *Records) MTU(n *Network) int {
	if v, err := strconv.Atoi(n.Options[OptionMTU]); err == nil && v > 0 {
		return v
	}
	if n.Driver != "bridge" {
		return 0 // its parent's
	}
	if n.Name == Default && s.Settings.MTU > 0 {
		return s.Settings.MTU
	}
	return cmp.Or(s.Settings.UsualMTU, defaultMTU)
}

// PublishAddress is where ports without an address are published; zero: all.
func (s *Records) PublishAddress(n *Network) netip.Addr {
	a := s.Settings.PublishAddress
	if v, err := netip.ParseAddr(n.Options[optionBinding]); err == nil {
		a = v
	}
	if a.IsValid() && a.Is4() && a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}
