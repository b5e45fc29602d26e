package volume

import (
	"errors"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// procPath is a name for an open file, for calls that take paths only.
func procPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// copyAttributes gives dst owner, mode, extended attributes and times of src.
// The owner comes first: it takes set-id bits and capabilities away.
func copyAttributes(src, dst int, st *unix.Stat_t) error {
	if err := unix.Fchown(dst, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	if err := unix.Fchmod(dst, st.Mode&0o7777); err != nil {
		return err
	}
	if err := copyXattrs(src, dst); err != nil {
		return err
	}
	return unix.UtimesNanoAt(unix.AT_FDCWD, procPath(dst), []unix.Timespec{st.Atim, st.Mtim}, 0)
}

// maxXattr is the kernel's limit of a list and of a value, xattr(7).
const maxXattr = 64 << 10

// copyXattrs copies what means something in a volume: not what belongs to the
// overlay of the image, nor labels, which the volume's file system gives.
func copyXattrs(src, dst int) error {
	buf := make([]byte, maxXattr)
	n, err := unix.Flistxattr(src, buf)
	if err != nil {
		return notSupported(err)
	}
	if n == 0 {
		return nil
	}
	value := make([]byte, maxXattr)
	for name := range strings.SplitSeq(strings.TrimRight(string(buf[:n]), "\x00"), "\x00") {
		if !strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, "system.posix_acl_") && name != "security.capability" || strings.HasPrefix(name, "user.overlay.") {
			continue
		}
		n, err := unix.Fgetxattr(src, name, value)
		if err != nil {
			if errors.Is(err, unix.ENODATA) {
				continue
			}
			return err
		}
		if err := notSupported(unix.Fsetxattr(dst, name, value[:n], 0)); err != nil {
			return err
		}
	}
	return nil
}

func notSupported(err error) error {
	return ignore(err, unix.EOPNOTSUPP, unix.ENOSYS)
}
