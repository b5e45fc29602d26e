package isolation

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"berth/container/config"
)

func devices(s *Subject, v *view) []Row {
	c := &s.Record.Config
	r := Row{"devices", "Devices", Yes, "null, zero, full, random, urandom, tty and its own terminals"}
	var added []string
	for i := range c.Devices.Add {
		added = append(added, c.Devices.Add[i].Inside())
	}
	if c.Security.Nested {
		added = append(added, "/dev/fuse", "/dev/net/tun")
	}
	added = append(added, c.Devices.Rules...)
	added = append(added, c.Devices.CDI...)
	for range c.Devices.GPUs {
		added = append(added, "GPUs")
	}
	bound := Row{"devices.rules", "Rules for devices", Yes, v.limits.devices}
	if v.limits.devices == "" {
		bound.State, bound.Why = No, "its cgroup lets it open every node that it has or can make"
		if s.Rootless {
			bound.State, bound.Why = Partly, "what the user may not open, it cannot; there are no rules besides"
		}
	}
	switch {
	case c.Security.Privileged:
		r.State, r.Why = No, "all of the host's, as it is privileged"
		if s.Rootless {
			r.State, r.Why = Partly, "all that the user may open, as it is privileged"
		}
	case len(added) > 0:
		r.State, r.Why = Partly, "besides: "+list(added)
	}
	return []Row{r, bound}
}

// surroundings are what of the host it is given, and where it is reached.
func surroundings(s *Subject, _ *view) []Row {
	return []Row{hostFiles(s), published(s)}
}

// hostFiles are binds of the host that weaken all else.
func hostFiles(s *Subject) Row {
	r := Row{"mounts", "Mounts of the host are harmless", Yes, ""}
	var bad, partly []string
	for _, m := range s.Record.Mounts {
		if m.Kind != config.MountBind {
			continue
		}
		weak := weakens(m.Source)
		switch {
		case weak == "":
		case m.ReadOnly && weak != "a control socket": // that works through a read-only mount, too
			partly = append(partly, m.Source+" (read-only)")
		default:
			bad = append(bad, fmt.Sprintf("%s (%s)", m.Source, weak))
		}
	}
	switch {
	case len(bad) > 0:
		r.State, r.Why = No, "mounted: "+list(append(bad, partly...))
	case len(partly) > 0:
		r.State, r.Why = Partly, "mounted: "+list(partly)
	}
	return r
}

// weakens says what a bind of a path of the host gives, "" nothing much.
func weakens(path string) string {
	clean := filepath.Clean(path)
	if real, err := filepath.EvalSymlinks(clean); err == nil {
		clean = real
	}
	sockets := []string{"docker.sock", "podman.sock", "containerd.sock", "crio.sock", "berth.sock", "buildkitd.sock", "system_bus_socket"}
	switch {
	case slices.Contains(sockets, filepath.Base(clean)):
		return "a control socket"
	case clean == "/":
		return "the whole host"
	case slices.Contains([]string{"/run", "/var/run", "/run/systemd", "/run/podman", "/run/containerd", "/run/berth"}, clean):
		return "with control sockets"
	}
	for _, dir := range []string{"/proc", "/sys", "/dev"} {
		if clean == dir || strings.HasPrefix(clean, dir+"/") && !strings.HasPrefix(clean, "/dev/shm/") {
			return "the kernel's"
		}
	}
	for _, dir := range []string{"/etc", "/boot", "/root", "/home", "/usr", "/bin", "/sbin", "/lib", "/lib64", "/opt", "/var", "/var/lib"} {
		if clean == dir {
			return "the host's own"
		}
	}
	if strings.HasPrefix(clean, "/var/lib/berth") || strings.HasPrefix(clean, "/var/lib/docker") || strings.HasPrefix(clean, "/var/lib/containers") {
		return "an engine's store"
	}
	return ""
}

// published are the ports on all addresses.
func published(s *Subject) Row {
	r := Row{"ports", "Ports on named addresses alone", Yes, "none is published"}
	var open []string
	for _, p := range s.Ports {
		r.Why = "on the addresses that were named"
		address := p.Address
		if address == "" {
			address = s.Publish
		}
		if a, err := netip.ParseAddr(address); err == nil && !a.IsUnspecified() {
			continue
		}
		name := fmt.Sprintf("%d/%s", p.Host, p.Protocol)
		if p.Host == 0 {
			name = "any for " + fmt.Sprintf("%d/%s", p.Container, p.Protocol)
		}
		if p.Count > 1 {
			name = fmt.Sprintf("%d-%d/%s", p.Host, int(p.Host)+int(p.Count)-1, p.Protocol)
		}
		if !slices.Contains(open, name) {
			open = append(open, name)
		}
	}
	if s.Record.Config.Network.Mode == "host" {
		r.State, r.Why = No, "what it listens on is the host's"
	}
	if len(open) > 0 {
		r.State, r.Why = Partly, list(open)+": -p 127.0.0.1:… for the host alone"
	}
	return r
}
