package wire

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"berth/container/config"
)

// Inspect fills docker's form from what was asked and what is.
func Inspect(c *config.Config, f *Facts) *Container {
	doc := &Container{
		ID: f.ID, Created: stamp(f.Created), Path: f.Process.Path, Args: orEmpty(f.Process.Args), State: f.State.form(), Image: f.ImageID,
		ResolvConfPath: f.Paths.ResolvConf, HostnamePath: f.Paths.Hostname, HostsPath: f.Paths.Hosts, LogPath: f.Paths.Log,
		Name: "/" + f.Name, RestartCount: f.RestartCount, Driver: f.Driver, Platform: "linux", AppArmorProfile: f.Labels.AppArmor, ProcessLabel: f.Labels.Process, MountLabel: f.Labels.Mount,
		HostConfig: hostConfig(c, f), GraphDriver: GraphDriver{Data: f.GraphData, Name: f.Driver}, Mounts: orEmpty(f.Mounts),
		Config: portable(c, f), NetworkSettings: networks(f),
	}
	if f.Size != nil {
		doc.SizeRw, doc.SizeRootFs = &f.Size.Own, &f.Size.Root
	}
	return doc
}

// stamp is a time as docker's JSON has it; no time is its year one.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func (l *Life) form() *State {
	return &State{
		Status: l.Status, Running: l.Status == "running" || l.Status == "paused" || l.Status == "restarting", Paused: l.Status == "paused",
		Restarting: l.Status == "restarting", OOMKilled: l.OOMKilled, Dead: l.Status == "dead", Pid: l.PID, ExitCode: l.ExitCode,
		Error: l.Error, StartedAt: stamp(l.StartedAt), FinishedAt: stamp(l.FinishedAt), Health: l.Health,
	}
}

func set(names []string) map[string]struct{} {
	if len(names) == 0 {
		return nil
	}
	m := map[string]struct{}{}
	for _, n := range names {
		m[n] = struct{}{}
	}
	return m
}

// portable is the part that moves with an image.
func portable(c *config.Config, f *Facts) *Config {
	p, s := &f.Process, &c.Stdio
	out := &Config{
		Hostname: cmp.Or(p.Hostname, c.Hostname), Domainname: c.Domainname, User: p.User, AttachStdin: s.AttachStdin,
		AttachStdout: s.AttachStdout, AttachStderr: s.AttachStderr, ExposedPorts: set(p.Exposed), Tty: s.Terminal,
		OpenStdin: s.OpenStdin, StdinOnce: s.StdinOnce, Env: p.Env, Cmd: p.Cmd, Healthcheck: p.Health, Image: c.Image.Name,
		Volumes: set(p.Volumes), WorkingDir: p.WorkDir, Entrypoint: p.Entrypoint, Labels: p.Labels,
		StopSignal: cmp.Or(c.Stop.Signal, p.StopSignal), StopTimeout: c.Stop.Timeout,
		Timeout: c.Life.Timeout,
	}
	if out.Labels == nil {
		out.Labels = map[string]string{}
	}
	for _, x := range c.Life.Secrets {
		out.Secrets = append(out.Secrets, Secret{Name: x.Name, ID: x.ID, Type: x.Kind, Target: x.Target, UID: x.UID, GID: x.GID, Mode: x.Mode})
	}
	for _, e := range c.Network.Endpoints {
		out.MacAddress = cmp.Or(out.MacAddress, e.MAC)
	}
	return out
}

// networkMode is docker's word for how the network is.
func networkMode(n *config.Network) string {
	if n.Mode != "" && len(n.Endpoints) > 0 {
		return n.Endpoints[0].Network
	}
	return cmp.Or(n.Mode, "default")
}

// hostConfig is the part that belongs to this host.
func hostConfig(c *config.Config, f *Facts) *HostConfig {
	n, s, ns := &c.Network, &c.Security, &c.Namespaces
	h := &HostConfig{
		ContainerIDFile: c.Life.CIDFile, LogConfig: LogConfig{Type: cmp.Or(c.Log.Driver, "json-file"), Config: c.Log.Options},
		NetworkMode: networkMode(n), PortBindings: bindings(n.Publish),
		RestartPolicy: RestartPolicy{Name: cmp.Or(c.Restart.Policy, "no"), MaximumRetryCount: c.Restart.Retries},
		AutoRemove:    c.Life.Remove, VolumesFrom: c.VolumesFrom, CapAdd: s.CapAdd, CapDrop: s.CapDrop,
		CgroupnsMode: cmp.Or(ns.Cgroup, "private"), DNS: orEmpty(n.DNS), DNSOptions: orEmpty(n.DNSOptions), DNSSearch: orEmpty(n.DNSSearch),
		ExtraHosts: n.ExtraHosts, GroupAdd: c.Process.Groups, IpcMode: c.IPCMode(), Links: n.Links, PidMode: ns.PID,
		Privileged: s.Privileged, Nested: s.Nested, PublishAllPorts: n.PublishAll, ReadonlyRootfs: s.ReadOnlyRoot, SecurityOpt: s.Options, UTSMode: ns.UTS,
		UsernsMode: ns.User, ShmSize: cmp.Or(c.Resources.ShmSize, defaultShm), Sysctls: s.Sysctls, Runtime: cmp.Or(c.Life.Runtime, "berth"),
		ConsoleSize: [2]uint16{c.Stdio.Height, c.Stdio.Width}, Resources: resources(c), MaskedPaths: f.Masked, ReadonlyPaths: f.ReadOnly,
		Annotations: c.Annotations,
	}
	if h.LogConfig.Config == nil {
		h.LogConfig.Config = map[string]string{}
	}
	if adj := c.Resources.OOMScoreAdj; adj != nil {
		h.OomScoreAdj = *adj
	}
	if c.Process.Init {
		on := true
		h.Init = &on
	}
	if c.Image.SizeAsked != "" {
		h.StorageOpt = map[string]string{"size": c.Image.SizeAsked}
	}
	h.mounts(c.Mounts)
	return h
}

