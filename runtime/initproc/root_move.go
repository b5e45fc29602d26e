package initproc

import (
	"errors"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"berth/sys/mount"
)

// maxMountinfo bounds what is read of the host's mount table.
const maxMountinfo = 16 << 20

// moveRoot moves the container's root over "/" and unmounts all else that was
// mounted there. It stands in for pivot_root(2) where "/" is the initial ramfs,
// which cannot be unmounted.
//
// What cannot be unmounted either, in a user namespace, stays below and out of
// reach of path lookups; but a full procfs or sysfs among it would let the
// container mount another one without the masks, so those are covered.
func (p *process) moveRoot() error {
	slash, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(slash)
	if !p.rootState.slash {
		if err := mount.Attach(p.root, slash); err != nil {
			return err
		}
	}
	text, err := p.readProc("thread-self/mountinfo", maxMountinfo)
	if err != nil {
		return fail("read mountinfo", err)
	}
	ours, err := mountID(p.root)
	if err != nil {
		return fail("find the root's mount", err)
	}
	host, err := mountID(slash)
	if err != nil {
		return fail("find the host's root mount", err)
	}
	for line := range strings.SplitSeq(text, "\n") {
		f := strings.Fields(line)
		if len(f) < 7 || f[0] == ours || f[1] != host {
			continue
		}
		path := unescape(f[4])
		err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if err == unix.EINVAL || err == unix.EPERM {
			err = coverHost(path, f)
		}
		if err != nil && err != unix.ENOENT && err != unix.EACCES {
			return fail("unmount "+path, err)
		}
	}
	return nil
}

// coverHost puts an empty directory over a mount that shows a whole procfs or sysfs.
func coverHost(path string, fields []string) error {
	for i, f := range fields {
		if f == "-" && i+1 < len(fields) && fields[3] == "/" && (fields[i+1] == "proc" || fields[i+1] == "sysfs") {
			//house:allow call host paths of our own mount namespace, before the container's root is in it
			return unix.Mount("tmpfs", path, "tmpfs", unix.MS_RDONLY, "")
		}
	}
	return nil
}

// mountID is the id in mountinfo of the mount that fd is on.
func mountID(fd int) (string, error) {
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &st); err != nil {
		return "", err
	}
	return strconv.FormatUint(st.Mnt_id, 10), nil
}

// unescape undoes mountinfo's \ooo for space, tab, newline and backslash.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b = append(b, byte(v))
				i += 3
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}

// readProc reads a file of the host's procfs to its end, up to limit bytes.
func (p *process) readProc(path string, limit int) (string, error) {
	proc, err := p.fd(ProcFD)
	if err != nil {
		return "", err
	}
	fd, err := openat2(proc, path, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	})
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	buf := make([]byte, 0, 64<<10)
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := unix.Read(fd, buf[len(buf):cap(buf)])
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return string(buf), err
		}
		buf = buf[:len(buf)+n]
		if len(buf) > limit {
			return "", errors.New("it is too large")
		}
	}
}
