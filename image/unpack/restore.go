package unpack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"berth/base/fault"
)

// Restore gives the files below an open folder the owners that were noted where there was
// one id only, and takes the notes away: for a caller who has the ids by now. It may be
// repeated where it was killed. It tells how many files it changed. The folder is nobody
// else's meanwhile.
func Restore(ctx context.Context, dir *os.File) (changed int, err error) {
	r := &restorer{ctx: ctx}
	err = control(dir, func(fd int) error {
		own, err := unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		return r.folder(own, 0)
	})
	return r.changed, err
}

type restorer struct {
	ctx     context.Context
	changed int
}

// folder restores a folder, which it closes, and all in it.
func (r *restorer) folder(fd, depth int) error {
	d := os.NewFile(uintptr(fd), "folder")
	defer d.Close()
	if err := r.ctx.Err(); err != nil {
		return err
	}
	if depth > 2*DefaultDepth {
		return fault.New(fault.Invalid, "folders more than %d deep", 2*DefaultDepth)
	}
	if err := r.owner(fd); err != nil {
		return err
	}
	for {
		entries, err := d.ReadDir(1000)
		for _, e := range entries {
			if err := r.entry(fd, e, depth); err != nil {
				return fmt.Errorf("%.100q: %w", e.Name(), err)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *restorer) entry(dir int, e os.DirEntry, depth int) error {
	switch {
	case e.IsDir():
		fd, err := unix.Openat(dir, e.Name(), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		return r.folder(fd, depth+1)
	case e.Type().IsRegular():
		fd, err := unix.Openat(dir, e.Name(), unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return r.owner(fd)
	}
	return nil // such have no user xattrs, xattr(7)
}

// owner gives an open file the owner of its note.
func (r *restorer) owner(fd int) error {
	value := make([]byte, 100)
	n, err := unix.Fgetxattr(fd, overrideXattr, value)
	if err == unix.ENODATA || err == unix.EOPNOTSUPP || err == unix.ERANGE {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the xattr %s: %w", overrideXattr, err)
	}
	a := &attributes{}
	if got, _ := fmt.Sscanf(string(value[:n]), "%d:%d:%o", &a.UID, &a.GID, &a.Mode); got != 3 || a.UID < 0 || a.GID < 0 || a.Mode > 0o7777 {
		return nil // nobody of ours wrote it
	}
	// chown(2) takes capabilities, whose bytes say for whom they hold: they are kept
	// beside, for who goes on when this is killed.
	caps, err := smallXattr(fd, capabilityXattr)
	if err == nil && caps != nil {
		err = unix.Fsetxattr(fd, keptCapabilityXattr, caps, 0)
	} else if err == nil {
		caps, err = smallXattr(fd, keptCapabilityXattr)
	}
	if err != nil {
		return fmt.Errorf("keep the xattr %s: %w", capabilityXattr, err)
	}
	if err := unix.Fchown(fd, a.UID, a.GID); err != nil {
		return ownerError(a, err)
	}
	if err := unix.Fchmod(fd, a.Mode); err != nil {
		return fmt.Errorf("change the mode to %04o: %w", a.Mode, err)
	}
	if caps != nil {
		if err := unix.Fsetxattr(fd, capabilityXattr, caps, 0); err != nil {
			return fmt.Errorf("set the xattr %s: %w", capabilityXattr, err)
		}
		if err := unix.Fremovexattr(fd, keptCapabilityXattr); err != nil {
			return fmt.Errorf("remove the xattr %s: %w", keptCapabilityXattr, err)
		}
	}
	r.changed++
	if err := unix.Fremovexattr(fd, overrideXattr); err != nil {
		return fmt.Errorf("remove the xattr %s: %w", overrideXattr, err)
	}
	return nil
}

const (
	capabilityXattr     = "security.capability"
	keptCapabilityXattr = "user.berth.capability"
)

// smallXattr reads a small extended attribute of an open file, nil if it has none.
func smallXattr(fd int, name string) ([]byte, error) {
	value := make([]byte, 100)
	n, err := unix.Fgetxattr(fd, name, value)
	if err == unix.ENODATA || err == unix.EOPNOTSUPP {
		return nil, nil
	}
	return value[:max(n, 0)], err
}
