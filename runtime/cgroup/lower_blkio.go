package cgroup

import (
	"fmt"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

const ioField = resField + "blockIO."

// blockIO: v1 calls the controller blkio, v2 io.
func (b *lowering) blockIO(res *specs.LinuxResources) error {
	d := res.BlockIO
	if d == nil {
		return nil
	}
	field := ""
	switch {
	case value(d.Weight) != 0:
		field = "weight"
	case value(d.LeafWeight) != 0:
		field = "leafWeight"
	case len(d.WeightDevice) > 0:
		field = "weightDevice"
	default:
		for _, t := range throttleFiles {
			if len(t.list(d)) > 0 {
				field = t.name
				break
			}
		}
	}
	if field == "" {
		return nil
	}
	if p := b.t.at("blkio"); p != nil {
		b.blkioV1(p, d)
		return nil
	}
	p, _, err := b.need("io", ioField+field)
	if err != nil {
		return err
	}
	return b.ioV2(p, d)
}

// throttleFiles is the table of throttles: v1 file, v2 key.
var throttleFiles = []struct {
	name, v1, v2 string
	list         func(*specs.LinuxBlockIO) []specs.LinuxThrottleDevice
}{
	{"throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps", func(d *specs.LinuxBlockIO) []specs.LinuxThrottleDevice { return d.ThrottleReadBpsDevice }},
	{"throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps", func(d *specs.LinuxBlockIO) []specs.LinuxThrottleDevice { return d.ThrottleWriteBpsDevice }},
	{"throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "riops", func(d *specs.LinuxBlockIO) []specs.LinuxThrottleDevice { return d.ThrottleReadIOPSDevice }},
	{"throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "wiops", func(d *specs.LinuxBlockIO) []specs.LinuxThrottleDevice { return d.ThrottleWriteIOPSDevice }},
}

func (b *lowering) blkioV1(p *place, d *specs.LinuxBlockIO) {
	// The file's name depends on the scheduler that the kernel was built with.
	put := func(file, bfq, field, v string) {
		w := b.put(p, "blkio", file, ioField+field, v)
		if bfq != "" {
			w.or = &write{ctrl: "blkio", file: bfq, vals: []string{v}, field: w.field, p: p}
		}
	}
	if v := value(d.Weight); v != 0 {
		put("blkio.weight", "blkio.bfq.weight", "weight", num(v))
	}
	if v := value(d.LeafWeight); v != 0 {
		put("blkio.leaf_weight", "", "leafWeight", num(v))
	}
	for i, w := range d.WeightDevice {
		at := fmt.Sprintf("weightDevice[%d]", i)
		if v := value(w.Weight); v != 0 {
			put("blkio.weight_device", "blkio.bfq.weight_device", at+".weight", devLine(w.LinuxBlockIODevice, num(v)))
		}
		if v := value(w.LeafWeight); v != 0 {
			put("blkio.leaf_weight_device", "", at+".leafWeight", devLine(w.LinuxBlockIODevice, num(v)))
		}
	}
	for _, t := range throttleFiles {
		var vals []string
		for _, e := range t.list(d) {
			vals = append(vals, devLine(e.LinuxBlockIODevice, strconv.FormatUint(e.Rate, 10)))
		}
		if len(vals) > 0 {
			b.put(p, "blkio", t.v1, ioField+t.name, vals...)
		}
	}
}

func (b *lowering) ioV2(p *place, d *specs.LinuxBlockIO) error {
	if value(d.LeafWeight) != 0 {
		return noV2(ioField+"leafWeight", "")
	}
	put := func(field, bfq, plain string) {
		w := b.put(p, "io", "io.bfq.weight", ioField+field, bfq)
		w.or = &write{ctrl: "io", file: "io.weight", vals: []string{plain}, field: w.field, p: p}
	}
	if v := value(d.Weight); v != 0 {
		put("weight", num(v), num(weightOfBlkio(v)))
	}
	for i, w := range d.WeightDevice {
		at := fmt.Sprintf("weightDevice[%d].", i)
		if value(w.LeafWeight) != 0 {
			return noV2(ioField+at+"leafWeight", "")
		}
		if v := value(w.Weight); v != 0 {
			put(at+"weight", devLine(w.LinuxBlockIODevice, num(v)), devLine(w.LinuxBlockIODevice, num(weightOfBlkio(v))))
		}
	}
	for _, t := range throttleFiles {
		var vals []string
		for _, e := range t.list(d) {
			rate := "max" // the kernel refuses 0, which v1 and the spec take as none
			if e.Rate != 0 {
				rate = strconv.FormatUint(e.Rate, 10)
			}
			vals = append(vals, devLine(e.LinuxBlockIODevice, t.v2+"="+rate))
		}
		if len(vals) > 0 {
			b.put(p, "io", "io.max", ioField+t.name, vals...)
		}
	}
	return nil
}

func devLine(d specs.LinuxBlockIODevice, v string) string {
	return num(d.Major) + ":" + num(d.Minor) + " " + v
}
