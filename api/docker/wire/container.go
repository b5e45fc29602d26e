// Package wire is the JSON of Docker's API as the versions from 1.41 on have it:
// forms and what fills them from a configuration and facts. It has no routes
// and asks no engine. Row 6; api/docker and cli/docker use it.
package wire

// Container is GET /containers/ID/json, which inspect shows as it is.
type Container struct {
	ID              string           `json:"Id"`
	Created         string           `json:"Created"`
	Path            string           `json:"Path"`
	Args            []string         `json:"Args"`
	State           *State           `json:"State"`
	Image           string           `json:"Image"`
	ResolvConfPath  string           `json:"ResolvConfPath"`
	HostnamePath    string           `json:"HostnamePath"`
	HostsPath       string           `json:"HostsPath"`
	LogPath         string           `json:"LogPath"`
	Name            string           `json:"Name"`
	RestartCount    int              `json:"RestartCount"`
	Driver          string           `json:"Driver"`
	Platform        string           `json:"Platform"`
	MountLabel      string           `json:"MountLabel"`
	ProcessLabel    string           `json:"ProcessLabel"`
	AppArmorProfile string           `json:"AppArmorProfile"`
	ExecIDs         []string         `json:"ExecIDs"`
	HostConfig      *HostConfig      `json:"HostConfig"`
	GraphDriver     GraphDriver      `json:"GraphDriver"`
	SizeRw          *int64           `json:"SizeRw,omitempty"`
	SizeRootFs      *int64           `json:"SizeRootFs,omitempty"`
	Mounts          []MountPoint     `json:"Mounts"`
	Config          *Config          `json:"Config"`
	NetworkSettings *NetworkSettings `json:"NetworkSettings"`
}

// State is how a container is.
type State struct {
	Status     string  `json:"Status"`
	Running    bool    `json:"Running"`
	Paused     bool    `json:"Paused"`
	Restarting bool    `json:"Restarting"`
	OOMKilled  bool    `json:"OOMKilled"`
	Dead       bool    `json:"Dead"`
	Pid        int     `json:"Pid"`
	ExitCode   int     `json:"ExitCode"`
	Error      string  `json:"Error"`
	StartedAt  string  `json:"StartedAt"`
	FinishedAt string  `json:"FinishedAt"`
	Health     *Health `json:"Health,omitempty"`
}

// Health is the state of a healthcheck.
type Health struct {
	Status        string         `json:"Status"`
	FailingStreak int            `json:"FailingStreak"`
	Log           []HealthResult `json:"Log"`
}

// HealthResult is one run of a healthcheck.
type HealthResult struct {
	Start    string `json:"Start"`
	End      string `json:"End"`
	ExitCode int    `json:"ExitCode"`
	Output   string `json:"Output"`
}

// GraphDriver is where the root file system lies.
type GraphDriver struct {
	Data map[string]string `json:"Data"`
	Name string            `json:"Name"`
}

// MountPoint is a mount as it is.
type MountPoint struct {
	Type        string `json:"Type,omitempty"`
	Name        string `json:"Name,omitempty"`
	Source      string `json:"Source"`
	Destination string `json:"Destination"`
	Driver      string `json:"Driver,omitempty"`
	Mode        string `json:"Mode"`
	RW          bool   `json:"RW"`
	Propagation string `json:"Propagation"`
}

