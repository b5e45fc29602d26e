package config

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/base/units"
)

// Machine is what Check has to know of the machine.
type Machine struct {
	CPUs  int // processors that a container may use, 0 unknown
	Nodes int // memory nodes, 0 unknown
}

func invalid(format string, args ...any) error { return fault.New(fault.Invalid, format, args...) }

// Check says whether a Config can be what it asks for, before anything is made,
// in the words that docker's users know. It looks at nothing of the machine but
// what it is told; names of containers, networks and volumes are their rooms'
// business. The errors are fault.Invalid; the warnings are for the person who
// asked.
func (c *Config) Check(m Machine) (warnings []string, err error) {
	checks := []func() error{
		c.checkNetwork, c.checkPlain, c.Restart.Check, c.Health.Check, c.Log.Check, c.checkSecurity, c.checkMounts,
		func() error { return c.Resources.Check(m) },
	}
	for _, check := range checks {
		if err := check(); err != nil {
			return nil, err
		}
	}
	if c.Network.Mode == "host" && (len(c.Network.Publish) > 0 || c.Network.PublishAll) {
		warnings = append(warnings, "Published ports are discarded when using host network mode")
	}
	if c.Resources.Memory.Kernel > 0 {
		warnings = append(warnings, "Specifying a kernel memory limit is deprecated and will be removed in a future release.")
	}
	if c.Resources.OOMKillDisable && c.Resources.Memory.Limit == 0 {
		warnings = append(warnings, "OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.")
	}
	return warnings, nil
}

// checkNetwork finds what goes badly with the mode of the network.
func (c *Config) checkNetwork() error {
	n := c.Network
	shared, host, byPath := strings.HasPrefix(n.Mode, "container:"), n.Mode == "host", strings.HasPrefix(n.Mode, "ns:")
	conflict := func(what string) error { return invalid("conflicting options: %s", what) }
	mac := slices.ContainsFunc(n.Endpoints, func(e Endpoint) bool { return e.MAC != "" })
	switch {
	case n.Mode == "container:":
		return invalid("Invalid network mode: invalid container format container:<name|id>")
	case byPath && !strings.HasPrefix(n.Mode, "ns:/"):
		return invalid("Invalid network mode: ns: takes the absolute path of a network namespace, as in ns:/run/netns/NAME")
	case byPath && (len(n.Publish) > 0 || n.PublishAll):
		return conflict("port publishing and the network namespace of a path")
	case byPath && mac:
		return conflict("mac-address and the network namespace of a path")
	case c.Hostname != "" && c.Namespaces.UTS == "host":
		return conflict("hostname and the UTS mode")
	case shared && c.Hostname != "":
		return conflict("hostname and the network mode")
	case shared && len(n.Links) > 0:
		return conflict("container type network can't be used with links. This would result in undefined behavior")
	case host && len(n.Links) > 0:
		return conflict("host type networking can't be used with links. This would result in undefined behavior")
	case (shared || host) && mac:
		return conflict("mac-address and the network mode")
	case shared && len(n.DNS) > 0:
		return conflict("dns and the network mode")
	case shared && len(n.ExtraHosts) > 0:
		return conflict("custom host-to-IP mapping and the network mode")
	case shared && (len(n.Publish) > 0 || n.PublishAll):
		return conflict("port publishing and the container type network mode")
	case shared && len(n.Expose) > 0:
		return conflict("port exposing and the container type network mode")
	}
	return n.checkAddresses()
}

// checkAddresses checks what is asked of networks that people make; of the
// others it is found at the start.
func (n *Network) checkAddresses() error {
	for _, e := range n.Endpoints {
		if n.Mode != "bridge" || e.Network == "bridge" {
			continue
		}
		v4, err4 := netip.ParseAddr(e.IPv4)
		v6, err6 := netip.ParseAddr(e.IPv6)
		switch {
		case e.IPv4 != "" && (err4 != nil || !v4.Is4()):
			return invalid("invalid IPv4 address: %s", e.IPv4)
		case e.IPv6 != "" && (err6 != nil || !v6.Is6()):
			return invalid("invalid IPv6 address: %s", e.IPv6)
		}
	}
	return nil
}

// isSignal reports whether a word names a signal: by number, by name with or
// without SIG, or RTMIN+n and RTMAX-n.
func isSignal(s string) bool {
	if n, err := strconv.Atoi(s); err == nil {
		return n > 0
	}
	name := strings.TrimPrefix(strings.ToUpper(s), "SIG")
	if unix.SignalNum("SIG"+name) != 0 || name == "RTMIN" || name == "RTMAX" {
		return true
	}
	up, isUp := strings.CutPrefix(name, "RTMIN+")
	down, isDown := strings.CutPrefix(name, "RTMAX-")
	n, err := strconv.Atoi(up)
	if isDown {
		n, err = strconv.Atoi(down)
	}
	return (isUp || isDown) && err == nil && n >= 0 && n <= realtimeSignals
}

