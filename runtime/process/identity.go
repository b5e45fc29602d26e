package process

import (
	"math"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/runtime/caps"
	"berth/runtime/initproc"
	"berth/runtime/plan"
)

// maxGroups is the kernel's NGROUPS_MAX, see getgroups(2).
const maxGroups = 65536

// noID is -1, which the calls that set ids take for "leave it": a process that
// should become a user would stay root (security class V12).
const noID = math.MaxUint32

func identity(b *plan.Builder, p *specs.Process, o *Options) error {
	u := &p.User
	if u.UID == noID {
		return invalid("process.user.uid", "%d is no user id", u.UID)
	}
	if u.GID == noID {
		return invalid("process.user.gid", "%d is no group id", u.GID)
	}
	if len(u.AdditionalGids) > maxGroups {
		return invalid("process.user.additionalGids", "more than %d groups", maxGroups)
	}
	for i, g := range u.AdditionalGids {
		if g == noID {
			return invalid("process.user.additionalGids", "[%d]: %d is no group id", i, g)
		}
	}
	b.Add(&initproc.Stdio{UID: u.UID}, &initproc.Identity{
		UID: u.UID, GID: u.GID, Groups: u.AdditionalGids,
		Caps:      capSets(p.Capabilities, o),
		KeepAdmin: o.Filter != nil && !p.NoNewPrivileges,
	})
	return nil
}

// capSets turns names into bit sets. Capabilities that the kernel does not
// have are logged and left out (config.md, "capabilities").
func capSets(c *specs.LinuxCapabilities, o *Options) initproc.CapSets {
	if c == nil {
		return initproc.CapSets{}
	}
	last := lastCap()
	var missing []string
	set := func(names []string) uint64 {
		bits, unknown := caps.Set(names, last)
		for _, name := range unknown {
			if name = clip(name); !contains(missing, name) && len(missing) < 16 {
				missing = append(missing, name)
			}
		}
		return bits
	}
	s := initproc.CapSets{
		Bounding: set(c.Bounding), Effective: set(c.Effective), Inheritable: set(c.Inheritable),
		Permitted: set(c.Permitted), Ambient: set(c.Ambient),
	}
	if len(missing) != 0 {
		o.warn("capabilities unknown to this kernel are ignored: %q", strings.Join(missing, ", "))
	}
	return s
}

// lastCap is replaced by golden tests, which hold for every kernel.
var lastCap = caps.Last

func contains(list []string, s string) bool {
	for _, v := range list {
		if v == s {
			return true
		}
	}
	return false
}