// Config is the part of a configuration that moves with an image.
type Config struct {
	Hostname     string              `json:"Hostname"`
	Domainname   string              `json:"Domainname"`
	User         string              `json:"User"`
	AttachStdin  bool                `json:"AttachStdin"`
	AttachStdout bool                `json:"AttachStdout"`
	AttachStderr bool                `json:"AttachStderr"`
	ExposedPorts map[string]struct{} `json:"ExposedPorts,omitempty"`
	Tty          bool                `json:"Tty"`
	OpenStdin    bool                `json:"OpenStdin"`
	StdinOnce    bool                `json:"StdinOnce"`
	Env          []string            `json:"Env"`
	Cmd          []string            `json:"Cmd"`
	Healthcheck  *Healthcheck        `json:"Healthcheck,omitempty"`
	Image        string              `json:"Image"`
	Volumes      map[string]struct{} `json:"Volumes"`
	WorkingDir   string              `json:"WorkingDir"`
	Entrypoint   []string            `json:"Entrypoint"`
	MacAddress   string              `json:"MacAddress,omitempty"`
	OnBuild      []string            `json:"OnBuild"`
	Labels       map[string]string   `json:"Labels"`
	StopSignal   string              `json:"StopSignal,omitempty"`
	StopTimeout  *int                `json:"StopTimeout,omitempty"`
	// Timeout and Secrets are podman's.
	Timeout uint     `json:"Timeout,omitempty"`
	Secrets []Secret `json:"Secrets,omitempty"`
}

// Secret is a secret that a container was given; never what is in it.
type Secret struct {
	Name   string
	ID     string
	Type   string // mount or env
	Target string
	UID    uint32
	GID    uint32
	Mode   uint32
}

// Healthcheck is a healthcheck as configured; times in nanoseconds.
type Healthcheck struct {
	Test          []string `json:"Test,omitempty"`
	Interval      int64    `json:"Interval,omitempty"`
	Timeout       int64    `json:"Timeout,omitempty"`
	StartPeriod   int64    `json:"StartPeriod,omitempty"`
	StartInterval int64    `json:"StartInterval,omitempty"`
	Retries       int      `json:"Retries,omitempty"`
}

// HostConfig is the part of a configuration that belongs to this host.
type HostConfig struct {
	Binds           []string                 `json:"Binds"`
	ContainerIDFile string                   `json:"ContainerIDFile"`
	LogConfig       LogConfig                `json:"LogConfig"`
	NetworkMode     string                   `json:"NetworkMode"`
	PortBindings    map[string][]PortBinding `json:"PortBindings"`
	RestartPolicy   RestartPolicy            `json:"RestartPolicy"`
	AutoRemove      bool                     `json:"AutoRemove"`
	VolumeDriver    string                   `json:"VolumeDriver"`
	VolumesFrom     []string                 `json:"VolumesFrom"`
	CapAdd          []string                 `json:"CapAdd"`
	CapDrop         []string                 `json:"CapDrop"`
	CgroupnsMode    string                   `json:"CgroupnsMode"`
	DNS             []string                 `json:"Dns"`
	DNSOptions      []string                 `json:"DnsOptions"`
	DNSSearch       []string                 `json:"DnsSearch"`
	ExtraHosts      []string                 `json:"ExtraHosts"`
	GroupAdd        []string                 `json:"GroupAdd"`
	IpcMode         string                   `json:"IpcMode"`
	Cgroup          string                   `json:"Cgroup"`
	Links           []string                 `json:"Links"`
	OomScoreAdj     int                      `json:"OomScoreAdj"`
	PidMode         string                   `json:"PidMode"`
	Privileged      bool                     `json:"Privileged"`
	Nested          bool                     `json:"Nested,omitempty"` // ours
	PublishAllPorts bool                     `json:"PublishAllPorts"`
	ReadonlyRootfs  bool                     `json:"ReadonlyRootfs"`
	SecurityOpt     []string                 `json:"SecurityOpt"`
	StorageOpt      map[string]string        `json:"StorageOpt,omitempty"`
	Tmpfs           map[string]string        `json:"Tmpfs,omitempty"`
	UTSMode         string                   `json:"UTSMode"`
	UsernsMode      string                   `json:"UsernsMode"`
	ShmSize         int64                    `json:"ShmSize"`
	Sysctls         map[string]string        `json:"Sysctls,omitempty"`
	Runtime         string                   `json:"Runtime"`
	ConsoleSize     [2]uint16                `json:"ConsoleSize"`
	Isolation       string                   `json:"Isolation"`
	Resources
	Mounts        []Mount           `json:"Mounts,omitempty"`
	MaskedPaths   []string          `json:"MaskedPaths"`
	ReadonlyPaths []string          `json:"ReadonlyPaths"`
	Init          *bool             `json:"Init,omitempty"`
	Annotations   map[string]string `json:"Annotations,omitempty"`
}

