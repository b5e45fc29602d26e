package engine

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"berth/base/atomicfile"
	"berth/base/fault"
	"berth/container"
	"berth/engine/isolation"
	"berth/network"
	"berth/runtime"
)

// SecurityRequest asks what of the isolation baseline holds.
type SecurityRequest struct {
	Container string // "": the host alone
	UID       int    // of the user who called
	Store     string // the folder with images and layers
	Publish   string // where ports go that name no address, "" everywhere
}

// SecurityRow is one thing that holds, or does not.
type SecurityRow = isolation.Row

// SecurityReport is what holds.
type SecurityReport struct {
	Host      []SecurityRow
	Container *ContainerSecurity `json:",omitempty"`
}

// ContainerSecurity is what holds of one container.
type ContainerSecurity struct {
	ID, Name string
	// Running: it was seen in the kernel; else it is what its next start asks for.
	Running bool
	Rows    []SecurityRow
}

// Security looks at the machine and, if one is named, at a container. It changes
// nothing.
func Security(ctx context.Context, e *Engine, r SecurityRequest) (*SecurityReport, error) {
	out := &SecurityReport{}
	if r.Container != "" {
		if err := e.HasContainers(); err != nil {
			return nil, err
		}
		var err error
		if out.Container, err = containerSecurity(ctx, e, &r); err != nil {
			return nil, err
		}
	}
	m := &isolation.Machine{
		UID: uint32(r.UID), Rootless: r.UID != 0 || e.Defaults.Rootless, Store: r.Store, Outside: e.HasContainers(), Probed: e.host(), Firewall: network.FirewallReachable,
	}
	var err error
	if m.Layout, m.Limiting, err = runtime.Controllers(); err != nil {
		e.warn(err)
	}
	m.AppArmor, m.SELinux = runtime.AppArmor(), runtime.SELinux()
	if m.SELinux {
		m.Unlabelled = unlabelled(e)
	}
	if a := e.appArmor(); m.AppArmor && !a.Ready() {
		m.Unprofiled, m.ProfileNext = a.Missing()
	}
	if e.Ranges != nil {
		names, err := atomicfile.Names(e.Ranges.Dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		m.Taken = len(slices.DeleteFunc(names, func(n string) bool { return n == "lock" }))
	}
	out.Host = isolation.Host(m)
	return out, nil
}

func containerSecurity(ctx context.Context, e *Engine, r *SecurityRequest) (*ContainerSecurity, error) {
	rec, err := e.Containers.Get(ctx, r.Container)
	if err != nil {
		return nil, err
	}
	facts, err := e.facts(ctx, rec.ID)
	if err != nil {
		return nil, err
	}
	s := &isolation.Subject{
		Record: rec, Ports: rec.Config.Network.Publish, DeviceFilters: runtime.DeviceFilters, Rootless: r.UID != 0 || e.Defaults.Rootless, Publish: r.Publish, Probed: e.host(),
	}
	s.AppArmor, s.SELinux = runtime.AppArmor(), runtime.SELinux()
	log := logOf(&rec.Config.Log, rec)
	s.Log = isolation.Rotation{Driver: log.Driver, MaxSize: log.MaxSize, MaxFile: log.MaxFile, File: rec.LogPath != ""}
	s.Asked, s.AskedError = asked(ctx, e, rec)
	out := &ContainerSecurity{ID: string(rec.ID), Name: rec.Name}
	// One that waits for start has not yet taken its rights away.
	if state := facts.State(); state != container.StateRunning && state != container.StatePaused || !facts.Alive {
		out.Rows = isolation.Container(s)
		return out, nil
	}
	out.Running, s.PID, s.Ports = true, facts.Started.PID, facts.Started.Ports
	if s.Cgroups, err = runtime.CgroupFolders(e.Runtime, string(rec.ID)); err != nil && !fault.Is(err, fault.Conflict) && !fault.Is(err, fault.NotFound) {
		e.warn(err)
	}
	if s.Others, err = others(ctx, e, rec.ID); err != nil {
		return nil, err
	}
	out.Rows = isolation.Container(s)
	return out, nil
}

// others are the other containers that run.
func others(ctx context.Context, e *Engine, id container.ID) ([]isolation.Other, error) {
	all, err := e.Containers.List(ctx)
	if err != nil {
		return nil, err
	}
	var out []isolation.Other
	for i := range all {
		if f := &all[i].Facts; all[i].ID != id && f.State().Live() && f.Alive {
			out = append(out, isolation.Other{Name: all[i].Name, PID: f.Started.PID})
		}
	}
	return out, nil
}
