package bundle

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"berth/base/atomicfile"
	"berth/sys/proc"
)

// Host is what Spec and the choice of a user namespace need to know of the
// machine and of this process's rights. The zero value supposes the best.
type Host struct {
	CPUs        int
	MaxFiles    uint64   // how far RLIMIT_NOFILE can be raised, 0 unknown
	Caps        uint64   // the bounding set of this process, 0 unknown
	NoSwapLimit bool     // memory and swap together cannot be limited
	Thermal     []string // paths to mask that depend on the processor
	Kernel      Kernel
	NoCgroup    bool // an ordinary user without one: no limit that nobody asked for
}

// Kernel is a version: 6.1 is {6, 1}; the zero value counts as new.
type Kernel struct{ Major, Minor int }

// Before reports whether the kernel is older.
func (k Kernel) Before(major, minor int) bool {
	return k.Major != 0 && (k.Major < major || k.Major == major && k.Minor < minor)
}

// Probe looks at this machine; it costs about ten system calls.
func Probe() Host {
	h := Host{CPUs: runtime.NumCPU(), Kernel: kernel(), Caps: boundingSet()}
	var lim unix.Rlimit
	if unix.Prlimit(0, unix.RLIMIT_NOFILE, nil, &lim) == nil {
		h.MaxFiles = lim.Max
		// Who may raise limits is bounded by the kernel's own; root of a user
		// namespace may not.
		if inside, _ := proc.InUserNamespace(); h.Caps>>unix.CAP_SYS_RESOURCE&1 == 1 && !inside {
			if b, err := atomicfile.ReadCapped("/proc/sys/fs/nr_open", 64); err == nil {
				if n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64); err == nil {
					h.MaxFiles = n
				}
			}
		}
	}
	const v1 = "/sys/fs/cgroup/memory/"
	if exists(v1+"memory.limit_in_bytes") || exists(v1+"cgroup.procs") {
		h.NoSwapLimit = !exists(v1 + "memory.memsw.limit_in_bytes")
	}
	if exists("/sys/devices/system/cpu/cpu0/thermal_throttle") {
		h.Thermal, _ = filepath.Glob("/sys/devices/system/cpu/cpu[0-9]*/thermal_throttle")
	}
	return h
}

// MemoryNodes is how many memory nodes there are, 0 unknown.
func MemoryNodes() int {
	b, err := atomicfile.ReadCapped("/sys/devices/system/node/online", 4096)
	if err != nil {
		return 0
	}
	last := strings.TrimSpace(string(b))
	n, err := strconv.Atoi(last[strings.LastIndexAny(last, ",-")+1:])
	if err != nil {
		return 0
	}
	return n + 1
}

func exists(path string) bool { return unix.Access(path, unix.F_OK) == nil }

func kernel() Kernel {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return Kernel{}
	}
	release, _, _ := bytes.Cut(u.Release[:], []byte{0})
	return parseKernel(string(release))
}

func parseKernel(release string) Kernel {
	major, rest, _ := strings.Cut(release, ".")
	end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(rest)
	}
	a, err1 := strconv.Atoi(major)
	b, err2 := strconv.Atoi(rest[:end])
	if err1 != nil || err2 != nil {
		return Kernel{}
	}
	return Kernel{a, b}
}

// boundingSet is what this process can hand on, capabilities(7).
func boundingSet() uint64 {
	var set uint64
	for n := range capNames {
		if r, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(n), 0, 0, 0); err == nil && r == 1 {
			set |= 1 << n
		}
	}
	return set
}

// mappable are the file systems whose mounts can be id-mapped, by the first
// kernel version that can: mount_setattr(2). Others are asked for in vain.
func mappable(magic int64) (since Kernel, ok bool) {
	switch magic {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.MSDOS_SUPER_MAGIC:
		return Kernel{5, 12}, true
	case unix.BTRFS_SUPER_MAGIC:
		return Kernel{5, 15}, true
	case unix.F2FS_SUPER_MAGIC:
		return Kernel{5, 18}, true
	case unix.EROFS_SUPER_MAGIC_V1:
		return Kernel{5, 19}, true
	case unix.SQUASHFS_MAGIC:
		return Kernel{6, 2}, true
	case unix.TMPFS_MAGIC:
		return Kernel{6, 3}, true
	}
	return Kernel{}, false
}

// asIs are the file systems without owners that mean anything: their binds stay
// as they are.
func asIs(magic int64) bool {
	switch magic {
	case unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.CGROUP_SUPER_MAGIC, unix.CGROUP2_SUPER_MAGIC,
		unix.DEVPTS_SUPER_MAGIC, unix.DEBUGFS_MAGIC, unix.TRACEFS_MAGIC, unix.SECURITYFS_MAGIC,
		unix.BPF_FS_MAGIC, unix.NSFS_MAGIC:
		return true
	}
	return false
}

// IDMapping tells how the ids of a bind of path are mapped in a private user
// namespace: IDMapAll, IDMapTop where something below cannot be, IDMapNone for
// what stays as it is. can is false for a file system that should be mapped and
// cannot: a writable bind of it takes the host's user namespace.
func IDMapping(path string, k Kernel) (how string, can bool, err error) {
	var st unix.Statfs_t
	for {
		if err = unix.Statfs(path, &st); err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return IDMapNone, false, &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	// devtmpfs passes for tmpfs, and device nodes have the host's owners anyway.
	if asIs(int64(st.Type)) || below(path, "/dev") && !below(path, "/dev/shm") {
		return IDMapNone, true, nil
	}
	since, ok := mappable(int64(st.Type))
	if !ok || k.Before(since.Major, since.Minor) {
		return IDMapNone, false, nil
	}
	if submounts(path) {
		return IDMapTop, true, nil
	}
	return IDMapAll, true, nil
}

func below(path, dir string) bool {
	path = filepath.Clean(path)
	return path == dir || dir == "/" || strings.HasPrefix(path, dir+"/")
}

// maxMountinfo bounds what is read of /proc/self/mountinfo.
const maxMountinfo = 64 << 20

// submounts reports whether anything is mounted below path.
func submounts(path string) bool {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return true
	}
	text, err := atomicfile.ReadCapped("/proc/self/mountinfo", maxMountinfo)
	if err != nil {
		return true
	}
	for line := range bytes.Lines(text) {
		f := bytes.Fields(line)
		if len(f) > 4 && len(f[4]) > len(real) && below(unescape(string(f[4])), real) {
			return true
		}
	}
	return false
}

// unescape reads the octal escapes of proc_pid_mountinfo(5).
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
