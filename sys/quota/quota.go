// Package quota limits what a folder may hold, by the project quotas of its file
// system (ext4 and XFS, mounted with prjquota). The kernel's own counts are the
// register of who has which project: one is free as long as no file belongs to it,
// and whoever takes it is the first file that does. So nothing is written down that
// could be lost, and no lock is needed, not even between stores. Row 1.
package quota

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"berth/base/fault"
)

// Projects that are ours: clear of those of /etc/projid and of other engines, which
// count from 1, and close together, as XFS never gives back what it counts them in.
const (
	First = 0x42000000
	End   = 0x42ffffff
)

// Usage is what the kernel knows of a project.
type Usage struct {
	Limit  int64 // bytes, 0 none
	Bytes  int64
	Inodes int64
}

// Check tells why the file system of a folder limits nothing, nil if it does.
func Check(dir *os.File) error {
	var state [512]byte // struct fs_quota_statv, the flags at byte 2
	state[0] = 1        // its version
	err := call(dir, getState, 0, unsafe.Pointer(&state))
	const counted, enforced = 1 << 4, 1 << 5 // FS_QUOTA_PDQ_ACCT, FS_QUOTA_PDQ_ENFD
	switch flags := *(*uint16)(unsafe.Pointer(&state[2])); {
	case err != nil && err != unix.ENOSYS && err != unix.EOPNOTSUPP && err != unix.EINVAL:
		return fmt.Errorf("ask for the quotas of %s: %w", dir.Name(), err)
	case err == nil && flags&enforced != 0:
		return nil
	case err == nil && flags&counted != 0:
		return fault.New(fault.Unsupported, "the file system of %s counts projects but limits none: mount it with prjquota", dir.Name())
	}
	return fault.New(fault.Unsupported, "the file system of %s has no project quotas: take one of type xfs, or ext4 made with -O quota,project, mounted with prjquota", dir.Name())
}

// Limit puts an empty folder into a project of its own, in which what is made in
// it will be, too, with so many bytes in all.
func Limit(dir *os.File, bytes int64) error {
	if err := Check(dir); err != nil {
		return err
	}
	id, err := take(dir)
	if err == nil {
		err = set(dir, id, bytes) // only now, when the project is not free any more: see Sweep
	}
	switch err {
	case nil:
		return nil
	case unix.EPERM:
		err = fault.New(fault.Permission, "project quotas are root's to set")
	}
	_ = leave(dir) // it is about to go
	return fmt.Errorf("limit %s to %d bytes: %w", dir.Name(), bytes, err)
}

// take puts a folder into a project that nobody else is in.
func take(dir *os.File) (uint32, error) {
	for id := uint32(First); id < End; id++ {
		mine, err := enter(dir, id)
		if err != nil || mine {
			return id, err
		}
	}
	return 0, fault.New(fault.Unavailable, "all projects are in use")
}

// enter puts a file into a project and tells whether it is there alone. If not, it
// is in none: of two that come at the same time, both go.
func enter(f *os.File, id uint32) (bool, error) {
	if u, err := Of(f, id); err != nil || u.Inodes > 0 || u.Bytes > 0 {
		return false, err
	}
	if err := join(f, id, true); err != nil {
		return false, err
	}
	u, err := Of(f, id)
	if err == nil && u.Inodes == 1 {
		return true, nil
	}
	return false, errors.Join(err, join(f, 0, false))
}

// Lift takes the limit away from a folder that Limit has given one, before the
// folder is removed: as long as it holds something its project is not free, and
// nobody else's limit is met. The folder itself goes back to its parent's project,
// so that it can be moved beside it.
func Lift(dir *os.File) error {
	attr, err := attributes(dir)
	if err != nil || attr.Project < First || attr.Project >= End {
		return nil // its file system may have no projects
	}
	if err := set(dir, attr.Project, 0); err != nil && err != unix.ESRCH && err != unix.ENOSYS {
		return fmt.Errorf("take the limit from %s: %w", dir.Name(), err)
	}
	return leave(dir)
}

// leave puts a folder into the project that its parent gives it.
func leave(dir *os.File) error {
	fd, err := unix.Openat(int(dir.Fd()), "..", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	parent := os.NewFile(uintptr(fd), dir.Name()+"/..")
	defer parent.Close()
	above, err := attributes(parent)
	switch {
	case err != nil:
		return err
	case above.Flags&inherit == 0:
		return join(dir, 0, false)
	}
	return join(dir, above.Project, true)
}

// Project tells which project a file is in, 0 for none.
func Project(f *os.File) uint32 {
	attr, err := attributes(f)
	if err != nil {
		return 0
	}
	return attr.Project
}

// Sweep finds limits of projects that nothing is in any more, which killed programs
// left on the file system of a folder; with clear it takes them away. Without them,
// too, the projects are free.
func Sweep(dir *os.File, clear bool) (left []uint32, err error) {
	if Check(dir) != nil {
		return nil, nil
	}
	for id := uint32(First); id < End; id++ {
		u, at, err := next(dir, id)
		if err == unix.ENOENT || err == unix.ESRCH || err == unix.ENOSYS || err == nil && at >= End {
			break
		}
		if err != nil {
			return left, fmt.Errorf("list the projects of %s: %w", dir.Name(), err)
		}
		id = at
		if u.Limit == 0 || u.Inodes > 0 || u.Bytes > 0 {
			continue
		}
		left = append(left, id)
		if clear {
			if err := free(dir, id); err != nil {
				return left, fmt.Errorf("take away the limit of project %d: %w", id, err)
			}
		}
	}
	return left, nil
}

// free takes away a limit that nobody has. A file that never gets a name holds the
// project meanwhile.
func free(dir *os.File, id uint32) error {
	fd, err := unix.Openat(int(dir.Fd()), ".", unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), dir.Name())
	defer f.Close()
	if mine, err := enter(f, id); err != nil || !mine {
		return err // somebody has it
	}
	return set(f, id, 0)
}
