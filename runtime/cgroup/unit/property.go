package unit

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/runtime/cgroup/devfilter"
)

const infinity = uint64(math.MaxUint64)

// Request is what a container's unit is made of.
type Request struct {
	ID        string
	V2        bool // cgroup v2: other property names
	Resources *specs.LinuxResources
	// Writes are the v2 cgroup files that will be written, by name: the values
	// of the bundle already turned into v2's. Only for V2.
	Writes map[string]string
	// Rules with Devices: what the container may open.
	Devices bool
	Rules   []devfilter.Rule
	// Majors names the device drivers, from /proc/devices.
	Majors      Majors
	Annotations map[string]string
}

// Build fills s.Props for StartTransientUnit. Errors name the annotation.
func (s *Scope) Build(q *Request) error {
	extra, err := annotated(q.Annotations)
	if err != nil {
		return err
	}
	res, err := Limits(q)
	if err != nil {
		return err
	}
	s.Props = append(append(s.base(q.ID, q.V2), res...), extra...)
	return nil
}

// Limits turns the resources into properties, for the start and for a change.
// What systemd has no property for is left out.
func Limits(q *Request) ([]Property, error) {
	var out []Property
	if q.Devices {
		out = append(out, devices(q.Rules, q.Majors)...)
	}
	if q.V2 {
		more, err := limitsV2(q.Writes)
		return append(out, more...), err
	}
	return append(out, limitsV1(q.Resources)...), nil
}

// limitsV2 maps files to properties. That way numbers of the spec and those of
// linux.resources.unified take one road.
func limitsV2(writes map[string]string) ([]Property, error) {
	var out []Property
	for _, file := range sortedKeys(writes) {
		v := strings.TrimSpace(writes[file])
		name := sizes[file]
		switch {
		case name != "":
			n, err := number(v)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			if name == "TasksMax" && n == 0 {
				n = 1 // systemd takes no 0
			}
			out = append(out, Property{name, n})
		case file == "cpu.max":
			p, err := quota(v)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			out = append(out, p...)
		case file == "cpuset.cpus" || file == "cpuset.mems":
			bits, err := bitmap(v)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			name = "AllowedCPUs"
			if file == "cpuset.mems" {
				name = "AllowedMemoryNodes"
			}
			out = append(out, Property{name, bits})
		}
	}
	return out, nil
}

// sizes are the files that hold one number or "max".
var sizes = map[string]string{
	"memory.max": "MemoryMax", "memory.high": "MemoryHigh", "memory.low": "MemoryLow", "memory.min": "MemoryMin",
	"memory.swap.max": "MemorySwapMax", "cpu.weight": "CPUWeight", "io.weight": "IOWeight", "pids.max": "TasksMax",
}

func number(v string) (uint64, error) {
	if v == "max" {
		return infinity, nil
	}
	v = strings.TrimPrefix(v, "default ")
	return strconv.ParseUint(v, 10, 64)
}

// quota reads cpu.max: "max" or a quota, and perhaps a period, in µs.
func quota(v string) ([]Property, error) {
	q, p, _ := strings.Cut(v, " ")
	quota, err := number(q)
	if err != nil {
		return nil, err
	}
	period := uint64(defaultPeriod)
	if p != "" {
		if period, err = strconv.ParseUint(p, 10, 64); err != nil || period == 0 {
			return nil, fmt.Errorf("%.40q is not a period", p)
		}
	}
	return cpuQuota(quota, period), nil
}

const defaultPeriod = 100000 // µs, kernel and systemd

// cpuQuota: systemd counts quota in µs per second and keeps whole percents, so
// it is rounded up; the exact value goes into the file.
func cpuQuota(quota, period uint64) []Property {
	var out []Property
	if period != defaultPeriod {
		out = append(out, Property{"CPUQuotaPeriodUSec", period})
	}
	perSec := infinity
	if quota != infinity && quota < math.MaxUint64/1000000 {
		const percent = 10000
		perSec = (quota*1000000/period + percent - 1) / percent * percent
	}
	return append(out, Property{"CPUQuotaPerSecUSec", perSec})
}

// bitmap turns "0-3,8" into systemd's bytes, lowest bit first.
func bitmap(s string) ([]byte, error) {
	var out []byte
	for part := range strings.SplitSeq(s, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		lo, hi, ok := strings.Cut(part, "-")
		if !ok {
			hi = lo
		}
		a, err := strconv.ParseUint(lo, 10, 13)
		b, err2 := strconv.ParseUint(hi, 10, 13)
		if err != nil || err2 != nil || a > b {
			return nil, fmt.Errorf("%.80q is not a list like 0-3,8", s)
		}
		for ; a <= b; a++ {
			for uint64(len(out)) <= a/8 {
				out = append(out, 0)
			}
			out[a/8] |= 1 << (a % 8)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%.80q is an empty list", s)
	}
	return out, nil
}

// limitsV1 are v1's properties; systemd knows few.
func limitsV1(r *specs.LinuxResources) []Property {
	var out []Property
	if r == nil {
		return nil
	}
	if m := r.Memory; m != nil && m.Limit != nil && *m.Limit != 0 {
		out = append(out, Property{"MemoryLimit", uint64(*m.Limit)})
	}
	if c := r.CPU; c != nil {
		if c.Shares != nil && *c.Shares != 0 {
			out = append(out, Property{"CPUShares", *c.Shares})
		}
		if c.Quota != nil && *c.Quota != 0 {
			period, q := uint64(defaultPeriod), infinity
			if c.Period != nil && *c.Period != 0 {
				period = *c.Period
			}
			if *c.Quota > 0 {
				q = uint64(*c.Quota)
			}
			out = append(out, cpuQuota(q, period)...)
		}
	}
	if b := r.BlockIO; b != nil && b.Weight != nil && *b.Weight != 0 {
		out = append(out, Property{"BlockIOWeight", uint64(*b.Weight)})
	}
	if p := r.Pids; p != nil && p.Limit != nil {
		n := infinity
		if *p.Limit >= 0 {
			n = uint64(max(*p.Limit, 1))
		}
		out = append(out, Property{"TasksMax", n})
	}
	return out
}
