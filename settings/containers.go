package settings

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"berth/base/fault"
	"berth/base/units"
)

// Containers is what a container gets that asks for nothing else; zero values
// leave it to the engine.
type Containers struct {
	LogDriver     string
	LogOpts       map[string]string
	Ulimits       []Ulimit
	ShmSize       int64 // bytes
	SizeLimit     int64 // bytes of a container's own files
	SizeAsked     string
	IPC, Cgroup   string
	CgroupParent  string
	Init          bool
	NoNewPrivs    bool
	NoSELinux     bool   // containers get no label where it is active
	Seccomp       string // path of a profile
	StopTimeout   int    // seconds at shutdown
	DNS           []string
	DNSSearch     []string
	DNSOptions    []string
	HostGatewayIP string
	CDIDirs       []string // folders with vendors' descriptions of devices
}

// CDI is the folders in which devices' descriptions are looked for.
func (c *Containers) CDI() []string {
	if c.CDIDirs != nil {
		return c.CDIDirs
	}
	return []string{"/etc/cdi", "/var/run/cdi"}
}

// Ulimit is one of default-ulimits.
type Ulimit struct {
	Name string
	Soft int64
	Hard int64
}

// Network is how the default bridge is made and where addresses come from.
type Network struct {
	Bridge  string       // name of the default bridge
	Address netip.Prefix // of the host on it (bip)
	Fixed   netip.Prefix // part of it that containers get (fixed-cidr)
	Gateway netip.Addr   // default-gateway
	// IPv6 of the default bridge (ipv6), and for it what the three above are for
	// IPv4 (bip6, fixed-cidr-v6, default-gateway-v6).
	IPv6     bool
	Address6 netip.Prefix
	Fixed6   netip.Prefix
	Gateway6 netip.Addr

	Pools   []Pool
	MTU     int
	Publish netip.Addr // address that -p means (ip)
	ICC     bool       // containers of the default bridge reach each other
	Masq    bool       // they go out with the host's address (ip-masq)
	Relay   bool       // userland-proxy
	// Integrate lets networks through the firewalls of dockerd, ufw and firewalld
	// (firewall.integrate of berth.toml).
	Integrate bool
	// DockerRoot is dockerd's own folder, "" a user's: data-root.
	DockerRoot string
}

// Pool is a range that networks are cut from, each Size bits long.
type Pool struct {
	Base netip.Prefix
	Size int
}

// daemonContainers are daemon.json's keys about containers and networks.
type daemonContainers struct {
	LogDriver    string            `json:"log-driver"`
	LogOpts      map[string]string `json:"log-opts"`
	Ulimits      map[string]ulimit `json:"default-ulimits"`
	ShmSize      size              `json:"default-shm-size"`
	Storage      []string          `json:"storage-opts"`
	IPC          string            `json:"default-ipc-mode"`
	Cgroup       string            `json:"default-cgroupns-mode"`
	CgroupParent string            `json:"cgroup-parent"`
	Init         bool              `json:"init"`
	NoNewPrivs   bool              `json:"no-new-privileges"`
	SELinux      *bool             `json:"selinux-enabled"`
	Seccomp      string            `json:"seccomp-profile"`
	StopTimeout  int               `json:"shutdown-timeout"`
	DNS          []string          `json:"dns"`
	DNSSearch    []string          `json:"dns-search"`
	DNSOptions   []string          `json:"dns-opts"`
	HostGateway  string            `json:"host-gateway-ip"`
	CDIDirs      []string          `json:"cdi-spec-dirs"`
	daemonNetwork
}

type daemonNetwork struct {
	Bridge  string       `json:"bridge"`
	BIP     netip.Prefix `json:"bip"`
	Fixed   netip.Prefix `json:"fixed-cidr"`
	Gateway netip.Addr   `json:"default-gateway"`
	IPv6    bool         `json:"ipv6"`
	BIP6    netip.Prefix `json:"bip6"`
	Fixed6  netip.Prefix `json:"fixed-cidr-v6"`
	Gate6   netip.Addr   `json:"default-gateway-v6"`
	Pools   []struct {
		Base netip.Prefix `json:"base"`
		Size int          `json:"size"`
	} `json:"default-address-pools"`
	MTU   int        `json:"mtu"`
	IP    netip.Addr `json:"ip"`
	ICC   *bool      `json:"icc"`
	Masq  *bool      `json:"ip-masq"`
	Relay *bool      `json:"userland-proxy"`
}

