package plan

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// procRootIno is the inode number of a procfs root directory.
const procRootIno = 1

// openProc opens the host's procfs and makes sure that it is one.
func openProc(*Host) (*os.File, error) {
	fd, err := unix.Open("/proc", unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open /proc: %w", err)
	}
	var fs unix.Statfs_t
	var st unix.Stat_t
	if err := unix.Fstatfs(fd, &fs); err != nil || fs.Type != unix.PROC_SUPER_MAGIC {
		unix.Close(fd)
		return nil, fmt.Errorf("open /proc: not a procfs, mount one there")
	}
	if err := unix.Fstat(fd, &st); err != nil || st.Ino != procRootIno {
		unix.Close(fd)
		return nil, fmt.Errorf("open /proc: not the root of a procfs")
	}
	return os.NewFile(uintptr(fd), "/proc"), nil
}
