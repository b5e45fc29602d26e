package main

import (
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"berth/test/ptrace"
)

// named are calls that name what they change, or that change what is open for
// no other reason than to be changed.
var named = map[uint64]string{
	unix.SYS_MKDIRAT: "mkdirat", unix.SYS_RENAMEAT: "renameat", unix.SYS_RENAMEAT2: "renameat2", unix.SYS_UNLINKAT: "unlinkat",
	unix.SYS_LINKAT: "linkat", unix.SYS_SYMLINKAT: "symlinkat", unix.SYS_MKNODAT: "mknodat", unix.SYS_FCHMODAT: "fchmodat",
	unix.SYS_FCHMODAT2: "fchmodat2", unix.SYS_FCHOWNAT: "fchownat", unix.SYS_UTIMENSAT: "utimensat", unix.SYS_FCHMOD: "fchmod",
	unix.SYS_FCHOWN: "fchown", unix.SYS_SETXATTR: "setxattr", unix.SYS_LSETXATTR: "lsetxattr", unix.SYS_FSETXATTR: "fsetxattr",
	unix.SYS_REMOVEXATTR: "removexattr", unix.SYS_LREMOVEXATTR: "lremovexattr", unix.SYS_FREMOVEXATTR: "fremovexattr",
	unix.SYS_FTRUNCATE: "ftruncate", unix.SYS_FALLOCATE: "fallocate", unix.SYS_FSYNC: "fsync", unix.SYS_FDATASYNC: "fdatasync",
	unix.SYS_SYNCFS: "syncfs", unix.SYS_SYNC_FILE_RANGE: "sync_file_range",
}

// writes are calls that write to an open file: the argument that it is in.
var writes = map[uint64]struct {
	name string
	fd   int
}{
	unix.SYS_WRITE: {"write", 0}, unix.SYS_PWRITE64: {"pwrite64", 0}, unix.SYS_WRITEV: {"writev", 0}, unix.SYS_PWRITEV: {"pwritev", 0},
	unix.SYS_COPY_FILE_RANGE: {"copy_file_range", 2}, unix.SYS_SENDFILE: {"sendfile", 0}, unix.SYS_SPLICE: {"splice", 2},
}

// others change what is no file: who may go on, processes, mounts.
var others = map[uint64]string{
	unix.SYS_FLOCK: "flock", unix.SYS_EXECVE: "execve", unix.SYS_EXECVEAT: "execveat", unix.SYS_UNSHARE: "unshare", unix.SYS_SETNS: "setns",
	unix.SYS_MOUNT: "mount", unix.SYS_UMOUNT2: "umount2", unix.SYS_MOVE_MOUNT: "move_mount", unix.SYS_FSOPEN: "fsopen",
	unix.SYS_FSCONFIG: "fsconfig", unix.SYS_FSMOUNT: "fsmount", unix.SYS_OPEN_TREE: "open_tree", unix.SYS_MOUNT_SETATTR: "mount_setattr",
	unix.SYS_PIVOT_ROOT: "pivot_root", unix.SYS_SENDMSG: "sendmsg", unix.SYS_CONNECT: "connect", unix.SYS_SOCKETPAIR: "socketpair",
	unix.SYS_KILL: "kill", unix.SYS_PIDFD_SEND_SIGNAL: "pidfd_send_signal", unix.SYS_SECCOMP: "seccomp",
}

// stops are the numbers of all calls that changes and opened look at.
func stops() []uint64 {
	out := []uint64{unix.SYS_OPENAT, unix.SYS_OPENAT2, unix.SYS_IOCTL, unix.SYS_CLONE, unix.SYS_CLONE3}
	out = slices.AppendSeq(out, maps.Keys(named))
	out = slices.AppendSeq(out, maps.Keys(others))
	return slices.AppendSeq(out, maps.Keys(writes))
}

// changes names a call that somebody outside of the process could see; "" is
// none. file says that a full or broken disk could let it fail.
func changes(c ptrace.Call) (name string, file bool) {
	if name, ok := named[c.NR]; ok {
		return name, true
	}
	if name, ok := others[c.NR]; ok {
		return name, false
	}
	if w, ok := writes[c.NR]; ok {
		to, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", c.TID, int32(c.Args[w.fd])))
		if strings.HasPrefix(to, "anon_inode:") {
			return "", false
		}
		return w.name, strings.HasPrefix(to, "/") && !strings.HasPrefix(to, "/dev/") && !strings.HasPrefix(to, "/proc/")
	}
	switch c.NR {
	case unix.SYS_OPENAT:
		if c.Args[2]&(unix.O_CREAT|unix.O_TRUNC) != 0 {
			return "openat", true
		}
	case unix.SYS_OPENAT2: // struct open_how begins with the flags
		var how [8]byte
		if _, err := unix.PtracePeekData(c.TID, uintptr(c.Args[2]), how[:]); err == nil &&
			binary.NativeEndian.Uint64(how[:])&(unix.O_CREAT|unix.O_TRUNC) != 0 {
			return "openat2", true
		}
	case unix.SYS_IOCTL:
		const ficlone, ficlonerange = 0x40049409, 0x4020940d
		if c.Args[1] == ficlone || c.Args[1] == ficlonerange {
			return "ioctl FICLONE", true
		}
	case unix.SYS_CLONE:
		if c.Args[0]&unix.CLONE_THREAD == 0 {
			return "clone", false
		}
	case unix.SYS_CLONE3:
		return "clone3", false
	}
	return "", false
}

// opened is the last part of the path that openat is about to open.
func opened(c ptrace.Call) string {
	b := make([]byte, 512)
	n, err := unix.PtracePeekData(c.TID, uintptr(c.Args[1]), b)
	if n <= 0 && err != nil {
		return "?"
	}
	path, _, _ := strings.Cut(string(b[:max(n, 0)]), "\x00")
	return path[strings.LastIndexByte(path, '/')+1:]
}
