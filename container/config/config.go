// Package config is what was asked of a container: plain data, the same for
// every dialect, complete when the container is created and never changed by
// what happens to it afterwards. It is the second door of container, for all
// above it: a dialect translates its words into a Config once, and container/bundle
// translates a Config into an OCI bundle once. It decides nothing and reads no
// file. Row 3.
//
// A zero value means "not asked": the image's setting, then the engine's
// default holds. Where an explicit zero differs from nothing said, the field is
// a pointer.
package config

import "time"

// Version is the version of the form below, kept in every record.
const Version = 1

// Config is one container as it was asked for.
type Config struct {
	Version     int               `json:"version"`
	Image       Image             `json:"image"`
	Process     Process           `json:"process"`
	Hostname    string            `json:"hostname,omitempty"`
	Domainname  string            `json:"domainname,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Stdio       Stdio             `json:"stdio"`
	Namespaces  Namespaces        `json:"namespaces"`
	Network     Network           `json:"network"`
	Mounts      []Mount           `json:"mounts,omitempty"`
	VolumesFrom []string          `json:"volumesFrom,omitempty"` // NAME[:ro|:rw]
	Resources   Resources         `json:"resources"`
	Devices     Devices           `json:"devices"`
	Security    Security          `json:"security"`
	Restart     Restart           `json:"restart"`
	Health      *Health           `json:"health,omitempty"` // nil: the image's
	Log         Log               `json:"log"`
	Stop        Stop              `json:"stop"`
	Life        Life              `json:"life"`
}

// Image is what the root file system is made of.
type Image struct {
	Name     string `json:"name"`               // as typed; shown by ps
	ID       string `json:"id,omitempty"`       // digest of the configuration
	Platform string `json:"platform,omitempty"` // os/arch[/variant], as asked
	Pull     string `json:"pull,omitempty"`     // always, missing, never
	// SizeLimit bounds the writable layer in bytes (--storage-opt size=), 0 none.
	SizeLimit int64  `json:"sizeLimit,omitempty"`
	SizeAsked string `json:"sizeAsked,omitempty"` // as typed; shown by inspect
	// Dialect is whose defaults hold: "docker" or "podman".
	Dialect string `json:"dialect,omitempty"`
	// Volumes is what becomes of the image's volumes: "" or bind (anonymous
	// volumes), tmpfs, ignore.
	Volumes string `json:"volumes,omitempty"`
}

// Process is the first process.
type Process struct {
	// Entrypoint replaces the image's; with ClearEntrypoint the image's goes and
	// nothing takes its place.
	Entrypoint      []string `json:"entrypoint,omitempty"`
	ClearEntrypoint bool     `json:"clearEntrypoint,omitempty"`
	Args            []string `json:"args,omitempty"`     // after the entrypoint; none: the image's
	Env             []string `json:"env,omitempty"`      // KEY=value; a bare KEY takes it away
	ClearEnv        bool     `json:"clearEnv,omitempty"` // the image's goes
	WorkDir         string   `json:"workDir,omitempty"`
	User            string   `json:"user,omitempty"`   // name|uid[:group|gid]
	Groups          []string `json:"groups,omitempty"` // names or gids besides
	Init            bool     `json:"init,omitempty"`   // a small init as PID 1
	Umask           string   `json:"umask,omitempty"`
	TimeZone        string   `json:"timeZone,omitempty"` // --tz: a zone's name, or local
}

// Stdio says what the process's first three descriptors are.
type Stdio struct {
	Terminal  bool `json:"terminal,omitempty"`
	OpenStdin bool `json:"openStdin,omitempty"` // -i; else stdin is /dev/null
	StdinOnce bool `json:"stdinOnce,omitempty"` // closed when the first client leaves
	// Attach* are what the creating client asked for (-a); inspect shows them.
	AttachStdin  bool `json:"attachStdin,omitempty"`
	AttachStdout bool `json:"attachStdout,omitempty"`
	AttachStderr bool `json:"attachStderr,omitempty"`
	// Height and Width are the terminal's first size in cells, 0 unknown.
	Height uint16 `json:"height,omitempty"`
	Width  uint16 `json:"width,omitempty"`
}

// Namespaces holds docker's modes: "" (the default), "private", "host",
// "container:ID", "none" where it means something, "shareable" (ipc),
// "keep-id…", "auto…", "nomap" (user), "ns:PATH".
type Namespaces struct {
	User   string `json:"user,omitempty"`
	PID    string `json:"pid,omitempty"`
	IPC    string `json:"ipc,omitempty"`
	UTS    string `json:"uts,omitempty"`
	Cgroup string `json:"cgroup,omitempty"`
}

// IPCMode is the mode of IPC with the dialect's default filled in.
func (c *Config) IPCMode() string {
	switch {
	case c.Namespaces.IPC != "":
		return c.Namespaces.IPC
	case c.Image.Dialect == "podman":
		return "shareable"
	}
	return "private"
}

// Network is how the container is reached. The network namespace is private
// unless Mode says otherwise.
type Network struct {
	// Mode is "none", "host", "container:ID", "ns:PATH" or "bridge": the
	// endpoints below then name the networks.
	Mode       string     `json:"mode,omitempty"`
	Endpoints  []Endpoint `json:"endpoints,omitempty"`
	Publish    []Port     `json:"publish,omitempty"`
	PublishAll bool       `json:"publishAll,omitempty"` // -P
	Expose     []Port     `json:"expose,omitempty"`     // container side only
	DNS        []string   `json:"dns,omitempty"`
	DNSSearch  []string   `json:"dnsSearch,omitempty"` // a single "." clears it
	DNSOptions []string   `json:"dnsOptions,omitempty"`
	ExtraHosts []string   `json:"extraHosts,omitempty"` // NAME:ADDRESS; ADDRESS may be host-gateway
	Links      []string   `json:"links,omitempty"`      // CONTAINER:ALIAS
	NoHosts    bool       `json:"noHosts,omitempty"`    // podman's --no-hosts
	// Left: it was disconnected from all its networks.
	Left bool `json:"left,omitempty"`
}

// Endpoint is one network that the container is on.
type Endpoint struct {
	Network    string            `json:"network"` // name or id
	Aliases    []string          `json:"aliases,omitempty"`
	Links      []string          `json:"links,omitempty"` // NAME:ALIAS, on networks that people made
	IPv4       string            `json:"ipv4,omitempty"`
	IPv6       string            `json:"ipv6,omitempty"`
	LinkLocal  []string          `json:"linkLocal,omitempty"`
	MAC        string            `json:"mac,omitempty"`
	Interface  string            `json:"interface,omitempty"` // name inside
	DriverOpts map[string]string `json:"driverOpts,omitempty"`
	Priority   int               `json:"priority,omitempty"` // gw-priority
}

// Port is a published range: equal numbers of ports on both sides.
type Port struct {
	Protocol  string `json:"protocol"`          // tcp, udp, sctp
	Container uint16 `json:"container"`         // first port inside
	Host      uint16 `json:"host,omitempty"`    // first port outside, 0 any free one
	HostEnd   uint16 `json:"hostEnd,omitempty"` // for one inside: any free of Host to HostEnd
	Count     uint16 `json:"count"`             // at least 1
	Address   string `json:"address,omitempty"` // of the host; "" all
}

// Mount kinds.
const (
	MountBind   = "bind"
	MountVolume = "volume"
	MountTmpfs  = "tmpfs"
	MountImage  = "image"
)

// Mount is one -v, --mount or --tmpfs.
type Mount struct {
	Kind        string   `json:"kind"`
	Source      string   `json:"source,omitempty"` // path, volume name ("" anonymous) or image
	Target      string   `json:"target"`           // absolute, clean
	ReadOnly    bool     `json:"readOnly,omitempty"`
	Options     []string `json:"options,omitempty"` // further mount options as written: exec, dev, size=…, U, z, Z, idmap=…
	Propagation string   `json:"propagation,omitempty"`
	Subpath     string   `json:"subpath,omitempty"`
	// NonRecursive binds without submounts; ReadOnlyRecursive is docker's
	// bind-recursive: "", "writable", "readonly".
	NonRecursive      bool   `json:"nonRecursive,omitempty"`
	ReadOnlyRecursive string `json:"readOnlyRecursive,omitempty"`
	CreateSource      bool   `json:"createSource,omitempty"` // -v makes a missing folder
	NoCopy            bool   `json:"noCopy,omitempty"`
	// Volume* make a volume that is not there yet.
	VolumeDriver string            `json:"volumeDriver,omitempty"`
	VolumeOpts   map[string]string `json:"volumeOpts,omitempty"`
	VolumeLabels map[string]string `json:"volumeLabels,omitempty"`
	SizeBytes    int64             `json:"sizeBytes,omitempty"` // tmpfs
	Mode         uint32            `json:"mode,omitempty"`      // tmpfs, with sticky bit as in chmod(1)
	// Syntax is the flag that it came by: "-v" or "--mount", for inspect's Binds and Mounts.
	Syntax string `json:"syntax,omitempty"`
}

// Stop says how the container is ended.
type Stop struct {
	Signal  string `json:"signal,omitempty"`
	Timeout *int   `json:"timeout,omitempty"` // seconds, -1 for ever
}

// Life is what happens around a run.
type Life struct {
	Remove  bool     `json:"remove,omitempty"`  // --rm
	CIDFile string   `json:"cidFile,omitempty"` // removed with a failed create only
	PIDFile string   `json:"pidFile,omitempty"`
	Secrets []Secret `json:"secrets,omitempty"`
	Runtime string   `json:"runtime,omitempty"` // as asked, shown by inspect
	// Timeout kills the container after that many seconds, 0 never.
	Timeout uint `json:"timeout,omitempty"`
}

// Secret is podman's --secret.
type Secret struct {
	Name   string `json:"name"`
	ID     string `json:"id,omitempty"`   // of the one that was found at create
	Kind   string `json:"kind,omitempty"` // mount, env
	Target string `json:"target,omitempty"`
	UID    uint32 `json:"uid,omitempty"`
	GID    uint32 `json:"gid,omitempty"`
	Mode   uint32 `json:"mode,omitempty"`
}

// Restart is the restart policy.
type Restart struct {
	Policy  string `json:"policy,omitempty"` // no, always, unless-stopped, on-failure
	Retries int    `json:"retries,omitempty"`
}

// Health is a healthcheck as asked; a zero duration is the image's or the default.
type Health struct {
	None          bool          `json:"none,omitempty"`    // --no-healthcheck
	Command       string        `json:"command,omitempty"` // --health-cmd, by the shell
	Interval      time.Duration `json:"interval,omitempty"`
	Timeout       time.Duration `json:"timeout,omitempty"`
	StartPeriod   time.Duration `json:"startPeriod,omitempty"`
	StartInterval time.Duration `json:"startInterval,omitempty"`
	Retries       int           `json:"retries,omitempty"`
	OnFailure     string        `json:"onFailure,omitempty"` // podman's: none, kill, restart, stop
}

// Log is where the output goes.
type Log struct {
	Driver  string            `json:"driver,omitempty"`
	Options map[string]string `json:"options,omitempty"`
}

// The restart policies.
const (
	RestartNo            = "no"
	RestartAlways        = "always"
	RestartUnlessStopped = "unless-stopped"
	RestartOnFailure     = "on-failure"
)

// Wanted reports whether there is a policy at all.
func (r Restart) Wanted() bool { return r.Policy != "" && r.Policy != RestartNo }
