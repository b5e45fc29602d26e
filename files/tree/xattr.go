package tree

import (
	"strings"

	"golang.org/x/sys/unix"
)

// maxXattr is the kernel's limit of a list and of a value, xattr(7).
const maxXattr = 64 << 10

// xattrPrefix marks xattrs in a tar's PAX records.
const xattrPrefix = "SCHILY.xattr."

// keptXattr tells which xattrs travel: not those that the host gives a meaning,
// as overlay's or a label.
func keptXattr(name string) bool {
	switch name {
	case "security.capability", "system.posix_acl_access", "system.posix_acl_default":
		return true
	}
	return strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, "user.overlay.") && !strings.HasPrefix(name, "user.containers.")
}

// xattrRecords reads an open file's xattrs. A file system without has none.
func xattrRecords(fd int) map[string]string {
	n, err := unix.Flistxattr(fd, nil)
	if err != nil || n == 0 {
		return nil
	}
	buf := make([]byte, maxXattr)
	if n, err = unix.Flistxattr(fd, buf); err != nil || n == 0 {
		return nil
	}
	var out map[string]string
	value := make([]byte, maxXattr)
	for name := range strings.SplitSeq(strings.TrimRight(string(buf[:n]), "\x00"), "\x00") {
		if !keptXattr(name) || strings.Contains(name, "=") { // PAX has no way to write that
			continue
		}
		n, err := unix.Fgetxattr(fd, name, value)
		if err != nil {
			continue
		}
		if out == nil {
			out = map[string]string{}
		}
		out[xattrPrefix+name] = string(value[:n])
	}
	return out
}

// setXattrs gives an open file what a tar's records say; what its file system
// does not take is left out.
func setXattrs(fd int, records map[string]string) error {
	for key, value := range records {
		name, ok := strings.CutPrefix(key, xattrPrefix)
		if !ok || !keptXattr(name) {
			continue
		}
		if err := unix.Fsetxattr(fd, name, []byte(value), 0); err != nil && err != unix.EOPNOTSUPP && err != unix.EPERM {
			return err
		}
	}
	return nil
}