type ulimit struct {
	Name string `json:"Name"`
	Soft int64  `json:"Soft"`
	Hard int64  `json:"Hard"`
}

// into lays what a file says over what was found before.
func (d *daemonContainers) into(s *Settings, file string) error {
	c := &s.Containers
	set(&c.LogDriver, d.LogDriver)
	set(&c.ShmSize, int64(d.ShmSize))
	set(&c.IPC, d.IPC)
	set(&c.Cgroup, d.Cgroup)
	set(&c.CgroupParent, d.CgroupParent)
	set(&c.Init, d.Init)
	set(&c.NoNewPrivs, d.NoNewPrivs)
	if d.SELinux != nil {
		c.NoSELinux = !*d.SELinux
	}
	set(&c.Seccomp, d.Seccomp)
	set(&c.StopTimeout, d.StopTimeout)
	set(&c.HostGatewayIP, d.HostGateway)
	for list, value := range map[*[]string][]string{&c.DNS: d.DNS, &c.DNSSearch: d.DNSSearch, &c.DNSOptions: d.DNSOptions, &c.CDIDirs: d.CDIDirs} {
		if value != nil {
			*list = value
		}
	}
	if d.LogOpts != nil {
		c.LogOpts = d.LogOpts
	}
	if d.Ulimits != nil {
		c.Ulimits = nil
		for _, name := range slices.Sorted(maps.Keys(d.Ulimits)) {
			c.Ulimits = append(c.Ulimits, Ulimit{name, d.Ulimits[name].Soft, d.Ulimits[name].Hard})
		}
	}
	for _, o := range d.Storage {
		v, ok := strings.CutPrefix(o, "overlay2.size=")
		if !ok {
			continue // of dockerd's own storage
		}
		n, err := units.ParseBytes(v)
		if err != nil {
			return fault.New(fault.Invalid, "read the settings in %s: storage-opts: %s: %w", file, o, err)
		}
		c.SizeLimit, c.SizeAsked = n, v
	}
	return d.network(&s.Network, file)
}

func (d *daemonNetwork) network(n *Network, file string) error {
	set(&n.Bridge, d.Bridge)
	set(&n.Address, d.BIP)
	set(&n.Fixed, d.Fixed)
	set(&n.Gateway, d.Gateway)
	set(&n.IPv6, d.IPv6)
	set(&n.Address6, d.BIP6)
	set(&n.Fixed6, d.Fixed6)
	set(&n.Gateway6, d.Gate6)
	set(&n.MTU, d.MTU)
	set(&n.Publish, d.IP)
	for into, value := range map[*bool]*bool{&n.ICC: d.ICC, &n.Masq: d.Masq, &n.Relay: d.Relay} {
		if value != nil {
			*into = *value
		}
	}
	if d.Pools != nil {
		n.Pools = nil
	}
	for _, p := range d.Pools {
		if p.Size < p.Base.Bits() || p.Size > p.Base.Addr().BitLen() {
			return fault.New(fault.Invalid, "read the settings in %s: default-address-pools: no network of size %d is in %s", file, p.Size, p.Base)
		}
		n.Pools = append(n.Pools, Pool{p.Base, p.Size})
	}
	return nil
}

func set[T comparable](into *T, value T) {
	var zero T
	if value != zero {
		*into = value
	}
}

// size is a number of bytes, or words such as "64M".
type size int64

func (s *size) UnmarshalJSON(b []byte) error {
	var n int64
	if json.Unmarshal(b, &n) == nil {
		*s = size(n)
		return nil
	}
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return err
	}
	n, err := units.ParseBytes(text)
	if err != nil {
		return fmt.Errorf("default-shm-size: %w", err)
	}
	*s = size(n)
	return nil
}
