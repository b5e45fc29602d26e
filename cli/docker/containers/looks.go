package containers

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/api/docker/wire"
	"berth/base/fault"
	"berth/container"
	"berth/container/config"
	"berth/engine"
	"berth/network"
)

// looks is Looks on the engine of this machine.
type looks struct{ e *engine.Engine }

func (l looks) Top(ctx context.Context, name string, psArgs []string) (titles []string, rows [][]string, err error) {
	return engine.Top(ctx, l.e, name, psArgs)
}

func (l looks) Diff(ctx context.Context, name string) ([]Change, error) {
	all, err := engine.ContainerDiff(ctx, l.e, name)
	if err != nil {
		return nil, err
	}
	out := make([]Change, len(all))
	for i, c := range all {
		out[i] = Change{Kind: c.Kind, Path: c.Path}
	}
	return out, nil
}

func (l looks) Ports(ctx context.Context, name string) ([]PortBinding, error) {
	i, err := engine.Inspect(ctx, l.e, name)
	if err != nil {
		return nil, err
	}
	if i.Facts.Started == nil || !i.Facts.State().Live() {
		return nil, nil
	}
	return bindings(i.Facts.Started.Ports), nil
}

func bindings(all []config.Port) []PortBinding {
	var out []PortBinding
	for _, p := range all {
		b := PortBinding{Protocol: p.Protocol, Container: p.Container, Host: p.Host, Count: max(1, p.Count), Address: p.Address}
		if b.Host == 0 || b.Address != "" {
			out = append(out, b)
			continue
		}
		for _, any := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
			b.Address = any.String()
			out = append(out, b)
		}
	}
	return out
}

func (l looks) List(ctx context.Context, o ListOptions) ([]Summary, error) {
	all, err := engine.Containers(ctx, l.e)
	if err != nil {
		return nil, err
	}
	f, err := newChoice(all, l.networksByName(o))
	if err != nil {
		return nil, err
	}
	var chosen []container.Summary
	for i := range all {
		if o.Last > 0 && len(chosen) == o.Last {
			break
		}
		if f.takes(&all[i]) {
			chosen = append(chosen, all[i])
		}
	}
	out := make([]Summary, len(chosen))
	for i := range chosen {
		out[i] = summaryOf(&chosen[i])
	}
	if !o.Size {
		return out, nil
	}
	sizes, err := engine.ContainerSizes(ctx, l.e, chosen)
	if err != nil {
		return nil, err
	}
	for i := range sizes {
		out[i].Size, out[i].RootSize = sizes[i].Own, sizes[i].All
	}
	return out, nil
}

// networksByName puts names in the place of the ids of networks in the filters.
func (l looks) networksByName(o ListOptions) ListOptions {
	if len(o.Filters["network"]) == 0 {
		return o
	}
	o.Filters = maps.Clone(o.Filters)
	names := slices.Clone(o.Filters["network"])
	for i, v := range names {
		if n, err := l.e.Networks.Find(v); err == nil {
			names[i] = n.Name
		}
	}
	o.Filters["network"] = names
	return o
}

func summaryOf(c *container.Summary) Summary {
	s := Summary{
		ID: string(c.ID), Name: c.Name, Image: c.Image, ImageID: c.ImageID, Command: c.Command, Created: c.Created, Labels: c.Labels,
		Mounts: c.Volumes, Networks: c.Networks, Exposed: bindings(c.Expose),
		State: State{Status: string(c.State())},
	}
	f := &c.Facts
	if f.Started != nil {
		s.State.StartedAt = f.Started.At
	}
	if x, ok := f.Ended(); ok {
		s.State.ExitCode, s.State.FinishedAt = x.Code, x.Time
	}
	if c.Health {
		s.State.Health = f.HealthNow().Status
	}
	if c.State().Live() {
		s.PID, s.Ports = f.Started.PID, bindings(f.Started.Ports)
	}
	return s
}

