package engine

import (
	"context"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/container"
	"berth/container/config"
	"berth/files"
	"berth/sys/walk"
)

// giveMounts gives what is mounted with U to the container's user, with all below it, as
// podman does. ids are those of its user namespace on the host, nil for the host's.
func giveMounts(ctx context.Context, e *Engine, rec *container.Record, mounts []container.Mount, ids *container.Range) error {
	var user *files.Owner
	for i := range mounts {
		m := &mounts[i]
		if m.Kind != config.MountBind || !slices.Contains(m.Options, "U") {
			continue
		}
		if user == nil {
			var err error
			if user, err = processUser(ctx, e, rec); err != nil {
				return fmt.Errorf("find out whose %s is to be: %w", m.Target, err)
			}
		}
		uid, gid := user.UID, user.GID
		if ids != nil && m.IDMap == "" { // else the mount maps them
			var ok bool
			if uid, gid, ok = onHost(ids, uint32(uid), uint32(gid)); !ok {
				return fault.New(fault.Invalid, "give %s to user %d:%d of the container: it has no such ids", m.Source, user.UID, user.GID)
			}
		}
		if err := give(m.Source, uid, gid); err != nil {
			return err
		}
	}
	return nil
}

// processUser is who a container's processes run as.
func processUser(ctx context.Context, e *Engine, rec *container.Record) (*files.Owner, error) {
	if rec.Resolved.User == "" {
		return &files.Owner{}, nil
	}
	l, err := rootLayers(ctx, e, rec)
	if err != nil {
		return nil, err
	}
	v, err := files.Enter(ctx, &files.Place{Layers: l, ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer v.Close()
	return userOf(v, rec.Resolved.User)
}

func give(path string, uid, gid int) error {
	top, err := os.OpenFile(path, unix.O_PATH, 0)
	if err != nil {
		return fmt.Errorf("give it to %d:%d: %w", uid, gid, err)
	}
	defer top.Close()
	system, err := walk.System(top)
	if err == nil && system {
		return fault.New(fault.Invalid, "chowning host path %q is not allowed. You can manually `chown -R %d:%d %s`", path, uid, gid, path)
	}
	if err == nil {
		err = walk.Each(top, func(dir int, name string) error {
			const exactly = unix.AT_EMPTY_PATH | unix.AT_SYMLINK_NOFOLLOW
			var st unix.Stat_t
			if err := unix.Fstatat(dir, name, &st, exactly); err != nil || st.Uid == uint32(uid) && st.Gid == uint32(gid) {
				return err
			}
			return unix.Fchownat(dir, name, uid, gid, exactly)
		})
	}
	if err != nil {
		return fmt.Errorf("give the files of %s to %d:%d: %w", path, uid, gid, err)
	}
	return nil
}
