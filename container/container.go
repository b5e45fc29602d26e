// Package container is the door of the container room: what the store knows of
// containers, their state, and what a container's process is made of. It starts
// nothing, mounts nothing and knows no image store, network or volume: the verbs
// hand their outcome in as plain values. Row 3.
//
// On disk:
//
//	ROOT/containers/d/ID/record.json    the record, synced; also hostname, hosts, resolv.conf, logs
//	ROOT/containers/d/ID/summary        what lists show; made again when it is missing
//	ROOT/containers/d/ID/last.json      the last run's facts, for the time after a reboot
//	ROOT/containers/names/NAME          the id; made by link(2), so that one of many gets the name
//	RUN/containers/ID/life.json         facts of this boot: pid, start time, boot id
//	RUN/containers/ID/exit.json         the exit, written by the monitor
//	RUN/containers/ID/…                 record.json and all else of a container with --rm
//	RUN/containers.index                what lists have read; see index
//	RUN/exits/ID                        exits, kept for five minutes after the removal
//	RUN/locks/containers/ID             held by the verb that changes the container
//
// Order of locks: one container at a time; a verb that needs two (rename onto a
// stale name) tries the second without waiting.
package container

import (
	"cmp"
	"net/netip"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/base/ids"
	"berth/container/bundle"
	"berth/container/config"
	"berth/container/idrange"
)

// ID is a container's id.
type ID = ids.ID

// Config is what was asked of a container.
type Config = config.Config

// What a bundle is made of; see package bundle.
type (
	// ImageDefaults is what an image's configuration gives.
	ImageDefaults = bundle.ImageDefaults
	// Resolved is a configuration merged with an image's defaults.
	Resolved = bundle.Resolved
	// Inputs is what the verbs found out for one start.
	Inputs = bundle.Inputs
	// Mount is one mount with its source found.
	Mount = bundle.Mount
	// Layers are those of an image's mount.
	Layers = bundle.Layers
	// Namespaces are those to join, by path.
	Namespaces = bundle.Namespaces
	// Files are the host's sides of /etc/hostname, hosts and resolv.conf.
	Files = bundle.Files
	// Secrets are what a start gives of them.
	Secrets = bundle.Secrets
	// SecretFile is one file of them.
	SecretFile = bundle.SecretFile
	// HostDevices are the host's devices that a container gets.
	HostDevices = bundle.HostDevices
	// Health is a healthcheck, merged.
	Health = bundle.Health
	// Labels are those of the host's security modules.
	Labels = bundle.Labels
	// DeviceID is a device's number.
	DeviceID = bundle.DeviceID
	// UsernsFacts is what the choice of a user namespace depends on.
	UsernsFacts = bundle.UsernsFacts
	// Kernel is a version.
	Kernel = bundle.Kernel
	// HostEntry is one line of /etc/hosts, Resolver what resolv.conf says.
	HostEntry = bundle.HostEntry
	Resolver  = bundle.Resolver
	// Bundle is what the runtime is given.
	Bundle = bundle.Bundle
	// Ranges hands out ids of the host.
	Ranges = idrange.Ranges
	// Range is what one container got.
	Range = idrange.Range
	// Parts hands out ids of an ordinary user's.
	Parts = idrange.Parts
	// Person is the ordinary user who calls.
	Person = bundle.Person
)

// Resolve merges what was asked with the image's defaults, by Docker's rules.
// Error: Invalid, in Docker's words.
func Resolve(c *Config, image *ImageDefaults) (*Resolved, error) { return bundle.Resolve(c, image) }

// SetEnv puts a variable in the place of one of the same name, or at the end; a
// bare KEY removes.
func SetEnv(env []string, e string) []string { return bundle.SetEnv(env, e) }

// Spec makes the OCI configuration of one start. It is pure. Error: Invalid.
func Spec(c *Config, r *Resolved, in *Inputs) (*Bundle, error) { return bundle.Spec(c, r, in) }

// SharedMemory is the source of a /dev/shm that is another container's.
const SharedMemory = bundle.SharedMemory

// Devices looks up the host's devices that a container asks for.
func Devices(c *Config) (*HostDevices, error) { return bundle.Devices(c) }

