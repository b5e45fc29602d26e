package config

import (
	"cmp"
	"path"
)

// Resources are limits; update changes them on a running container.
type Resources struct {
	Memory  Memory            `json:"memory"`
	CPU     CPU               `json:"cpu"`
	Block   Block             `json:"block"`
	Pids    *int64            `json:"pids,omitempty"` // -1 none
	Ulimits []Ulimit          `json:"ulimits,omitempty"`
	Unified map[string]string `json:"unified,omitempty"` // cgroup v2 files
	// OOM*: the score is what the process starts with.
	OOMKillDisable bool   `json:"oomKillDisable,omitempty"`
	OOMScoreAdj    *int   `json:"oomScoreAdj,omitempty"`
	CgroupParent   string `json:"cgroupParent,omitempty"`
	ShmSize        int64  `json:"shmSize,omitempty"` // bytes
}

// Memory is in bytes; -1 takes a limit away.
type Memory struct {
	Limit       int64   `json:"limit,omitempty"`
	Reservation int64   `json:"reservation,omitempty"`
	Swap        int64   `json:"swap,omitempty"` // memory and swap together
	Kernel      int64   `json:"kernel,omitempty"`
	Swappiness  *uint64 `json:"swappiness,omitempty"` // 0 to 100
}

// CPU limits.
type CPU struct {
	Nano            int64  `json:"nano,omitempty"` // --cpus in 10⁻⁹ processors
	Shares          uint64 `json:"shares,omitempty"`
	Quota           int64  `json:"quota,omitempty"`  // microseconds
	Period          uint64 `json:"period,omitempty"` // microseconds
	RealtimeRuntime int64  `json:"realtimeRuntime,omitempty"`
	RealtimePeriod  uint64 `json:"realtimePeriod,omitempty"`
	Cpus            string `json:"cpus,omitempty"` // --cpuset-cpus
	Mems            string `json:"mems,omitempty"`
}

// Block limits block devices.
type Block struct {
	Weight       uint16         `json:"weight,omitempty"` // 10 to 1000
	DeviceWeight []DeviceNumber `json:"deviceWeight,omitempty"`
	ReadBps      []DeviceNumber `json:"readBps,omitempty"`
	WriteBps     []DeviceNumber `json:"writeBps,omitempty"`
	ReadIOps     []DeviceNumber `json:"readIOps,omitempty"`
	WriteIOps    []DeviceNumber `json:"writeIOps,omitempty"`
}

// DeviceNumber is a number for one device, by its path on the host.
type DeviceNumber struct {
	Path  string `json:"path"`
	Value uint64 `json:"value"`
}

// Ulimit is one setrlimit(2).
type Ulimit struct {
	Name string `json:"name"` // nofile, nproc, …
	Soft int64  `json:"soft"` // -1 unlimited
	Hard int64  `json:"hard"`
}

// Devices are what the container may use besides the default ones.
type Devices struct {
	Add   []Device     `json:"add,omitempty"`
	Rules []string     `json:"rules,omitempty"` // "c 1:3 rwm"
	CDI   []string     `json:"cdi,omitempty"`   // vendor.com/class=name
	GPUs  []GPURequest `json:"gpus,omitempty"`
}

// Device is one --device.
type Device struct {
	Host        string `json:"host"`
	Container   string `json:"container"`
	Permissions string `json:"permissions"` // of "rwm"
}

// Inside is where it is in the container.
func (d *Device) Inside() string { return path.Clean("/" + cmp.Or(d.Container, d.Host)) }

// GPURequest is one --gpus.
type GPURequest struct {
	Count        int               `json:"count,omitempty"` // -1 all
	IDs          []string          `json:"ids,omitempty"`
	Driver       string            `json:"driver,omitempty"`
	Capabilities [][]string        `json:"capabilities,omitempty"`
	Options      map[string]string `json:"options,omitempty"`
}

// Security is what the process may do.
type Security struct {
	Privileged bool `json:"privileged,omitempty"`
	// Nested lets engines and an init run inside, in a user namespace of its own.
	Nested          bool              `json:"nested,omitempty"`
	CapAdd          []string          `json:"capAdd,omitempty"` // as typed, upper case, with CAP_; or ALL
	CapDrop         []string          `json:"capDrop,omitempty"`
	NoNewPrivileges bool              `json:"noNewPrivileges,omitempty"`
	Seccomp         string            `json:"seccomp,omitempty"` // "" default, unconfined, or the profile's text
	AppArmor        string            `json:"appArmor,omitempty"`
	Labels          []string          `json:"labels,omitempty"` // SELinux: disable, type:…, level:…, …
	Mask            []string          `json:"mask,omitempty"`
	Unmask          []string          `json:"unmask,omitempty"` // ALL, or paths
	SystemPaths     string            `json:"systemPaths,omitempty"`
	ReadOnlyRoot    bool              `json:"readOnlyRoot,omitempty"`
	ReadOnlyTmpfs   bool              `json:"readOnlyTmpfs,omitempty"` // with it: tmpfs on /run, /tmp, /var/tmp
	Sysctls         map[string]string `json:"sysctls,omitempty"`
	Options         []string          `json:"options,omitempty"` // --security-opt as typed, for inspect
}
