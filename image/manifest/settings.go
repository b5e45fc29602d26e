package manifest

import (
	"path"
	"slices"
	"strconv"
	"strings"

	"berth/base/fault"
)

// checkText refuses what can never be right in the text of a config: NUL
// anywhere that reaches execve(2), control characters in what becomes a line
// of a file or a path (a new line in HOME once made a line of passwd).
func (c *Config) checkText() error {
	d := &c.Defaults
	for what, s := range map[string]string{"os": c.OS, "architecture": c.Architecture, "variant": c.Variant,
		"os.version": c.OSVersion, "User": d.User, "WorkingDir": d.WorkingDir, "StopSignal": d.StopSignal,
		"Hostname": d.Hostname, "Domainname": d.Domainname} {
		if len(s) > maxText || !isPlain(s) {
			return fault.New(fault.Invalid, "%s is no plain line: %.80q", what, s)
		}
	}
	for what, list := range map[string][]string{"Env": d.Env, "Entrypoint": d.Entrypoint, "Cmd": d.Cmd, "Shell": d.Shell} {
		for _, s := range list {
			if strings.IndexByte(s, 0) >= 0 {
				return fault.New(fault.Invalid, "%s has a NUL byte: %.80q", what, s)
			}
		}
	}
	if d.StopTimeout != nil && *d.StopTimeout < -1 {
		return fault.New(fault.Invalid, "StopTimeout is %d", *d.StopTimeout)
	}
	if h := d.Healthcheck; h != nil {
		return h.check()
	}
	return nil
}

func (h *Healthcheck) check() error {
	for _, n := range []int64{int64(h.Interval), int64(h.Timeout), int64(h.StartPeriod),
		int64(h.StartInterval), int64(h.Retries)} {
		if n < 0 {
			return fault.New(fault.Invalid, "Healthcheck has a negative number")
		}
	}
	if len(h.Test) == 0 {
		return nil
	}
	switch h.Test[0] {
	case "", "NONE", "CMD", "CMD-SHELL":
		return nil
	}
	return fault.New(fault.Invalid, "Healthcheck begins with %.80q, not NONE, CMD or CMD-SHELL", h.Test[0])
}

// Port is one entry of ExposedPorts.
type Port struct {
	First, Last uint16 // the same for one port
	Proto       string // tcp, udp or sctp
}

// Ports returns the exposed ports, sorted. Error: Invalid.
func (d *Defaults) Ports() ([]Port, error) {
	ports := make([]Port, 0, len(d.ExposedPorts))
	for s := range d.ExposedPorts {
		p, err := ParsePort(s)
		if err != nil {
			return nil, err
		}
		ports = append(ports, p)
	}
	slices.SortFunc(ports, func(a, b Port) int {
		if a.First != b.First {
			return int(a.First) - int(b.First)
		}
		return strings.Compare(a.Proto, b.Proto)
	})
	return ports, nil
}

// ParsePort reads 80, 80/tcp or 8000-8010/udp. Error: Invalid.
func ParsePort(s string) (Port, error) {
	numbers, proto, ok := strings.Cut(s, "/")
	if !ok || proto == "" {
		proto = "tcp"
	}
	proto = strings.ToLower(proto)
	first, last, isRange := strings.Cut(numbers, "-")
	if !isRange {
		last = first
	}
	a, err1 := strconv.ParseUint(first, 10, 16)
	b, err2 := strconv.ParseUint(last, 10, 16)
	if err1 != nil || err2 != nil || a == 0 || b < a || proto != "tcp" && proto != "udp" && proto != "sctp" {
		return Port{}, fault.New(fault.Invalid, "%.80q is no port to expose", s)
	}
	return Port{First: uint16(a), Last: uint16(b), Proto: proto}, nil
}

// String writes the port as a config has it: 80/tcp or 8000-8010/udp.
func (p Port) String() string {
	s := strconv.Itoa(int(p.First))
	if p.Last != p.First {
		s += "-" + strconv.Itoa(int(p.Last))
	}
	return s + "/" + p.Proto
}

// VolumePaths returns where the image wants volumes: absolute, clean, sorted,
// each once. What such a path crosses in the root file system is for sys/safepath
// to resolve. Error: Invalid for a relative path or the root itself.
func (d *Defaults) VolumePaths() ([]string, error) {
	paths := make([]string, 0, len(d.Volumes))
	for v := range d.Volumes {
		clean := path.Clean(v)
		if !path.IsAbs(v) || clean == "/" || len(v) > maxText || !isPlain(v) {
			return nil, fault.New(fault.Invalid, "volume %.80q of the image is no absolute path below /", v)
		}
		paths = append(paths, clean)
	}
	slices.Sort(paths)
	return slices.Compact(paths), nil
}

// reservedLabel are the labels by which berth steers itself. An image's own
// are not passed on: they would be orders from a stranger.
const reservedLabel = "io.berth."

// UserLabels returns the labels of the image that a container may inherit.
func (d *Defaults) UserLabels() map[string]string {
	labels := make(map[string]string, len(d.Labels))
	for k, v := range d.Labels {
		if !guardLabels || !strings.HasPrefix(k, reservedLabel) {
			labels[k] = v
		}
	}
	return labels
}
