package cgroup

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// lowering turns one LinuxResources into writes.
type lowering struct {
	t    *tree
	ws   []write
	live bool // for a running container: absent values are kept
}

// errNotAvailable is wrapped when a limit needs a controller that is not there.
var errNotAvailable = errors.New("not available")

// all lowers in the order in which the kernel takes it best: cpuset and
// realtime before a process is inside, unified last, as it overrides.
func (b *lowering) all(res *specs.LinuxResources) error {
	for _, f := range []func(*specs.LinuxResources) error{
		b.cpuset, b.cpu, b.memory, b.pids, b.blockIO, b.hugepages, b.network, b.rdma, b.unified,
	} {
		if err := f(res); err != nil {
			return err
		}
	}
	return nil
}

// need returns where the controller lives; v2 says that it is the unified one.
func (b *lowering) need(ctrl, field string) (p *place, v2 bool, err error) {
	p = b.t.at(ctrl)
	if p == nil {
		return nil, false, fmt.Errorf("%s: the cgroup controller %s is %w here (cgroup %s)", field, ctrl, errNotAvailable, b.t.l.Mode)
	}
	return p, p.h == b.t.l.v2, nil
}

func (b *lowering) put(p *place, ctrl, file, field string, vals ...string) *write {
	b.ws = append(b.ws, write{ctrl: ctrl, file: file, vals: vals, field: field, p: p})
	return &b.ws[len(b.ws)-1]
}

func noV2(field, why string) error {
	return fmt.Errorf("%s: cgroup v2 has no such setting%s", field, why)
}

func num[T int64 | uint64 | uint32 | uint16](v T) string { return strconv.FormatInt(int64(v), 10) }

func orMax(v int64) string {
	if v < 0 {
		return "max"
	}
	return num(v)
}

func (b *lowering) cpuset(res *specs.LinuxResources) error {
	c := res.CPU
	if c == nil {
		return nil
	}
	for _, s := range []struct{ file, field, v string }{
		{"cpuset.cpus", resField + "cpu.cpus", c.Cpus}, {"cpuset.mems", resField + "cpu.mems", c.Mems},
	} {
		if s.v == "" {
			continue
		}
		p, _, err := b.need("cpuset", s.field)
		if err != nil {
			return err
		}
		b.put(p, "cpuset", s.file, s.field, s.v)
	}
	return nil
}

func (b *lowering) cpu(res *specs.LinuxResources) error {
	c := res.CPU
	if c == nil {
		return nil
	}
	field := ""
	switch {
	case value(c.Shares) != 0:
		field = "cpu.shares"
	case value(c.Quota) != 0:
		field = "cpu.quota"
	case value(c.Period) != 0:
		field = "cpu.period"
	case c.Burst != nil:
		field = "cpu.burst"
	case value(c.RealtimeRuntime) != 0:
		field = "cpu.realtimeRuntime"
	case value(c.RealtimePeriod) != 0:
		field = "cpu.realtimePeriod"
	case c.Idle != nil:
		field = "cpu.idle"
	default:
		return nil
	}
	p, v2, err := b.need("cpu", resField+field)
	if err != nil {
		return err
	}
	if v2 {
		return b.cpuV2(p, c)
	}
	return b.cpuV1(p, c)
}

func (b *lowering) cpuV1(p *place, c *specs.LinuxCPU) error {
	if s := value(c.Shares); s != 0 && (s < 2 || s > 262144) {
		return fmt.Errorf("%scpu.shares: %d is not within 2..262144", resField, s)
	}
	if v := value(c.RealtimePeriod); v != 0 {
		w := b.put(p, "cpu", "cpu.rt_period_us", resField+"cpu.realtimePeriod", num(v))
		w.swap = value(c.RealtimeRuntime) != 0
	}
	if v := value(c.RealtimeRuntime); v != 0 {
		b.put(p, "cpu", "cpu.rt_runtime_us", resField+"cpu.realtimeRuntime", num(v))
	}
	idle := func() {
		b.put(p, "cpu", "cpu.idle", resField+"cpu.idle", num(*c.Idle))
	}
	// The kernel refuses shares for an idle group.
	if c.Idle != nil && *c.Idle == 0 {
		idle()
	}
	if v := value(c.Shares); v != 0 {
		b.put(p, "cpu", "cpu.shares", resField+"cpu.shares", num(v))
	}
	if c.Idle != nil && *c.Idle == 1 {
		idle()
	}
	quota := value(c.Quota)
	if v := value(c.Period); v != 0 {
		b.put(p, "cpu", "cpu.cfs_period_us", resField+"cpu.period", num(v)).swap = quota != 0
	}
	if quota != 0 {
		b.put(p, "cpu", "cpu.cfs_quota_us", resField+"cpu.quota", num(max(quota, -1))).swap = c.Burst != nil
	}
	if c.Burst != nil {
		b.put(p, "cpu", "cpu.cfs_burst_us", resField+"cpu.burst", num(*c.Burst))
	}
	return nil
}

