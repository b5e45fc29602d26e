package bundle

import (
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/base/fault"
	"berth/container/config"
)

// Person is the ordinary user who calls, as the user's namespace has it: 0 is the
// user's own id, and subordinate ones (subuid(5)) come from 1 on.
type Person struct {
	UID, GID   uint32 // outside
	Name, Home string
	// UIDs and GIDs are the namespace's maps, without gaps inside.
	UIDs, GIDs []specs.LinuxIDMapping
}

// IDs is how many ids of users and groups the namespace has.
func (p *Person) IDs() (uids, gids uint32) { return count(p.UIDs), count(p.GIDs) }

func count(maps []specs.LinuxIDMapping) (n uint32) {
	for _, m := range maps {
		n = max(n, m.ContainerID+m.Size)
	}
	return n
}

// Within splits maps where those of the namespace around end: the kernel takes no line
// that lies in two of them, user_namespaces(7).
func Within(maps, around []specs.LinuxIDMapping) (out []specs.LinuxIDMapping) {
	for _, m := range maps {
		for m.Size > 0 {
			n := m.Size
			for _, a := range around {
				if m.HostID >= a.ContainerID && m.HostID-a.ContainerID < a.Size {
					n = min(n, a.Size-(m.HostID-a.ContainerID))
				}
			}
			out = append(out, specs.LinuxIDMapping{ContainerID: m.ContainerID, HostID: m.HostID, Size: n})
			m.ContainerID, m.HostID, m.Size = m.ContainerID+n, m.HostID+n, m.Size-n
		}
	}
	return out
}

// OwnIDs are the maps that --userns gives an ordinary user's container, from its ids
// to those of the user's namespace; nil where it shares that. What of the
// namespace is a part, for auto, is the caller's affair. Error: Unsupported where the
// user has too few ids.
func OwnIDs(mode string, p *Person) (uids, gids []specs.LinuxIDMapping, err error) {
	name, options, _ := strings.Cut(mode, ":")
	allUIDs, allGIDs := p.IDs()
	switch name {
	case "private":
		uids, gids = []specs.LinuxIDMapping{{Size: allUIDs}}, []specs.LinuxIDMapping{{Size: allGIDs}}
	case "nomap":
		if allUIDs < 2 || allGIDs < 2 {
			return nil, nil, fault.New(fault.Unsupported, "--userns=nomap: %s", needIDs)
		}
		uids, gids = []specs.LinuxIDMapping{{HostID: 1, Size: allUIDs - 1}}, []specs.LinuxIDMapping{{HostID: 1, Size: allGIDs - 1}}
	case "keep-id":
		uid, gid := KeptID(options, p)
		uids, gids = keep(uid, allUIDs-1), keep(gid, allGIDs-1)
	}
	return Within(uids, p.UIDs), Within(gids, p.GIDs), nil
}

const needIDs = "the user has no subordinate ids, see subuid(5)"

// KeptID is who the user is inside with keep-id[:uid=N,gid=N].
func KeptID(options string, p *Person) (uid, gid uint32) {
	uid, gid = p.UID, p.GID
	for _, o := range strings.Split(options, ",") {
		key, value, _ := strings.Cut(o, "=")
		if n, err := strconv.ParseUint(value, 10, 32); err == nil {
			switch key {
			case "uid":
				uid = uint32(n)
			case "gid":
				gid = uint32(n)
			}
		}
	}
	return uid, gid
}

// keep maps id to the user and all others, from 0 on, to the subordinate ids.
func keep(id, subordinate uint32) (out []specs.LinuxIDMapping) {
	if below := min(id, subordinate); below > 0 {
		out = append(out, specs.LinuxIDMapping{ContainerID: 0, HostID: 1, Size: below})
	}
	out = append(out, specs.LinuxIDMapping{ContainerID: id, HostID: 0, Size: 1})
	if subordinate > id {
		out = append(out, specs.LinuxIDMapping{ContainerID: id + 1, HostID: id + 1, Size: subordinate - id})
	}
	return out
}

// SameIDs reports whether maps leave all ids as they are: no file needs another owner.
func SameIDs(lists ...[]specs.LinuxIDMapping) bool {
	for _, list := range lists {
		for _, m := range list {
			if m.ContainerID != m.HostID {
				return false
			}
		}
	}
	return true
}

// largestNamed is the largest id that a process of the configuration is given by number, 0 for none.
func largestNamed(c *config.Config, r *Resolved) (most uint32) {
	uids, gids := LargeIDs(c, r, 0)
	for _, n := range append(uids, gids...) {
		most = max(most, n)
	}
	return most
}

// PartSize is how many ids --userns=auto takes of an ordinary user's if nobody says: those
// of all users and groups of the image, of which the largest is given, and of the configuration.
func PartSize(c *config.Config, r *Resolved, largest uint32) uint32 {
	return max(least, largest+1, largestNamed(c, r)+1)
}

// least is podman's smallest range.
const least = 1024
