package runtime

import (
	"context"
	"errors"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"io/fs"
	"os"
	"os/user"
	"strconv"

	"berth/runtime/cgroup"
	"berth/runtime/idmap"
)

// HostID is an id of a container as the host sees it; false if it has none there.
func HostID(list []specs.LinuxIDMapping, id uint32) (uint32, bool) { return idmap.Host(list, id) }

// MapsOf reads the maps of a process's user namespace.
func MapsOf(pid int) (uids, gids []specs.LinuxIDMapping, err error) {
	m, err := idmap.Read(pid)
	if err != nil {
		return nil, nil, err
	}
	return m.UID, m.GID, nil
}

// OwnIDs are the ids that an ordinary user may use in a user namespace: its own
// as root, and its subordinate ranges (subuid(5), subgid(5)) from 1 on.
type OwnIDs struct{ maps *idmap.Maps }

// FindOwnIDs looks the caller's ranges up. Without one of users or one of groups
// its own id is all there is.
func FindOwnIDs() (OwnIDs, error) {
	uid := os.Getuid()
	name := strconv.Itoa(uid)
	if u, err := user.LookupId(name); err == nil {
		name = u.Username
	}
	var ranges [2][]idmap.Range
	for i, file := range [...]string{"/etc/subuid", "/etc/subgid"} {
		var err error
		ranges[i], err = idmap.Subordinate(file, name, uint32(uid))
		if errors.Is(err, fs.ErrNotExist) || err == nil && len(ranges[i]) == 0 {
			return OwnIDs{idmap.Self()}, nil
		}
		if err != nil {
			return OwnIDs{}, err
		}
	}
	return OwnIDs{idmap.Extend(idmap.Self(), ranges[0], ranges[1])}, nil
}

// Write maps the ids into the new user namespace in which process pid waits,
// more than one by newuidmap(1) and newgidmap(1). Kind Unsupported, with the
// package's name, if they are missing.
func (o OwnIDs) Write(pid int) error { return o.maps.Write(pid) }

// FindCgroups reports whether containers get a cgroup. Root's do. An ordinary
// user's get theirs from the user's systemd, on cgroup v2 alone; SystemdCgroup is
// set then.
func FindCgroups(rt *Runtime) bool {
	rt.begin() // by one, before several use it at once
	if !rt.rootless() || rt.SystemdCgroup {
		return true
	}
	rt.SystemdCgroup = cgroup.UserManager()
	return rt.SystemdCgroup
}

// OwnScope moves a process of an ordinary user, who has no cgroups of berth's, into
// a scope of its own, so that it outlives the caller's session or service. Where
// the user has no systemd that could, the process stays where it is.
func OwnScope(ctx context.Context, name string, pid int) error {
	if !cgroup.UserManager() {
		return nil
	}
	return cgroup.OwnScope(ctx, name, pid, EndsAfter())
}

// EndsAfter are annotations that keep a scope at shutdown until the unit
// berth.service has stopped the containers in order, systemd.unit(5).
func EndsAfter() map[string]string {
	return map[string]string{"org.systemd.property.Before": "['berth.service']"}
}