func (b *lowering) cpuV2(p *place, c *specs.LinuxCPU) error {
	if value(c.RealtimeRuntime) != 0 || value(c.RealtimePeriod) != 0 {
		return noV2(resField+"cpu.realtimeRuntime", " (realtime)")
	}
	idle := func() {
		b.put(p, "cpu", "cpu.idle", resField+"cpu.idle", num(*c.Idle))
	}
	if c.Idle != nil && *c.Idle == 0 {
		idle()
	}
	if v := value(c.Shares); v != 0 {
		b.put(p, "cpu", "cpu.weight", resField+"cpu.shares", num(weightOfShares(v)))
	}
	if c.Idle != nil && *c.Idle == 1 {
		idle()
	}
	quota, period := value(c.Quota), value(c.Period)
	if quota != 0 || period != 0 {
		v, field := orMax(quota), resField+"cpu.quota"
		if quota == 0 {
			v, field = "max", resField+"cpu.period"
			if b.live {
				now, err := p.h.readString(p.rel, "cpu.max")
				if err != nil {
					return fmt.Errorf("%s: read cpu.max: %w", field, err)
				}
				v, _, _ = strings.Cut(now, " ")
			}
		}
		if period != 0 {
			v += " " + num(period) // alone, the quota keeps the period
		}
		b.put(p, "cpu", "cpu.max", field, v).swap = c.Burst != nil
	}
	if c.Burst != nil {
		b.put(p, "cpu", "cpu.max.burst", resField+"cpu.burst", num(*c.Burst))
	}
	return nil
}

func (b *lowering) pids(res *specs.LinuxResources) error {
	if res.Pids == nil || res.Pids.Limit == nil {
		return nil
	}
	field := resField + "pids.limit"
	p, _, err := b.need("pids", field)
	if err != nil {
		if *res.Pids.Limit < 0 {
			return nil // unlimited is what there is
		}
		return err
	}
	v := *res.Pids.Limit
	if v == 0 {
		v = 1 // systemd's TasksMax knows no 0; both drivers agree, as in runc
	}
	b.put(p, "pids", "pids.max", field, orMax(v))
	return nil
}

func (b *lowering) hugepages(res *specs.LinuxResources) error {
	for i, h := range res.HugepageLimits {
		field := fmt.Sprintf("%shugepageLimits[%d]", resField, i)
		p, v2, err := b.need("hugetlb", field)
		if err != nil {
			return err
		}
		pre, file := "hugetlb."+h.Pagesize, ".limit_in_bytes"
		if v2 {
			file = ".max"
		}
		v := strconv.FormatUint(h.Limit, 10)
		b.put(p, "hugetlb", pre+file, field, v)
		b.put(p, "hugetlb", pre+".rsvd"+file, field, v).optional = true
	}
	return nil
}

func (b *lowering) network(res *specs.LinuxResources) error {
	n := res.Network
	if n == nil {
		return nil
	}
	if value(n.ClassID) != 0 {
		field := resField + "network.classID"
		p, v2, err := b.need("net_cls", field)
		if err != nil {
			return err
		}
		if v2 {
			return noV2(field, "")
		}
		b.put(p, "net_cls", "net_cls.classid", field, num(*n.ClassID))
	}
	if len(n.Priorities) > 0 {
		field := resField + "network.priorities"
		p, v2, err := b.need("net_prio", field)
		if err != nil {
			return err
		}
		if v2 {
			return noV2(field, "")
		}
		w := b.put(p, "net_prio", "net_prio.ifpriomap", field)
		for _, e := range n.Priorities {
			w.vals = append(w.vals, e.Name+" "+num(e.Priority))
		}
	}
	return nil
}

func (b *lowering) rdma(res *specs.LinuxResources) error {
	if len(res.Rdma) == 0 {
		return nil
	}
	field := resField + "rdma"
	p, _, err := b.need("rdma", field)
	if err != nil {
		return err
	}
	var vals []string
	for _, name := range sortedKeys(res.Rdma) {
		r, line := res.Rdma[name], name
		if r.HcaHandles != nil {
			line += " hca_handle=" + num(*r.HcaHandles)
		}
		if r.HcaObjects != nil {
			line += " hca_object=" + num(*r.HcaObjects)
		}
		if line != name {
			vals = append(vals, line)
		}
	}
	if len(vals) > 0 {
		b.put(p, "rdma", "rdma.max", field, vals...)
	}
	return nil
}

func (b *lowering) unified(res *specs.LinuxResources) error {
	for _, k := range sortedKeys(res.Unified) {
		field := resField + "unified." + k
		p := b.t.v2()
		if p == nil {
			return fmt.Errorf("%s: no cgroup v2 hierarchy is mounted here", field)
		}
		ctrl, _, _ := strings.Cut(k, ".")
		switch ctrl {
		case "cgroup":
		case "io", "blkio":
			if err := b.hasUnified("io", field); err != nil {
				return err
			}
		default:
			if err := b.hasUnified(ctrl, field); err != nil {
				return err
			}
		}
		vals := strings.Split(strings.TrimRight(res.Unified[k], "\n"), "\n")
		b.put(p, ctrl, k, field, vals...)
	}
	return nil
}

func (b *lowering) hasUnified(ctrl, field string) error {
	for _, c := range b.t.l.unified() {
		if c == ctrl {
			return nil
		}
	}
	return fmt.Errorf("%s: the cgroup v2 controller %s is %w here", field, ctrl, errNotAvailable)
}