func (l looks) Inspect(ctx context.Context, name string, size bool) (*wire.Container, error) {
	i, err := engine.Inspect(ctx, l.e, name)
	if err != nil {
		return nil, err
	}
	rec, r := i.Record, &i.Record.Resolved
	f := &wire.Facts{
		ID: string(rec.ID), Name: rec.Name, ImageID: rec.Image.ID, Created: rec.Created, Driver: "overlay2", RestartCount: i.Facts.Restarts,
		Process: wire.Process{Entrypoint: r.Entrypoint, Cmd: r.Cmd, Env: r.Env, User: r.User, WorkDir: r.WorkDir, Hostname: rec.Hostname, Labels: r.Labels,
			Volumes: r.Volumes, Exposed: portWords(r.Expose), StopSignal: r.StopSignal},
		State: lifeOf(i.Facts),
		Paths: wire.Paths{ResolvConf: filepath.Join(i.Home, "resolv.conf"), Hostname: filepath.Join(i.Home, "hostname"), Hosts: filepath.Join(i.Home, "hosts"), Log: rec.LogPath},
		GraphData: map[string]string{"LowerDir": strings.Join(i.Tree.Lower, ":"), "UpperDir": i.Tree.Upper, "WorkDir": i.Tree.Work,
			"MergedDir": filepath.Join(filepath.Dir(i.Tree.Upper), "merged")},
	}
	f.Labels.Process, f.Labels.Mount = rec.SELinux.Process, rec.SELinux.Mount
	f.State.Health, f.Process.Health = healthOf(i), checkOf(rec)
	if i.Facts.Started != nil {
		f.Labels.AppArmor = i.Facts.Started.AppArmor
	}
	if args := r.Args(); len(args) > 0 {
		f.Process.Path, f.Process.Args = args[0], args[1:]
	}
	for _, m := range rec.Mounts {
		f.Mounts = append(f.Mounts, wire.MountPoint{Type: m.Kind, Name: m.Name, Source: m.Source, Destination: m.Target, Driver: m.Driver, Mode: m.Mode,
			RW: !m.ReadOnly, Propagation: m.Propagation})
	}
	networksInto(f, i)
	if size {
		u, err := engine.ContainerSize(ctx, l.e, rec)
		if err != nil {
			return nil, err
		}
		f.Size = &wire.Size{Own: u.Own, Root: u.All}
	}
	doc := wire.Inspect(&rec.Config, f)
	doc.HostConfig.Links = i.Links
	return doc, nil
}

func lifeOf(f *container.Facts) wire.Life {
	l := wire.Life{Status: string(f.State())}
	if f.Started != nil {
		l.StartedAt = f.Started.At
		if f.State().Live() {
			l.PID = f.Started.PID
		}
	}
	if x, ok := f.Ended(); ok && !f.State().Live() {
		l.ExitCode, l.OOMKilled, l.Error, l.FinishedAt = x.Code, x.OOM, x.Error, x.Time
	}
	return l
}

// healthOf is nil without a healthcheck, and for what never ran.
func healthOf(i *engine.Inspection) *wire.Health {
	now := i.Facts.HealthNow()
	if i.Record.Resolved.Health == nil || now.Status == "" {
		return nil
	}
	h := &wire.Health{Status: now.Status, FailingStreak: now.Failing, Log: []wire.HealthResult{}}
	for _, r := range i.HealthLog {
		h.Log = append(h.Log, wire.HealthResult{Start: r.Start.Format(time.RFC3339Nano), End: r.End.Format(time.RFC3339Nano), ExitCode: r.Code, Output: r.Output})
	}
	return h
}

// checkOf is the healthcheck as docker shows it in the configuration.
func checkOf(rec *container.Record) *wire.Healthcheck {
	if c := rec.Config.Health; c != nil && c.None {
		return &wire.Healthcheck{Test: []string{"NONE"}}
	}
	h := rec.Resolved.Health
	if h == nil {
		return nil
	}
	return &wire.Healthcheck{Test: h.Test, Interval: int64(h.Interval), Timeout: int64(h.Timeout), StartPeriod: int64(h.StartPeriod),
		StartInterval: int64(h.StartInterval), Retries: h.Retries}
}

// networksInto tells where the container is on its networks, or where it was asked
// to be.
func networksInto(f *wire.Facts, i *engine.Inspection) {
	f.Networks = map[string]*wire.Endpoint{}
	for _, p := range i.Places {
		e := &wire.Endpoint{NetworkID: p.NetworkID, EndpointID: p.EndpointID, Links: p.Links, Aliases: p.Aliases, DriverOpts: p.DriverOpts, GwPriority: p.Priority}
		if p.IPv4 != "" || p.IPv6 != "" || len(p.LinkLocal) > 0 {
			e.IPAMConfig = &wire.EndpointIPAM{IPv4Address: p.IPv4, IPv6Address: p.IPv6, LinkLocalIPs: p.LinkLocal}
		}
		f.Networks[p.Network] = e
		if p.Now != nil {
			placed(e, p.Now)
			if f.Primary == "" || p.Now.Default {
				f.Primary = p.Network
			}
		}
	}
	if f.Primary != network.Default { // as with docker
		f.Primary = ""
	}
	if !i.Facts.State().Live() || i.Record.Config.Network.Mode == network.Host {
		return
	}
	f.Ports = map[string][]wire.PortBinding{}
	f.SandboxKey = fmt.Sprintf("/proc/%d/ns/net", i.Facts.Started.PID)
	if p, ok := strings.CutPrefix(i.Record.Config.Network.Mode, "ns:"); ok {
		f.SandboxKey = p
	}
	for _, p := range bindings(i.Facts.Started.Ports) {
		for n := range p.Count {
			key := fmt.Sprintf("%d/%s", p.Container+n, p.Protocol)
			b := wire.PortBinding{HostIp: p.Address}
			if p.Host != 0 { // a routed network takes no port of the host
				b.HostPort = strconv.Itoa(int(p.Host + n))
			}
			f.Ports[key] = append(f.Ports[key], b)
		}
	}
}

