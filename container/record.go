package container

import (
	"slices"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/container/config"
)

// recordVersion is the version of Record's form.
const recordVersion = 1

// Record is what the store knows of one container. It is written at create and
// changed by rename and update alone; what happens is facts, see Facts.
type Record struct {
	Version  int           `json:"version"`
	ID       ID            `json:"id"`
	Name     string        `json:"name"` // without a slash in front
	Created  time.Time     `json:"created"`
	BootID   string        `json:"bootId"` // of the boot that made it: a --rm container does not outlive it
	Config   config.Config `json:"config"`
	Resolved Resolved      `json:"resolved"`
	Image    ImageUsed     `json:"image"`
	// Snapshot is the key of the writable layer, Lease that of what keeps it.
	Snapshot string `json:"snapshot"`
	Lease    string `json:"lease,omitempty"`
	// Hostname is settled at create: the one asked for, or the id's first 12 digits.
	Hostname string       `json:"hostname"`
	Userns   UsernsChoice `json:"userns"`
	SELinux  SELinux      `json:"selinux,omitzero"`
	Mounts   []MountPoint `json:"mounts,omitempty"`
	// LogPath is the log file, "" if its driver keeps none.
	LogPath string `json:"logPath,omitempty"`
}

// ImageUsed is the image that a container was made of.
type ImageUsed struct {
	ID   string `json:"id"`   // digest of the configuration
	Name string `json:"name"` // as typed
	// Digest is the manifest's.
	Digest   string `json:"digest,omitempty"`
	Platform string `json:"platform,omitempty"`
}

// SELinux is what a container has of it, decided at create; of a machine where it is
// active.
type SELinux struct {
	// Process and Mount are the labels of its processes and files; "" for none.
	Process string `json:"process,omitempty"`
	Mount   string `json:"mount,omitempty"`
	Layers  string `json:"layers,omitempty"` // of the image's files on disk
	// Level is the number of the level that was drawn for it, with Drawn.
	Level uint32 `json:"level,omitempty"`
	Drawn bool   `json:"drawn,omitempty"`
}

// UsernsChoice is whether the container has a user namespace of its own,
// decided at create.
type UsernsChoice struct {
	Private bool `json:"private"`
	// Reason says why not; shown once by create, always by inspect.
	Reason string `json:"reason,omitempty"`
	// Size is how many ids the range has inside, 0 for all of it.
	Size uint32 `json:"size,omitempty"`
	// Large are ids above the range that get a mapping each.
	LargeUIDs []uint32 `json:"largeUids,omitempty"`
	LargeGIDs []uint32 `json:"largeGids,omitempty"`
	// UIDs and GIDs are the maps of an ordinary user's container with other ids than the
	// user's: settled at create, as its layers on disk belong to them. They may be
	// those of another container, whose user namespace it shares.
	UIDs []specs.LinuxIDMapping `json:"uids,omitempty"`
	GIDs []specs.LinuxIDMapping `json:"gids,omitempty"`
	// Part says that they are a part of the user's which no other container gets.
	Part bool `json:"part,omitempty"`
}

// Settled tells whether its ids were settled at create.
func (u *UsernsChoice) Settled() bool { return len(u.UIDs) > 0 }

// Has tells whether its ids are those of these maps.
func (u *UsernsChoice) Has(uids, gids []specs.LinuxIDMapping) bool {
	return slices.Equal(u.UIDs, uids) && slices.Equal(u.GIDs, gids)
}

// MapsMounts tells whether what is mounted gets the container's ids by id-mapping.
func (u *UsernsChoice) MapsMounts() bool { return u.Private && !u.Settled() }

// MountPoint is one mount as inspect shows it.
type MountPoint struct {
	Kind        string `json:"kind"`           // bind, volume, tmpfs, image
	Name        string `json:"name,omitempty"` // of a volume
	Source      string `json:"source,omitempty"`
	Target      string `json:"target"`
	Driver      string `json:"driver,omitempty"`
	Mode        string `json:"mode,omitempty"` // the options as typed
	ReadOnly    bool   `json:"readOnly,omitempty"`
	Propagation string `json:"propagation,omitempty"`
	// Anonymous volumes go with `rm -v` and with --rm.
	Anonymous bool `json:"anonymous,omitempty"`
	// Asked is the mount as it was asked for; an image's volume has just a target.
	Asked config.Mount `json:"asked"`
}

// Summary is what lists show of one container, small and quick to read.
type Summary struct {
	Version  int
	ID       ID
	Name     string
	Created  time.Time
	Image    string // as typed
	ImageID  string // digest of the configuration
	Command  []string
	Labels   map[string]string
	Networks []string
	Volumes  []string // names, and paths of binds
	Targets  []string // where the mounts are
	Expose   []config.Port
	Publish  []config.Port
	Restart  config.Restart
	Health   bool // it has a healthcheck
	Remove   bool // --rm
	// User and Groups are who an exec runs as, in the image's or the container's words.
	User   string
	Groups []string
	Facts  Facts
}

// State derives the state.
func (s *Summary) State() State { return s.Facts.State() }