// Resources are a container's limits.
type Resources struct {
	CPUShares            int64            `json:"CpuShares"`
	Memory               int64            `json:"Memory"`
	NanoCPUs             int64            `json:"NanoCpus"`
	CgroupParent         string           `json:"CgroupParent"`
	BlkioWeight          uint16           `json:"BlkioWeight"`
	BlkioWeightDevice    []WeightDevice   `json:"BlkioWeightDevice"`
	BlkioDeviceReadBps   []ThrottleDevice `json:"BlkioDeviceReadBps"`
	BlkioDeviceWriteBps  []ThrottleDevice `json:"BlkioDeviceWriteBps"`
	BlkioDeviceReadIOps  []ThrottleDevice `json:"BlkioDeviceReadIOps"`
	BlkioDeviceWriteIOps []ThrottleDevice `json:"BlkioDeviceWriteIOps"`
	CPUPeriod            int64            `json:"CpuPeriod"`
	CPUQuota             int64            `json:"CpuQuota"`
	CPURealtimePeriod    int64            `json:"CpuRealtimePeriod"`
	CPURealtimeRuntime   int64            `json:"CpuRealtimeRuntime"`
	CpusetCpus           string           `json:"CpusetCpus"`
	CpusetMems           string           `json:"CpusetMems"`
	Devices              []Device         `json:"Devices"`
	DeviceCgroupRules    []string         `json:"DeviceCgroupRules"`
	DeviceRequests       []DeviceRequest  `json:"DeviceRequests"`
	KernelMemory         int64            `json:"KernelMemory"`
	KernelMemoryTCP      int64            `json:"KernelMemoryTCP"`
	MemoryReservation    int64            `json:"MemoryReservation"`
	MemorySwap           int64            `json:"MemorySwap"`
	MemorySwappiness     *int64           `json:"MemorySwappiness"`
	OomKillDisable       *bool            `json:"OomKillDisable"`
	PidsLimit            *int64           `json:"PidsLimit"`
	Ulimits              []Ulimit         `json:"Ulimits"`
	CPUCount             int64            `json:"CpuCount"`
	CPUPercent           int64            `json:"CpuPercent"`
	IOMaximumIOps        uint64           `json:"IOMaximumIOps"`
	IOMaximumBandwidth   uint64           `json:"IOMaximumBandwidth"`
}

// The small forms of a HostConfig.
type (
	LogConfig struct {
		Type   string            `json:"Type"`
		Config map[string]string `json:"Config"`
	}
	PortBinding   struct{ HostIp, HostPort string }
	RestartPolicy struct {
		Name              string `json:"Name"`
		MaximumRetryCount int    `json:"MaximumRetryCount"`
	}
	WeightDevice struct {
		Path   string `json:"Path"`
		Weight uint16 `json:"Weight"`
	}
	ThrottleDevice struct {
		Path string `json:"Path"`
		Rate uint64 `json:"Rate"`
	}
	Device        struct{ PathOnHost, PathInContainer, CgroupPermissions string }
	DeviceRequest struct {
		Driver       string            `json:"Driver"`
		Count        int               `json:"Count"`
		DeviceIDs    []string          `json:"DeviceIDs"`
		Capabilities [][]string        `json:"Capabilities"`
		Options      map[string]string `json:"Options"`
	}
	Ulimit struct {
		Name string `json:"Name"`
		Hard int64  `json:"Hard"`
		Soft int64  `json:"Soft"`
	}
)