// placed fills in what a container has on a network.
func placed(e *wire.Endpoint, a *network.Attached) {
	e.EndpointID, e.MacAddress = a.EndpointID, a.MAC
	if a.IPv4.IsValid() {
		e.IPAddress, e.IPPrefixLen = a.IPv4.Addr().String(), a.IPv4.Bits()
	}
	if a.IPv6.IsValid() {
		e.GlobalIPv6Address, e.GlobalIPv6PrefixLen = a.IPv6.Addr().String(), a.IPv6.Bits()
	}
	if a.Gateway.IsValid() {
		e.Gateway = a.Gateway.String()
	}
	if a.Gateway6.IsValid() {
		e.IPv6Gateway = a.Gateway6.String()
	}
}

// portWords are ports as docker writes them: 80/tcp.
func portWords(all []config.Port) []string {
	var out []string
	for _, p := range all {
		for n := range max(1, p.Count) {
			out = append(out, fmt.Sprintf("%d/%s", p.Container+n, p.Protocol))
		}
	}
	return out
}

// choice is which containers a list shows: docker's filters, any value of a key,
// all keys.
type choice struct {
	all           bool
	filters       map[string][]string
	before, since *container.Summary
}

// filterKeys are docker's keys for ps.
var filterKeys = []string{"id", "name", "label", "exited", "status", "before", "since", "ancestor", "volume", "network", "publish", "expose", "health", "is-task"}

var states = []string{"created", "initialized", "running", "paused", "restarting", "removing", "exited", "dead"}

func newChoice(all []container.Summary, o ListOptions) (*choice, error) {
	c := &choice{all: o.All || o.Last > 0, filters: o.Filters}
	for key, values := range o.Filters {
		if !slices.Contains(filterKeys, key) {
			return nil, fault.New(fault.Invalid, "Invalid filter '%s'", key)
		}
		for _, v := range values {
			if err := c.check(all, key, v); err != nil {
				return nil, err
			}
		}
	}
	return c, nil
}

// check refuses a value that makes no sense, and finds the containers that
// before and since name.
func (c *choice) check(all []container.Summary, key, v string) error {
	switch key {
	case "status":
		if !slices.Contains(states, v) {
			return fault.New(fault.Invalid, "Invalid filter 'status=%s'", v)
		}
		c.all = true
	case "health":
		if !slices.Contains([]string{container.HealthStarting, container.HealthHealthy, container.HealthUnhealthy, "none"}, v) {
			return fault.New(fault.Invalid, "Unrecognised filter value for health: %s", v)
		}
	case "exited":
		if _, err := strconv.Atoi(v); err != nil {
			return fault.New(fault.Invalid, "Invalid filter 'exited=%s'", v)
		}
		c.all = true
	case "before", "since":
		i := slices.IndexFunc(all, func(s container.Summary) bool { return s.Name == v || strings.HasPrefix(string(s.ID), v) })
		if i < 0 {
			return fault.New(fault.NotFound, "No such container: %s", v)
		}
		if key == "before" {
			c.before = &all[i]
		} else {
			c.since = &all[i]
		}
		c.all = true
	}
	return nil
}

func (c *choice) takes(s *container.Summary) bool {
	state := s.State()
	shown := state.Live() && state != container.StateInitialized || state == container.StateRestarting
	if !c.all && !shown {
		return false
	}
	for key, values := range c.filters {
		if len(values) > 0 && !slices.ContainsFunc(values, func(v string) bool { return c.fits(s, key, v) }) {
			return false
		}
	}
	return true
}

func (c *choice) fits(s *container.Summary, key, v string) bool {
	switch key {
	case "id":
		return strings.HasPrefix(string(s.ID), v)
	case "name":
		return engine.MatchesName(v, s.Name) || engine.MatchesName(v, "/"+s.Name)
	case "label":
		return engine.HasLabel(s.Labels, v)
	case "status":
		return string(s.State()) == v
	case "exited":
		x, ok := s.Facts.Ended()
		return ok && !s.State().Live() && strconv.Itoa(x.Code) == v
	case "before":
		return s.Created.Before(c.before.Created)
	case "since":
		return s.Created.After(c.since.Created)
	case "ancestor":
		return s.Image == v || strings.TrimSuffix(s.Image, ":latest") == v || strings.HasPrefix(strings.TrimPrefix(s.ImageID, "sha256:"), strings.TrimPrefix(v, "sha256:"))
	case "volume":
		return slices.Contains(s.Volumes, v) || slices.Contains(s.Targets, v)
	case "network":
		return slices.Contains(s.Networks, v)
	case "publish":
		return hasPort(s.Publish, v)
	case "expose":
		return hasPort(s.Expose, v)
	case "health":
		if now := s.Facts.HealthNow().Status; s.Health && now != "" {
			return now == v
		}
		return v == "none"
	}
	return v == "false" // is-task: nothing here is swarm's
}

func hasPort(all []config.Port, v string) bool {
	number, protocol, _ := strings.Cut(v, "/")
	return slices.ContainsFunc(all, func(p config.Port) bool {
		for n := range max(1, p.Count) {
			if fmt.Sprint(p.Container+n) == number && (protocol == "" || protocol == p.Protocol) {
				return true
			}
		}
		return false
	})
}
