package cgroup

//lint:file-ignore SA1019 kernel memory limits are deprecated, and v1 kernels have them

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Caps on lists of the bundle: a page of rules is thousands of bytes; nobody
// writes more by hand, and each becomes a write(2).
const (
	listCap   = 1024
	deviceCap = 1024
	valueCap  = 4096
)

const resField = "linux.resources."

// check refuses what no kernel accepts, naming the field. It returns an empty
// value for nil.
func check(res *specs.LinuxResources) (*specs.LinuxResources, error) {
	if res == nil {
		return &specs.LinuxResources{}, nil
	}
	for _, f := range []func(*specs.LinuxResources) error{checkMemory, checkCPU, checkBlockIO, checkNames, checkUnified} {
		if err := f(res); err != nil {
			return nil, err
		}
	}
	return res, nil
}

func checkMemory(res *specs.LinuxResources) error {
	m := res.Memory
	if m == nil {
		return nil
	}
	for _, f := range []struct {
		name string
		v    *int64
	}{{"limit", m.Limit}, {"reservation", m.Reservation}, {"swap", m.Swap}, {"kernel", m.Kernel}, {"kernelTCP", m.KernelTCP}} {
		if f.v != nil && *f.v < -1 {
			return fmt.Errorf("%smemory.%s: %d is not a size (-1 is unlimited)", resField, f.name, *f.v)
		}
	}
	if m.Swappiness != nil && *m.Swappiness > 100 {
		return fmt.Errorf("%smemory.swappiness: %d is not within 0..100", resField, *m.Swappiness)
	}
	limit, swap := value(m.Limit), value(m.Swap)
	if swap > 0 && (limit > swap || limit == -1) {
		return fmt.Errorf("%smemory.swap: %d (memory and swap together) is below limit %d", resField, swap, limit)
	}
	return nil
}

func checkCPU(res *specs.LinuxResources) error {
	c := res.CPU
	if c == nil {
		return nil
	}
	if c.Idle != nil && *c.Idle != 0 && *c.Idle != 1 {
		return fmt.Errorf("%scpu.idle: %d is neither 0 nor 1", resField, *c.Idle)
	}
	if c.Period != nil && *c.Period != 0 && (*c.Period < 1000 || *c.Period > 1000000) {
		return fmt.Errorf("%scpu.period: %d µs is not within 1000..1000000", resField, *c.Period)
	}
	if err := checkSet("cpu.cpus", c.Cpus); err != nil {
		return err
	}
	return checkSet("cpu.mems", c.Mems)
}

// checkSet takes the kernel's list format: "0-3,8".
func checkSet(name, s string) error {
	if len(s) > valueCap {
		return fmt.Errorf("%s%s: more than %d bytes", resField, name, valueCap)
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && c != ',' && c != '-' && c != ' ' {
			return fmt.Errorf("%s%s: %.80q is not a list like 0-3,8", resField, name, s)
		}
	}
	return nil
}

func checkBlockIO(res *specs.LinuxResources) error {
	b := res.BlockIO
	if b == nil {
		return nil
	}
	n := len(b.WeightDevice) + len(b.ThrottleReadBpsDevice) + len(b.ThrottleWriteBpsDevice) +
		len(b.ThrottleReadIOPSDevice) + len(b.ThrottleWriteIOPSDevice)
	if n > listCap {
		return fmt.Errorf("%sblockIO: more than %d devices", resField, listCap)
	}
	weight := func(name string, w *uint16) error {
		if w != nil && *w != 0 && (*w < 10 || *w > 1000) {
			return fmt.Errorf("%sblockIO.%s: %d is not within 10..1000", resField, name, *w)
		}
		return nil
	}
	if err := weight("weight", b.Weight); err != nil {
		return err
	}
	if err := weight("leafWeight", b.LeafWeight); err != nil {
		return err
	}
	for i, d := range b.WeightDevice {
		at := fmt.Sprintf("weightDevice[%d]", i)
		if err := devNumber(resField+"blockIO."+at, d.Major, d.Minor); err != nil {
			return err
		}
		if err := weight(at+".weight", d.Weight); err != nil {
			return err
		}
		if err := weight(at+".leafWeight", d.LeafWeight); err != nil {
			return err
		}
	}
	for name, list := range throttles(b) {
		for i, d := range list {
			if err := devNumber(fmt.Sprintf("%sblockIO.%s[%d]", resField, name, i), d.Major, d.Minor); err != nil {
				return err
			}
		}
	}
	return nil
}

