// Package idmap checks and writes the id maps of user namespaces:
// user_namespaces(7). It reads the system's subordinate ids, subuid(5).
//
// It allocates no ranges; which ids a container gets is decided above. It
// id-maps no mounts: that is rootfs's. Row 2.
package idmap

import (
	"math"
	"os"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/runtime/namespace"
)

// MaxLines is how many lines the kernel takes in one map.
const MaxLines = 340

// Maps are the two maps of a user namespace.
type Maps struct {
	UID, GID []specs.LinuxIDMapping
}

// FromSpec returns the maps to write for a spec's own user namespace, nil if it
// has none or joins one. Errors have kind Invalid and name the field.
func FromSpec(l *specs.Linux, ns namespace.Set) (*Maps, error) {
	if l == nil {
		return nil, nil
	}
	if err := Check("linux.uidMappings", l.UIDMappings); err != nil {
		return nil, err
	}
	if err := Check("linux.gidMappings", l.GIDMappings); err != nil {
		return nil, err
	}
	given := len(l.UIDMappings)+len(l.GIDMappings) != 0
	if ns.New&unix.CLONE_NEWUSER == 0 {
		if given && !ns.Has(unix.CLONE_NEWUSER) {
			return nil, fault.New(fault.Invalid, "linux.uidMappings, linux.gidMappings: id mappings need a user namespace in linux.namespaces")
		}
		return nil, nil // a joined one has its maps already
	}
	for _, f := range []struct {
		field string
		list  []specs.LinuxIDMapping
		own   int
	}{{"linux.uidMappings", l.UIDMappings, os.Geteuid()}, {"linux.gidMappings", l.GIDMappings, os.Getegid()}} {
		if len(f.list) == 0 {
			return nil, fault.New(fault.Invalid, "%s: a user namespace is asked for, but no mappings", f.field)
		}
		_, root := Host(f.list, 0)
		if !root && !slices.ContainsFunc(f.list, func(m specs.LinuxIDMapping) bool { return m.HostID <= uint32(f.own) && uint32(f.own)-m.HostID < m.Size }) {
			return nil, fault.New(fault.Invalid, "%s: neither container id 0 nor id %d of the caller is mapped, and the container is set up as one of them", f.field, f.own)
		}
	}
	return &Maps{UID: l.UIDMappings, GID: l.GIDMappings}, nil
}

// Check refuses a map that the kernel would refuse, with kind Invalid; field
// stands in the error.
func Check(field string, list []specs.LinuxIDMapping) error {
	if len(list) > MaxLines {
		return fault.New(fault.Invalid, "%s: %d mappings, the kernel takes %d", field, len(list), MaxLines)
	}
	for i, m := range list {
		switch {
		case m.Size == 0:
			return fault.New(fault.Invalid, "%s[%d].size: must not be 0", field, i)
		case overflows(m.ContainerID, m.Size):
			return fault.New(fault.Invalid, "%s[%d].containerID: %d and %d more ids go past the largest id", field, i, m.ContainerID, m.Size)
		case overflows(m.HostID, m.Size):
			return fault.New(fault.Invalid, "%s[%d].hostID: %d and %d more ids go past the largest id", field, i, m.HostID, m.Size)
		}
		for j, o := range list[:i] {
			if overlap(m.ContainerID, m.Size, o.ContainerID, o.Size) {
				return fault.New(fault.Invalid, "%s[%d].containerID: overlaps with mapping %d", field, i, j)
			}
			if overlap(m.HostID, m.Size, o.HostID, o.Size) {
				return fault.New(fault.Invalid, "%s[%d].hostID: overlaps with mapping %d", field, i, j)
			}
		}
	}
	return nil
}

// overflows: the last id, 4294967295, means "none" everywhere.
func overflows(first, size uint32) bool {
	return uint64(first)+uint64(size) > math.MaxUint32
}

func overlap(a, an, b, bn uint32) bool {
	return uint64(a) < uint64(b)+uint64(bn) && uint64(b) < uint64(a)+uint64(an)
}

// Host returns the host's id behind a container's id.
func Host(list []specs.LinuxIDMapping, id uint32) (uint32, bool) {
	for _, m := range list {
		if id >= m.ContainerID && id-m.ContainerID < m.Size {
			return m.HostID + (id - m.ContainerID), true
		}
	}
	return 0, false
}

// Self maps container id 0 to the caller alone: what an ordinary user may do
// without help, and what `spec --rootless` prints.
func Self() *Maps {
	return &Maps{
		UID: []specs.LinuxIDMapping{{ContainerID: 0, HostID: uint32(os.Geteuid()), Size: 1}},
		GID: []specs.LinuxIDMapping{{ContainerID: 0, HostID: uint32(os.Getegid()), Size: 1}},
	}
}

// Extend maps container id 0 to the caller and the ids from 1 on to the
// caller's subordinate ranges, as far as one map's lines reach.
func Extend(self *Maps, uids, gids []Range) *Maps {
	return &Maps{UID: extend(self.UID, uids), GID: extend(self.GID, gids)}
}

func extend(list []specs.LinuxIDMapping, ranges []Range) []specs.LinuxIDMapping {
	out := append([]specs.LinuxIDMapping(nil), list...)
	next := uint64(0)
	for _, m := range out {
		next = max(next, uint64(m.ContainerID)+uint64(m.Size))
	}
	for _, r := range ranges {
		m := specs.LinuxIDMapping{ContainerID: uint32(next), HostID: r.First, Size: r.Size}
		if len(out) == MaxLines || Check("", append(out[:len(out):len(out)], m)) != nil {
			continue // an overlap with an earlier range, or no ids left
		}
		out = append(out, m)
		next += uint64(r.Size)
	}
	return out
}
