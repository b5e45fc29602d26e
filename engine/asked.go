package engine

import (
	"cmp"
	"context"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/container"
	"berth/container/config"
	"berth/engine/apparmor"
	"berth/runtime"
)

// asked is what a container's next start asks of the kernel, without anything being
// made for it. Paths and ids of the host in it are not those of the start.
func asked(ctx context.Context, e *Engine, rec *container.Record) (*specs.Spec, error) {
	devices, err := container.Devices(&rec.Config)
	if err != nil {
		return nil, err
	}
	confined, _ := labels(ctx, e, &rec.Config, false)
	in := &container.Inputs{
		ID: string(rec.ID), Hostname: rec.Hostname, Root: "rootfs", Devices: devices, Host: *e.host(), Init: "init",
		Rootless: e.Defaults.Rootless, Join: joinsOf(&rec.Config, rec.Userns.Private), Labels: confined,
	}
	if rec.Userns.Private && rec.Userns.Settled() {
		in.UIDs, in.GIDs = rec.Userns.UIDs, rec.Userns.GIDs
	} else if rec.Userns.Private {
		_, size := container.IDPool()
		one := []specs.LinuxIDMapping{{ContainerID: 0, HostID: uint32(size), Size: cmp.Or(rec.Userns.Size, uint32(size))}}
		in.UIDs, in.GIDs = one, one
	}
	b, err := container.Spec(&rec.Config, &rec.Resolved, in)
	if err != nil {
		return nil, err
	}
	return b.Spec, nil
}

// joinsOf names the namespaces of other containers that one joins, without looking
// for them.
func joinsOf(c *config.Config, private bool) (join container.Namespaces) {
	for _, one := range []struct {
		mode string
		into *string
	}{
		{c.Network.Mode, &join.Network}, {c.Namespaces.PID, &join.PID}, {c.Namespaces.IPC, &join.IPC},
		{c.Namespaces.UTS, &join.UTS}, {c.Namespaces.Cgroup, &join.Cgroup}, {c.Namespaces.User, &join.User},
	} {
		if strings.HasPrefix(one.mode, "container:") {
			*one.into = one.mode
			if !private && c.Namespaces.User != "host" {
				join.User = one.mode // which goes with its other namespaces
			}
		}
	}
	return join
}

// labels are what the host's security modules confine a container with. What was asked
// of one that is not active has no effect, as with Docker; `info --security` says so.
// For a start the default profile is loaded if it is not yet. It also gives the profile
// as inspect shows it, "" where AppArmor is not active.
func labels(ctx context.Context, e *Engine, c *container.Config, starts bool) (out container.Labels, shown string) {
	if !AppArmorActive() {
		return out, ""
	}
	asked := c.Security.AppArmor
	if asked == "unconfined" || asked == "" && (c.Security.Privileged || c.Security.Nested) {
		return out, "unconfined"
	}
	out.AppArmor = asked
	if asked == "" && defaultProfile(ctx, e, starts) {
		out.AppArmor = apparmor.Default
	}
	return out, cmp.Or(out.AppArmor, "unconfined")
}

// defaultProfile reports whether containers may have it.
func defaultProfile(ctx context.Context, e *Engine, starts bool) bool {
	m := e.appArmor()
	if !starts {
		_, next := m.Missing()
		return m.Ready() || next
	}
	ready, err := m.Ensure(ctx)
	if err != nil {
		e.warn(err)
	}
	return ready
}

// appArmor is this machine's default profile.
func (e *Engine) appArmor() *apparmor.Machine {
	note := ""
	if e.Containers != nil {
		note = container.ProfileNote(e.Containers)
	}
	return apparmor.New(note, e.Defaults.Rootless)
}

// AppArmorActive reports whether this machine has AppArmor.
func AppArmorActive() bool {
	active, _ := runtime.Labelers()
	return active
}