// DeviceRules say what a container may open.
func DeviceRules(c *Config, d *HostDevices) []specs.LinuxDeviceCgroup {
	return bundle.DeviceRules(c, d)
}

// LiveMount is a mount for a container that runs; see package bundle.
func LiveMount(c *Config, m *Mount, users bool) (specs.Mount, error) {
	return bundle.LiveMount(c, m, users)
}

// Host is what is known of this machine.
type Host = bundle.Host

// Probe looks at this machine; it costs some system calls.
func Probe() Host { return bundle.Probe() }

// MemoryNodes is how many memory nodes there are, 0 unknown.
func MemoryNodes() int { return bundle.MemoryNodes() }

// PrivateUsers decides whether a container gets a user namespace of its own.
func PrivateUsers(c *Config, f *UsernsFacts) UsernsChoice {
	private, reason := bundle.PrivateUsers(c, f)
	return UsernsChoice{Private: private, Reason: reason}
}

// IDMapping tells how the ids of a bind are mapped; see package bundle.
func IDMapping(path string, k Kernel) (how string, can bool, err error) {
	return bundle.IDMapping(path, k)
}

// DefaultCaps are the capabilities that a container of a dialect has by default.
func DefaultCaps(dialect string) []string { return bundle.DefaultCaps(dialect) }

// Hidden are the paths that are masked and read-only in a container by default.
func Hidden(h *Host) (masked, readonly []string) { return bundle.Hidden(h) }

// IDPool is how many ranges of ids there are for containers, and how many ids one has.
func IDPool() (ranges, size int) { return idrange.Count(), idrange.Size }

// LargeIDs lists the ids that the configuration names and a range of size ids, 0 for a
// whole one, has not.
func LargeIDs(c *Config, r *Resolved, size uint32) (uids, gids []uint32) {
	return bundle.LargeIDs(c, r, cmp.Or(size, idrange.Size))
}

// OwnIDs are the maps of an ordinary user's container with ids of its own, nil for none.
func OwnIDs(mode string, p *Person) (uids, gids []specs.LinuxIDMapping, err error) {
	return bundle.OwnIDs(mode, p)
}

// Within splits maps where those of the namespace around end.
func Within(maps, around []specs.LinuxIDMapping) []specs.LinuxIDMapping {
	return bundle.Within(maps, around)
}

// KeptID is who the user is inside with keep-id and its options.
func KeptID(options string, p *Person) (uid, gid uint32) { return bundle.KeptID(options, p) }

// SameIDs reports whether maps leave all ids as they are.
func SameIDs(lists ...[]specs.LinuxIDMapping) bool { return bundle.SameIDs(lists...) }

// PartSize is how many of an ordinary user's ids --userns=auto takes if nobody says.
func PartSize(c *Config, r *Resolved, largest uint32) uint32 { return bundle.PartSize(c, r, largest) }

// UsersSize is how many ids were asked for, 0 if that was not said. Error: Invalid.
func UsersSize(c *Config) (uint32, error) { return bundle.UsersSize(c, idrange.Size) }

// Limits translates resource limits, for update, and refuses those that make no
// sense, in Docker's words.
func Limits(r *config.Resources, dev *HostDevices, host *Host) (*specs.LinuxResources, error) {
	if err := bundle.CheckResources(r, host.CPUs); err != nil {
		return nil, err
	}
	return bundle.Limits(r, dev, host)
}

// HostsFile is the text of /etc/hosts.
func HostsFile(hostname, domainname string, addresses []netip.Addr, extra []HostEntry) (string, error) {
	return bundle.HostsFile(hostname, domainname, addresses, extra)
}

// ResolvConfNamed is the text of /etc/resolv.conf of a container that asks a server
// of ours. dotted: names of one word are looked for with the search list first.
func ResolvConfNamed(host []byte, asked Resolver, server string) (text string, dotted bool, err error) {
	return bundle.ResolvConfNamed(host, asked, server)
}

// ResolvConf is the text of /etc/resolv.conf.
func ResolvConf(host []byte, asked Resolver, hostNetwork bool) (string, error) {
	return bundle.ResolvConf(host, asked, hostNetwork)
}