// Mount is a mount as --mount asked for it.
type Mount struct {
	Type          string         `json:"Type,omitempty"`
	Source        string         `json:"Source,omitempty"`
	Target        string         `json:"Target,omitempty"`
	ReadOnly      bool           `json:"ReadOnly,omitempty"`
	BindOptions   *BindOptions   `json:"BindOptions,omitempty"`
	VolumeOptions *VolumeOptions `json:"VolumeOptions,omitempty"`
	ImageOptions  *ImageOptions  `json:"ImageOptions,omitempty"`
	TmpfsOptions  *TmpfsOptions  `json:"TmpfsOptions,omitempty"`
}

// The options of the kinds of mounts.
type (
	BindOptions struct {
		Propagation  string `json:"Propagation,omitempty"`
		NonRecursive bool   `json:"NonRecursive,omitempty"`
	}
	VolumeOptions struct {
		NoCopy       bool              `json:"NoCopy,omitempty"`
		Labels       map[string]string `json:"Labels,omitempty"`
		Subpath      string            `json:"Subpath,omitempty"`
		DriverConfig *DriverConfig     `json:"DriverConfig,omitempty"`
	}
	DriverConfig struct {
		Name    string            `json:"Name,omitempty"`
		Options map[string]string `json:"Options,omitempty"`
	}
	ImageOptions struct {
		Subpath string `json:"Subpath,omitempty"`
	}
	TmpfsOptions struct {
		SizeBytes int64  `json:"SizeBytes,omitempty"`
		Mode      uint32 `json:"Mode,omitempty"`
	}
)

// NetworkSettings is how a container is reached.
type NetworkSettings struct {
	Bridge                 string                   `json:"Bridge"`
	SandboxID              string                   `json:"SandboxID"`
	HairpinMode            bool                     `json:"HairpinMode"`
	LinkLocalIPv6Address   string                   `json:"LinkLocalIPv6Address"`
	LinkLocalIPv6PrefixLen int                      `json:"LinkLocalIPv6PrefixLen"`
	Ports                  map[string][]PortBinding `json:"Ports"`
	SandboxKey             string                   `json:"SandboxKey"`
	SecondaryIPAddresses   []string                 `json:"SecondaryIPAddresses"`
	SecondaryIPv6Addresses []string                 `json:"SecondaryIPv6Addresses"`
	EndpointID             string                   `json:"EndpointID"`
	Gateway                string                   `json:"Gateway"`
	GlobalIPv6Address      string                   `json:"GlobalIPv6Address"`
	GlobalIPv6PrefixLen    int                      `json:"GlobalIPv6PrefixLen"`
	IPAddress              string                   `json:"IPAddress"`
	IPPrefixLen            int                      `json:"IPPrefixLen"`
	IPv6Gateway            string                   `json:"IPv6Gateway"`
	MacAddress             string                   `json:"MacAddress"`
	Networks               map[string]*Endpoint     `json:"Networks"`
}

// Endpoint is a container's place on one network.
type Endpoint struct {
	IPAMConfig          *EndpointIPAM     `json:"IPAMConfig"`
	Links               []string          `json:"Links"`
	Aliases             []string          `json:"Aliases"`
	NetworkID           string            `json:"NetworkID"`
	EndpointID          string            `json:"EndpointID"`
	Gateway             string            `json:"Gateway"`
	IPAddress           string            `json:"IPAddress"`
	IPPrefixLen         int               `json:"IPPrefixLen"`
	IPv6Gateway         string            `json:"IPv6Gateway"`
	GlobalIPv6Address   string            `json:"GlobalIPv6Address"`
	GlobalIPv6PrefixLen int               `json:"GlobalIPv6PrefixLen"`
	MacAddress          string            `json:"MacAddress"`
	DriverOpts          map[string]string `json:"DriverOpts"`
	GwPriority          int               `json:"GwPriority,omitempty"` // of Docker 28
}

// EndpointIPAM is what was asked of an endpoint's addresses.
type EndpointIPAM struct {
	IPv4Address  string   `json:"IPv4Address,omitempty"`
	IPv6Address  string   `json:"IPv6Address,omitempty"`
	LinkLocalIPs []string `json:"LinkLocalIPs,omitempty"`
}
