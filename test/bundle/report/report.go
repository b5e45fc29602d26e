// Package report is the shape of what the probe program tells about the
// process it runs as: the words that tests compare.
//
// It is plain data, shared by the probe (which fills it inside a container)
// and the tests (which read it outside). It is not a general view of
// processes. It belongs to the tests, outside the rows.
package report

// Report is one process's view of itself. Fields that could not be read
// stay zero and the reason is in Errors, keyed by the field's JSON name.
type Report struct {
	IDs        IDs               `json:"ids"`
	Caps       Caps              `json:"caps"`
	Limits     map[string]Limit  `json:"limits"`
	Mounts     []Mount           `json:"mounts"`
	Namespaces map[string]string `json:"namespaces"`
	UIDMap     string            `json:"uidMap"`
	GIDMap     string            `json:"gidMap"`
	Exec       Exec              `json:"exec"`
	Sched      Sched             `json:"sched"`
	Security   Security          `json:"security"`
	Host       Host              `json:"host"`
	FDs        []FD              `json:"fds"`
	TTY        TTY               `json:"tty"`
	Time       Time              `json:"time"`
	Cgroups    []string          `json:"cgroups"`
	Devices    map[string]Inode  `json:"devices"`
	Errors     map[string]string `json:"errors,omitempty"`
}

// IDs are the process's identities (getresuid(2), setfsuid(2), getgroups(2)).
type IDs struct {
	PID    int    `json:"pid"`
	PPID   int    `json:"ppid"`
	PGID   int    `json:"pgid"`
	SID    int    `json:"sid"`
	UID    [4]int `json:"uid"` // real, effective, saved, file system
	GID    [4]int `json:"gid"`
	Groups []int  `json:"groups"`
}

// Caps are the five capability sets as sorted names (capabilities(7)).
type Caps struct {
	Inheritable []string `json:"inheritable"`
	Permitted   []string `json:"permitted"`
	Effective   []string `json:"effective"`
	Bounding    []string `json:"bounding"`
	Ambient     []string `json:"ambient"`
}

// Limit is a soft and a hard resource limit (getrlimit(2)).
type Limit struct {
	Soft uint64 `json:"soft"`
	Hard uint64 `json:"hard"`
}

// Mount is one line of /proc/self/mountinfo, in the order of the file.
type Mount struct {
	Root        string   `json:"root"`
	Target      string   `json:"target"`
	Options     []string `json:"options"`
	Propagation []string `json:"propagation"`
	Type        string   `json:"type"`
	Source      string   `json:"source"`
	Super       []string `json:"super"`
}

// Exec is what execve(2) and its caller passed on.
type Exec struct {
	Args  []string `json:"args"`
	Env   []string `json:"env"`
	Cwd   string   `json:"cwd"`
	Umask string   `json:"umask"` // octal, as in 0022
}

// Sched is sched_getattr(2), ioprio_get(2) and the allowed CPUs.
type Sched struct {
	Policy   int    `json:"policy"`
	Flags    uint64 `json:"flags"`
	Nice     int    `json:"nice"`
	Priority int    `json:"priority"`
	Runtime  uint64 `json:"runtime"`
	Deadline uint64 `json:"deadline"`
	Period   uint64 `json:"period"`
	IOClass  int    `json:"ioClass"`
	IOLevel  int    `json:"ioLevel"`
	CPUs     string `json:"cpus"`
	Mems     string `json:"mems"`
}

// Security is the rest of the confinement of the process.
type Security struct {
	NoNewPrivs  int    `json:"noNewPrivs"`
	Seccomp     int    `json:"seccomp"` // 0 none, 1 strict, 2 filter
	Filters     int    `json:"filters"`
	Label       string `json:"label"` // /proc/self/attr/current
	Dumpable    int    `json:"dumpable"`
	OOMScoreAdj int    `json:"oomScoreAdj"`
	Keyring     string `json:"keyring"` // description of the session keyring
	Personality string `json:"personality"`
	SecureBits  int    `json:"secureBits"`
	THPDisabled int    `json:"thpDisabled"`
}

// Host is what uname(2) says.
type Host struct {
	Hostname   string `json:"hostname"`
	Domainname string `json:"domainname"`
}

// FD is one inherited file descriptor.
type FD struct {
	N      int    `json:"n"`
	Target string `json:"target"`
}

// TTY is about standard input and the controlling terminal.
type TTY struct {
	Stdin  bool   `json:"stdin"`
	Stdout bool   `json:"stdout"`
	Stderr bool   `json:"stderr"`
	Rows   int    `json:"rows"`
	Cols   int    `json:"cols"`
	Name   string `json:"name"`
	Ctl    bool   `json:"ctl"` // stdin is our session's controlling terminal
}

// Time are the offsets of the time namespace, as in
// /proc/self/timens_offsets: seconds and nanoseconds.
type Time struct {
	Monotonic string `json:"monotonic"`
	Boottime  string `json:"boottime"`
}

// Inode is one entry of /dev.
type Inode struct {
	Mode   string `json:"mode"` // as in crw-rw-rw-
	UID    int    `json:"uid"`
	GID    int    `json:"gid"`
	Device string `json:"device,omitempty"` // major:minor
	Link   string `json:"link,omitempty"`
}
