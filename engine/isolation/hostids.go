package isolation

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"berth/container"
	"berth/runtime"
	"berth/sys/thread"
)

// idRanges are the ids that containers get.
func idRanges(m *Machine) []Row {
	helpers := Row{"ids.helpers", "newuidmap and newgidmap", Yes, "found"}
	for _, name := range []string{"newuidmap", "newgidmap"} {
		if !exists("/usr/bin/"+name) && !exists("/bin/"+name) && !exists("/usr/local/bin/"+name) {
			helpers.State, helpers.Why = No, name+" is missing: install the package uidmap (shadow-utils) for ordinary users"
			if !m.Rootless {
				helpers.State = Partly
			}
		}
	}
	if !m.Rootless {
		all, size := container.IDPool()
		return []Row{{"ids", "Ids of their own for containers", when(m.Taken < all, Yes, No), fmt.Sprintf("%d ranges of %d, %d taken", all, size, m.Taken)}, helpers}
	}
	r := Row{"ids", "Ids for the user's containers", Unknown, "no namespace to look at"}
	if m.Outside == nil {
		count := uint64(0)
		uids, _, err := runtime.MapsOf(os.Getpid())
		for _, one := range uids {
			count += uint64(one.Size)
		}
		switch {
		case err != nil:
			r.Why = err.Error()
		case count < 2:
			r.State, r.Why = No, "the user's own id alone: an image with other users cannot be unpacked; add a range to /etc/subuid and /etc/subgid"
		case count < 65536:
			r.State, r.Why = Partly, fmt.Sprintf("%d ids: images may name up to 65536", count)
		default:
			r.State, r.Why = Partly, fmt.Sprintf("%d ids of /etc/subuid, which all containers of the user share", count)
		}
	}
	return []Row{r, helpers}
}

// layers are what layers need.
func layers(m *Machine) []Row {
	return []Row{idMapped(m), overlay(m)}
}

func idMapped(m *Machine) Row {
	r := Row{"idmap", "Id-mapped mounts of the store", Yes, "layers are shown with each container's ids, never chowned"}
	_, can, err := container.IDMapping(real(m.Store), m.Probed.Kernel)
	switch {
	case m.Rootless:
		r.State, r.Why = No, "a user's namespace cannot; layers have the user's ids already"
	case err != nil:
		r.State, r.Why = Unknown, err.Error()
	case m.Probed.Kernel.Before(5, 19):
		r.State, r.Why = No, "overlays of id-mapped layers take Linux 5.19"
	case !can:
		r.State, r.Why = No, "the file system of "+m.Store+" cannot: containers have the host's ids; ext4, xfs and btrfs can"
	}
	return r
}

// real is a path or the nearest folder above it that is there.
func real(path string) string {
	for !exists(path) && path != "/" && path != "." {
		path = filepath.Dir(path)
	}
	return path
}

// overlay mounts one where it is the user's namespace that must be able to.
func overlay(m *Machine) Row {
	r := Row{"overlay", "Overlay in a user namespace", Yes, ""}
	known, _ := text("/proc/filesystems")
	switch {
	case m.Probed.Kernel.Before(5, 11):
		r.State, r.Why = No, "takes Linux 5.11"
	case !m.Rootless && !containsWord(known, "overlay"):
		r.State, r.Why = No, "the kernel does not have overlay loaded"
	case !m.Rootless:
		r.Why = "by the kernel's version"
	case m.Outside != nil:
		r.State, r.Why = Unknown, "no namespace to try it in"
	default:
		r.Why = "tried"
		if err := tryOverlay(); err != nil {
			r.State, r.Why = No, err.Error()
		}
	}
	return r
}

// tryOverlay mounts an overlay on a thread with mounts of its own, which ends with it.
func tryOverlay() (err error) {
	thread.Apart(func() {
		if err = unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
			err = fmt.Errorf("a mount namespace: %w", err)
			return
		}
		err = errors.Join(
			unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
			unix.Mount("berth", "/tmp", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=64k"),
			unix.Mkdir("/tmp/l", 0o700), unix.Mkdir("/tmp/u", 0o700), unix.Mkdir("/tmp/w", 0o700), unix.Mkdir("/tmp/m", 0o700),
		)
		if err != nil {
			err = fmt.Errorf("a tmpfs: %w", err)
			return
		}
		if err = unix.Mount("berth", "/tmp/m", "overlay", 0, "userxattr,lowerdir=/tmp/l,upperdir=/tmp/u,workdir=/tmp/w"); err != nil {
			err = fmt.Errorf("mount an overlay: %w", err)
		}
	})
	return err
}
