package isolation

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	units "github.com/docker/go-units"
)

// limitsSeen are limits; -1 none, -2 unknown.
type limitsSeen struct {
	pids, memory int64
	devices      string // what bounds them, "" nothing
	group        bool   // it has a cgroup
}

const (
	unlimited = -1
	unknown   = -2
)

// seenLimits reads a container's cgroup.
func seenLimits(s *Subject) limitsSeen {
	l := limitsSeen{pids: unknown, memory: unknown, group: len(s.Cgroups) > 0}
	v1 := func(controller, file string) (int64, bool) {
		dir, ok := s.Cgroups[controller]
		if !ok {
			return 0, false
		}
		return limit(filepath.Join(dir, file))
	}
	if n, ok := v1("pids", "pids.max"); ok {
		l.pids = n
	} else if n, ok := v1("", "pids.max"); ok {
		l.pids = n
	}
	if n, ok := v1("memory", "memory.limit_in_bytes"); ok {
		l.memory = n
	} else if n, ok := v1("", "memory.max"); ok {
		l.memory = n
	}
	if dir, ok := s.Cgroups["devices"]; ok {
		if t, ok := text(filepath.Join(dir, "devices.list")); ok && !strings.HasPrefix(t, "a *:* rwm") {
			l.devices = "v1 controller devices"
		}
	} else if dir, ok := s.Cgroups[""]; ok && !s.Rootless {
		if n, err := s.DeviceFilters(dir); err == nil && n > 0 {
			l.devices = "a BPF program"
		}
	}
	return l
}

// limit reads a limit; "max", and the numbers that v1 has for it, are none.
func limit(path string) (int64, bool) {
	t, ok := text(path)
	if !ok {
		return 0, false
	}
	if t == "max" {
		return unlimited, true
	}
	n, err := strconv.ParseInt(t, 10, 64)
	if err == nil && n >= 1<<62 {
		n = unlimited
	}
	return n, err == nil
}

// askedLimits is what a start sets.
func askedLimits(s *Subject) limitsSeen {
	l := limitsSeen{pids: unlimited, memory: unlimited, group: !s.Rootless || !s.Probed.NoCgroup}
	if !s.Record.Config.Security.Privileged && !s.Rootless {
		l.devices = "rules of its cgroup"
	}
	res := s.Asked.Linux.Resources
	if res == nil {
		return l
	}
	if res.Pids != nil && res.Pids.Limit != nil && *res.Pids.Limit > 0 {
		l.pids = *res.Pids.Limit
	}
	if res.Memory != nil && res.Memory.Limit != nil && *res.Memory.Limit > 0 {
		l.memory = *res.Memory.Limit
	}
	return l
}

func limits(s *Subject, v *view) []Row {
	p := Row{"pids", "Limit of processes", Yes, strconv.FormatInt(v.limits.pids, 10)}
	m := Row{"memory", "Limit of memory", Yes, units.BytesSize(float64(v.limits.memory))}
	for _, one := range []struct {
		r    *Row
		n    int64
		flag string
	}{{&p, v.limits.pids, "--pids-limit"}, {&m, v.limits.memory, "--memory"}} {
		switch {
		case !v.limits.group:
			one.r.State, one.r.Why = No, "it has no cgroup, so no limit holds"
		case one.n == unlimited:
			one.r.State, one.r.Why = No, "none: "+one.flag
		case one.n == unknown:
			one.r.State, one.r.Why = Unknown, "its cgroup does not tell, or has no such controller"
		}
	}
	return []Row{keyring(s, v), p, m, rotation(s)}
}

func rotation(s *Subject) Row {
	r := Row{"log", "Log rotation", Yes, ""}
	switch l := s.Log; {
	case !l.File:
		r.Why = "driver " + l.Driver + ": berth keeps no file"
	case l.MaxSize <= 0:
		r.State, r.Why = No, "the log grows without bound: --log-opt max-size=10m"
	default:
		r.Why = fmt.Sprintf("%d × %s", max(l.MaxFile, 1), units.BytesSize(float64(l.MaxSize)))
	}
	return r
}

// keyring looks for the session keyring that the first process has joined.
func keyring(s *Subject, v *view) Row {
	r := Row{"keyring", "Session keyring of its own", Yes, ""}
	if !v.running {
		r.Why = "unless the quota is used up at its start (sysctl kernel.keys.maxkeys)"
		return r
	}
	keys, ok := text("/proc/keys")
	if ok && strings.Contains(keys, "_ses."+string(s.Record.ID)) {
		return r
	}
	if !s.Rootless && len(v.uids) > 0 && v.uids[0].HostID != 0 {
		if table, ok := text("/proc/key-users"); ok {
			if keysIn([]byte(table), v.uids[0].HostID) > 0 {
				return r
			}
			r.State, r.Why = No, "the caller's stays in reach: the quota was used up at its start (sysctl kernel.keys.maxkeys)"
			return r
		}
	}
	r.State, r.Why = Unknown, "the kernel does not show another's keys; the quota may have been used up (sysctl kernel.keys.maxkeys)"
	return r
}