func throttles(b *specs.LinuxBlockIO) map[string][]specs.LinuxThrottleDevice {
	return map[string][]specs.LinuxThrottleDevice{
		"throttleReadBpsDevice": b.ThrottleReadBpsDevice, "throttleWriteBpsDevice": b.ThrottleWriteBpsDevice,
		"throttleReadIOPSDevice": b.ThrottleReadIOPSDevice, "throttleWriteIOPSDevice": b.ThrottleWriteIOPSDevice,
	}
}

// devNumber: the kernel's device numbers have 12 and 20 bits (kdev_t.h).
func devNumber(field string, major, minor int64) error {
	if major < 0 || major >= 1<<12 || minor < 0 || minor >= 1<<20 {
		return fmt.Errorf("%s: %d:%d is not a device number", field, major, minor)
	}
	return nil
}

// checkNames checks the texts that become part of a line: page sizes, network
// interfaces, rdma devices.
func checkNames(res *specs.LinuxResources) error {
	if len(res.HugepageLimits) > listCap || len(res.Rdma) > listCap {
		return fmt.Errorf("%shugepageLimits, rdma: more than %d entries", resField, listCap)
	}
	for i, h := range res.HugepageLimits {
		if !pageSize(h.Pagesize) {
			return fmt.Errorf("%shugepageLimits[%d].pageSize: %.40q is not a size like 2MB", resField, i, h.Pagesize)
		}
	}
	if n := res.Network; n != nil {
		if len(n.Priorities) > listCap {
			return fmt.Errorf("%snetwork.priorities: more than %d entries", resField, listCap)
		}
		for i, p := range n.Priorities {
			if !word(p.Name, 15) { // IFNAMSIZ-1
				return fmt.Errorf("%snetwork.priorities[%d].name: %.40q is not an interface name", resField, i, p.Name)
			}
		}
	}
	for name := range res.Rdma {
		if !word(name, 63) { // IB_DEVICE_NAME_MAX-1
			return fmt.Errorf("%srdma: %.80q is not a device name", resField, name)
		}
	}
	return nil
}

// pageSize takes "<number>KB", MB or GB.
func pageSize(s string) bool {
	n := strings.TrimRight(s, "KMGB")
	unit := s[len(n):]
	if len(n) == 0 || len(n) > 6 || n[0] == '0' || (unit != "KB" && unit != "MB" && unit != "GB") {
		return false
	}
	return strings.Trim(n, "0123456789") == ""
}

// word takes 1..limit printable ASCII characters without blanks or slashes.
func word(s string, limit int) bool {
	if s == "" || len(s) > limit {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f || s[i] == '/' {
			return false
		}
	}
	return true
}

// checkUnified takes "controller.file" keys; the core files that move
// processes or end them are not resources.
func checkUnified(res *specs.LinuxResources) error {
	if len(res.Unified) > listCap {
		return fmt.Errorf("%sunified: more than %d entries", resField, listCap)
	}
	for _, k := range sortedKeys(res.Unified) {
		if !word(k, nameCap) || strings.IndexByte(k, '.') <= 0 {
			return fmt.Errorf("%sunified: %.80q is not a file name like memory.high", resField, k)
		}
		if strings.HasPrefix(k, "cgroup.") && !slices.Contains(coreFiles, k) {
			return fmt.Errorf("%sunified: %q is not a resource", resField, k)
		}
		v := res.Unified[k]
		if len(v) > valueCap {
			return fmt.Errorf("%sunified.%s: more than %d bytes", resField, k, valueCap)
		}
		for i := range len(v) {
			if c := v[i]; (c < 0x20 && c != '\n' && c != '\t') || c == 0x7f {
				return fmt.Errorf("%sunified.%s: control character %#02x", resField, k, c)
			}
		}
	}
	return nil
}

// coreFiles are the cgroup.* files that limit.
var coreFiles = []string{"cgroup.max.depth", "cgroup.max.descendants", "cgroup.pressure"}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}

// value reads an optional number; the field takes 0 as not given, as every
// runtime does.
func value[T int64 | uint64 | uint32 | uint16](p *T) T {
	if p == nil {
		return 0
	}
	return *p
}