const defaultShm = 64 << 20 // bytes

// bindings are the published ports as asked for, one entry for each port.
func bindings(ports []config.Port) map[string][]PortBinding {
	out := map[string][]PortBinding{}
	for _, p := range ports {
		for i := range max(1, p.Count) {
			key := fmt.Sprintf("%d/%s", p.Container+i, p.Protocol)
			host := ""
			switch {
			case p.HostEnd != 0:
				host = fmt.Sprintf("%d-%d", p.Host, p.HostEnd)
			case p.Host != 0:
				host = strconv.Itoa(int(p.Host + i))
			}
			out[key] = append(out[key], PortBinding{HostIp: p.Address, HostPort: host})
		}
	}
	return out
}

// mounts sorts the mounts to where docker keeps those of each flag.
func (h *HostConfig) mounts(list []config.Mount) {
	for _, m := range list {
		switch {
		case m.Syntax == "--tmpfs":
			if h.Tmpfs == nil {
				h.Tmpfs = map[string]string{}
			}
			options := m.Options
			if m.ReadOnly {
				options = append([]string{"ro"}, options...)
			}
			h.Tmpfs[m.Target] = strings.Join(options, ",")
		case m.Syntax == "--mount":
			h.Mounts = append(h.Mounts, mount(&m))
		case m.Source != "":
			h.Binds = append(h.Binds, bindText(&m))
			h.VolumeDriver = cmp.Or(h.VolumeDriver, m.VolumeDriver)
		}
	}
}

// bindText is a mount as -v has it.
func bindText(m *config.Mount) string {
	var words []string
	if m.ReadOnly {
		words = append(words, "ro")
	}
	words = append(words, m.Options...)
	if m.Propagation != "" {
		words = append(words, m.Propagation)
	}
	if m.NoCopy {
		words = append(words, "nocopy")
	}
	s := m.Source + ":" + m.Target
	if len(words) > 0 {
		s += ":" + strings.Join(words, ",")
	}
	return s
}

func mount(m *config.Mount) Mount {
	out := Mount{Type: m.Kind, Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly}
	switch m.Kind {
	case config.MountBind:
		if m.Propagation != "" || m.NonRecursive {
			out.BindOptions = &BindOptions{Propagation: m.Propagation, NonRecursive: m.NonRecursive}
		}
	case config.MountVolume:
		if m.NoCopy || m.Subpath != "" || len(m.VolumeLabels) > 0 || m.VolumeDriver != "" || len(m.VolumeOpts) > 0 {
			out.VolumeOptions = &VolumeOptions{NoCopy: m.NoCopy, Labels: m.VolumeLabels, Subpath: m.Subpath}
		}
		if m.VolumeDriver != "" || len(m.VolumeOpts) > 0 {
			out.VolumeOptions.DriverConfig = &DriverConfig{Name: m.VolumeDriver, Options: m.VolumeOpts}
		}
	case config.MountImage:
		if m.Subpath != "" {
			out.ImageOptions = &ImageOptions{Subpath: m.Subpath}
		}
	case config.MountTmpfs:
		if m.SizeBytes != 0 || m.Mode != 0 {
			out.TmpfsOptions = &TmpfsOptions{SizeBytes: m.SizeBytes, Mode: m.Mode}
		}
	}
	return out
}

// networks is how a container is reached; the primary network's addresses stand
// at the top too.
func networks(f *Facts) *NetworkSettings {
	n := &NetworkSettings{Ports: f.Ports, SandboxKey: f.SandboxKey, Networks: f.Networks, SandboxID: f.ID}
	if n.Ports == nil {
		n.Ports = map[string][]PortBinding{}
	}
	if n.Networks == nil {
		n.Networks = map[string]*Endpoint{}
	}
	if f.SandboxKey == "" {
		n.SandboxID = ""
	}
	if e := f.Networks[f.Primary]; e != nil {
		n.EndpointID, n.Gateway, n.IPAddress, n.IPPrefixLen, n.MacAddress = e.EndpointID, e.Gateway, e.IPAddress, e.IPPrefixLen, e.MacAddress
		n.IPv6Gateway, n.GlobalIPv6Address, n.GlobalIPv6PrefixLen = e.IPv6Gateway, e.GlobalIPv6Address, e.GlobalIPv6PrefixLen
	}
	return n
}
