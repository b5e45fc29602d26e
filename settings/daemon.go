package settings

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"berth/base/fault"
)

// daemonKeys are the keys of Docker's daemon.json that mean something here, now
// or in verbs to come, and those that are about dockerd alone.
var daemonKeys = []string{
	"data-root", "registry-mirrors", "insecure-registries", "log-driver", "log-opts", "bip", "default-address-pools",
	"dns", "dns-opts", "dns-search", "mtu", "default-ulimits", "debug", "exec-opts", "default-runtime", "runtimes",
	"storage-driver", "storage-opts", "live-restore", "log-level", "max-concurrent-downloads",
	"max-concurrent-uploads", "max-download-attempts", "shutdown-timeout", "iptables", "ip6tables", "ip-forward",
	"ip-masq", "userland-proxy", "icc", "ip", "ipv6", "fixed-cidr", "fixed-cidr-v6", "bip6", "default-gateway",
	"default-gateway-v6", "bridge", "hosts", "group", "pidfile", "exec-root", "labels", "experimental", "features",
	"builder", "default-shm-size", "default-ipc-mode", "default-cgroupns-mode", "cgroup-parent", "userns-remap",
	"seccomp-profile", "no-new-privileges", "selinux-enabled", "init", "init-path", "oom-score-adjust",
	"cpu-rt-period", "cpu-rt-runtime", "containerd", "containerd-namespace", "containerd-plugin-namespace",
	"tls", "tlsverify", "tlscacert", "tlscert", "tlskey", "api-cors-header", "authorization-plugins",
	"metrics-addr", "raw-logs", "swarm-default-advertise-addr", "node-generic-resources", "network-control-plane-mtu",
	"allow-nondistributable-artifacts", "default-network-opts", "firewall-backend", "proxies", "http-proxy",
	"https-proxy", "no-proxy", "host-gateway-ip", "cdi-spec-dirs", "validate",
}

// daemonFile is what is used of daemon.json.
type daemonFile struct {
	DataRoot string   `json:"data-root"`
	Mirrors  []string `json:"registry-mirrors"`
	Insecure []string `json:"insecure-registries"`
	daemonContainers
}

// daemon reads Docker's daemon.json: the machine's, whose folders are root's
// alone, and over it that of a user's own dockerd.
func (s *Settings) daemon(p Places) error {
	root := p.UID() == 0
	if err := s.daemonJSON(filepath.Join(p.Etc, "docker/daemon.json"), root); err != nil || root {
		return err
	}
	return s.daemonJSON(filepath.Join(userConfig(p), "docker/daemon.json"), true)
}

// daemonJSON reads one daemon.json. Its data-root gets a folder for berth
// inside, so that both engines can stay there.
func (s *Settings) daemonJSON(file string, folders bool) error {
	data, err := read(file)
	if err != nil || len(data) == 0 {
		return err
	}
	var d daemonFile
	var all map[string]json.RawMessage
	for _, into := range []any{&d, &all} {
		if err := json.Unmarshal(data, into); err != nil {
			return fault.Wrap(fault.Invalid, fmt.Errorf("read the settings in %s: %w", file, err))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if !slices.Contains(daemonKeys, key) {
			s.Unknown = append(s.Unknown, file+": "+key)
		}
	}
	if d.DataRoot != "" && folders {
		if !filepath.IsAbs(d.DataRoot) {
			return fault.New(fault.Invalid, "read the settings in %s: data-root %q is no absolute path", file, d.DataRoot)
		}
		s.Root = filepath.Join(d.DataRoot, "berth")
		s.Network.DockerRoot = d.DataRoot
	}
	if err := d.into(s, file); err != nil {
		return err
	}
	if d.Mirrors != nil {
		s.Mirrors = d.Mirrors
	}
	if d.Insecure != nil {
		s.Insecure = d.Insecure
	}
	return nil
}
