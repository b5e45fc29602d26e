package logsend

import (
	"slices"
	"strconv"

	"berth/base/fault"
	"berth/base/units"
)

// Check looks at a driver's options as docker does at create, in its words; it
// connects to nothing.
func Check(driver string, o map[string]string) error {
	if !Known(driver) {
		return nil
	}
	var err error
	switch driver {
	case "syslog":
		if _, _, err = SyslogAddress(o["syslog-address"]); err == nil {
			_, err = facilityOf(o["syslog-facility"])
		}
		if f := o["syslog-format"]; err == nil && !slices.Contains([]string{"", "rfc3164", "rfc5424", "rfc5424micro"}, f) {
			err = fault.New(fault.Invalid, "Invalid syslog format")
		}
	case "gelf":
		var network string
		if network, _, err = GELFAddress(o["gelf-address"]); err == nil {
			err = new(gelf).options(network, o)
		}
	case "fluentd":
		if _, _, err = FluentdAddress(o["fluentd-address"]); err == nil {
			err = new(fluentd).options(o)
		}
	}
	if err != nil {
		return err
	}
	return checkCache(o)
}

func checkCache(o map[string]string) error {
	for _, k := range []string{"cache-disabled", "cache-compress"} {
		if v := o[k]; v != "" {
			if _, err := strconv.ParseBool(v); err != nil {
				return fault.New(fault.Invalid, "log opt %s: %q is neither true nor false", k, v)
			}
		}
	}
	if v := o["cache-max-size"]; v != "" {
		if n, err := units.ParseBytes(v); err != nil || n <= 0 {
			return fault.New(fault.Invalid, "log opt cache-max-size: invalid size: '%s'", v)
		}
	}
	if v := o["cache-max-file"]; v != "" {
		if n, err := strconv.Atoi(v); err != nil || n < 1 {
			return fault.New(fault.Invalid, "log opt cache-max-file: %q is no number of files", v)
		}
	}
	i := &Info{ContainerID: "000000000000", ContainerImageID: "sha256:000000", Config: o}
	if _, err := i.Tag(DefaultTag); err != nil {
		return err
	}
	_, err := i.ExtraAttributes(nil)
	return err
}
