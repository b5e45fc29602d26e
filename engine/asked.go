package engine

import (
	"cmp"
	"context"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/container"
	"berth/container/config"
)

// asked is what a container's next start asks of the kernel, without anything being
// made for it. Paths and ids of the host in it are not those of the start.
func asked(ctx context.Context, e *Engine, rec *container.Record) (*specs.Spec, error) {
	devices, err := container.Devices(&rec.Config)
	if err != nil {
		return nil, err
	}
	confined, _ := labels(ctx, e, rec, false)
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