// realtimeSignals is the distance from RTMIN to RTMAX.
const realtimeSignals = 30

// runtimes are names that are asked for by habit; there is one runtime.
var runtimes = []string{"runc", "io.containerd.runc.v2", "crun", "berth-oci"}

// checkPlain checks what stands alone.
func (c *Config) checkPlain() error {
	if d := c.Process.WorkDir; d != "" && !path.IsAbs(d) {
		return invalid("the working directory '%s' is invalid, it needs to be an absolute path", d)
	}
	if s := c.Stop.Signal; s != "" && !isSignal(s) {
		return invalid("Invalid signal: %s", s)
	}
	if r := c.Life.Runtime; r != "" && !slices.Contains(runtimes, r) {
		return invalid("Unknown runtime specified %s", r)
	}
	for _, e := range c.Process.Env {
		if strings.ContainsAny(e, "\x00") || e == "" || e[0] == '=' {
			return invalid("invalid environment variable: %s", e)
		}
	}
	if n := c.Namespaces; n.PID == "container:" {
		return invalid("invalid pid mode: %s", n.PID)
	}
	if strings.ContainsAny(c.Hostname+c.Domainname, "\x00\r\n") {
		return invalid("invalid hostname format: %q", c.Hostname+c.Domainname)
	}
	return nil
}

// Check looks at a restart policy alone.
func (r Restart) Check() error {
	switch r.Policy {
	case "always", "unless-stopped", "no":
		if r.Retries != 0 {
			return invalid("maximum retry count cannot be used with restart policy '%s'", r.Policy)
		}
	case "on-failure":
		if r.Retries < 0 {
			return invalid("maximum retry count cannot be negative")
		}
	case "":
	default:
		return invalid("invalid restart policy '%s'", r.Policy)
	}
	return nil
}

// Check looks at a healthcheck; nil is right.
func (h *Health) Check() error {
	if h == nil {
		return nil
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"Interval", h.Interval}, {"Timeout", h.Timeout}, {"StartPeriod", h.StartPeriod}, {"StartInterval", h.StartInterval},
	} {
		if d.value != 0 && d.value < time.Millisecond {
			return invalid("%s in Healthcheck cannot be less than 1ms", d.name)
		}
	}
	if h.Retries < 0 {
		return invalid("Retries in Healthcheck cannot be negative")
	}
	if h.OnFailure != "" && !slices.Contains([]string{"none", "kill", "restart", "stop"}, h.OnFailure) {
		return invalid("invalid --health-on-failure %q: want none, kill, restart or stop", h.OnFailure)
	}
	return nil
}

// logOptions are the options of a driver besides mode and max-buffer-size; ok is
// false if there is no such driver.
func logOptions(driver string) (options []string, ok bool) {
	common := []string{"labels", "labels-regex", "env", "env-regex", "tag"}
	cached := append(slices.Clone(common), "cache-disabled", "cache-max-size", "cache-max-file", "cache-compress")
	files := []string{"max-file", "max-size", "compress"}
	switch driver {
	case "json-file":
		return append(files, common...), true
	case "local":
		return files, true
	case "journald":
		return cached, true
	case "syslog":
		return append(cached, "syslog-address", "syslog-facility", "syslog-tls-ca-cert", "syslog-tls-cert", "syslog-tls-key",
			"syslog-tls-skip-verify", "syslog-format"), true
	case "fluentd":
		return append(cached, "fluentd-address", "fluentd-async", "fluentd-async-connect", "fluentd-async-reconnect-interval",
			"fluentd-buffer-limit", "fluentd-max-retries", "fluentd-request-ack", "fluentd-retry-wait", "fluentd-sub-second-precision"), true
	case "gelf":
		return append(cached, "gelf-address", "gelf-compression-type", "gelf-compression-level", "gelf-tcp-max-reconnect",
			"gelf-tcp-reconnect-delay"), true
	case "none", "passthrough":
		return nil, true
	}
	return nil, false
}

// Check looks at a log's driver and options; without a driver nothing is
// known, so whoever fills in the default does it before.
func (l Log) Check() error {
	if l.Driver == "" {
		return nil
	}
	known, ok := logOptions(l.Driver)
	if !ok {
		return invalid("error looking up logging plugin %s: plugin %q not found", l.Driver, l.Driver)
	}
	for _, k := range sortedKeys(l.Options) {
		if k == "mode" || k == "max-buffer-size" || slices.Contains(known, k) {
			continue
		}
		if l.Driver == "local" {
			return invalid("unknown log opt '%s' for log driver local", k)
		}
		return invalid("unknown log opt '%s' for %s log driver", k, l.Driver)
	}
	switch mode := l.Options["mode"]; mode {
	case "", "blocking", "non-blocking":
	default:
		return invalid("logger: logging mode not supported: %s", mode)
	}
	return l.checkValues()
}

// checkValues checks the values that the file drivers read.
func (l Log) checkValues() error {
	if s := l.Options["max-buffer-size"]; s != "" {
		if _, err := units.ParseBytes(s); err != nil {
			return invalid("error parsing option max-buffer-size: invalid size: '%s'", s)
		}
	}
	if a := l.Options["syslog-address"]; a != "" && !strings.Contains(a, "://") {
		return invalid("syslog-address should be in form proto://address, got %s", a)
	}
	return nil
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// checkMounts checks each mount and that no target stands twice.
func (c *Config) checkMounts() error {
	seen := map[string]bool{}
	for i := range c.Mounts {
		m := &c.Mounts[i]
		if err := m.Check(); err != nil {
			if m.Kind == MountTmpfs && m.Syntax == "--tmpfs" {
				return invalid("%s", m.fault())
			}
			return err
		}
		t := path.Clean(m.Target)
		if seen[t] && m.Syntax != "--tmpfs" {
			return invalid("Duplicate mount point: %s", t)
		}
		seen[t] = m.Syntax != "--tmpfs"
	}
	for _, v := range c.VolumesFrom {
		name, mode, _ := strings.Cut(v, ":")
		if name == "" {
			return invalid("volumes-from specification cannot be an empty string")
		}
		if _, ok := modeOf(mode); !ok {
			return invalid("invalid mode: %s", mode)
		}
	}
	return nil
}

// capabilities are those of capability.h, in order, each between blanks.
const capabilities = " CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE " +
	"NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT " +
	"SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG " +
	"WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE "

func isCapability(word string) bool {
	name := strings.TrimPrefix(word, "CAP_")
	return word == "ALL" || name != "" && !strings.Contains(name, " ") && strings.Contains(capabilities, " "+name+" ")
}

func (c *Config) checkSecurity() error {
	if err := c.checkNested(); err != nil {
		return err
	}
	for _, side := range []struct {
		name string
		list []string
	}{{"CapAdd", c.Security.CapAdd}, {"CapDrop", c.Security.CapDrop}} {
		for _, word := range side.list {
			if !isCapability(word) {
				return invalid("invalid %s: unknown capability: %q", side.name, word)
			}
		}
	}
	for _, word := range c.Security.Options {
		if err := checkSecurityOption(word); err != nil {
			return err
		}
	}
	return nil
}

// checkNested finds what goes badly with --nested, which gives rights over a user
// namespace of the container's own and nothing else.
func (c *Config) checkNested() error {
	s, ns := &c.Security, &c.Namespaces
	if !s.Nested {
		return nil
	}
	conflict := func(what string) error { return invalid("conflicting options: nested and %s", what) }
	switch {
	case s.Privileged:
		return conflict("privileged: it is the milder one of the two, take one of them")
	case ns.User == "host":
		return conflict("the host's user namespace: its rights are over one of the container's own alone")
	case c.Network.Mode == "host", ns.PID == "host", ns.IPC == "host", ns.UTS == "host", ns.Cgroup == "host":
		return conflict("a namespace of the host, which none inside could be below")
	case slices.Contains(s.CapDrop, "ALL"), slices.Contains(s.CapDrop, "CAP_SYS_ADMIN"):
		return conflict("cap-drop of SYS_ADMIN, without which nothing is mounted inside")
	}
	for _, mode := range []string{c.Network.Mode, ns.PID, ns.IPC, ns.User, ns.UTS, ns.Cgroup} {
		if strings.HasPrefix(mode, "container:") || strings.HasPrefix(mode, "ns:") {
			return conflict("a namespace of another: " + mode)
		}
	}
	return nil
}

func isSecurityKey(s string) bool {
	return slices.Contains([]string{"seccomp", "apparmor", "label", "no-new-privileges", "systempaths", "mask", "unmask"}, s)
}

// checkSecurityOption checks one --security-opt as typed.
func checkSecurityOption(word string) error {
	key, value, ok := strings.Cut(word, "=")
	if !ok {
		key, value, ok = strings.Cut(word, ":")
	}
	bad := fmt.Errorf("invalid --security-opt 2: %q", word)
	if !isSecurityKey(key) || !ok && key != "no-new-privileges" {
		return fault.Wrap(fault.Invalid, bad)
	}
	if key == "no-new-privileges" && ok {
		if _, err := strconv.ParseBool(value); err != nil {
			return fault.Wrap(fault.Invalid, bad)
		}
	}
	if key == "systempaths" && value != "unconfined" {
		return fault.Wrap(fault.Invalid, bad)
	}
	return nil
}
