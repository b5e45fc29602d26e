package main

import (
	"net"
	"os"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// deed is something that only a process with a capability over the host's things can
// do. None changes anything that lasts.
type deed struct {
	capability string
	do         func() error
}

func call(n uintptr, args ...uintptr) error {
	var v [6]uintptr
	copy(v[:], args)
	if _, _, errno := unix.Syscall6(n, v[0], v[1], v[2], v[3], v[4], v[5]); errno != 0 {
		return errno
	}
	return nil
}

// but is for deeds that are let through and then refused for their arguments.
func but(err error, want ...syscall.Errno) error {
	for _, w := range want {
		if err == w {
			return nil
		}
	}
	return err
}

// deeds prints a line each: the capability and "ok" or the errno.
func deeds() string {
	var all strings.Builder
	for _, d := range append(append(hostDeeds(), processDeeds()...), fileDeeds()...) {
		text := "ok"
		if err := d.do(); err != nil {
			text = name(err)
		}
		all.WriteString(d.capability + " " + text + "\n")
	}
	return strings.TrimSpace(all.String())
}

func hostDeeds() []deed {
	return []deed{
		{"SYS_MODULE", func() error {
			return but(call(unix.SYS_FINIT_MODULE, minusOne, 0, 0), unix.EBADF, unix.EFAULT, unix.EINVAL)
		}},
		{"SYS_BOOT", func() error { return but(call(unix.SYS_REBOOT, 1, 1, 1), unix.EINVAL) }},
		{"SYS_TIME", func() error {
			var now unix.Timex
			if _, err := unix.Adjtimex(&now); err != nil {
				return err
			}
			now.Modes = 0x4000 // ADJ_TICK, as it is
			_, err := unix.Adjtimex(&now)
			return err
		}},
		{"SYS_RAWIO", rawPorts},
		{"SYS_PACCT", func() error {
			none := []byte("/no/such/file\x00")
			return but(call(unix.SYS_ACCT, uintptr(unsafe.Pointer(&none[0]))), unix.ENOENT)
		}},
		{"SYSLOG", func() error { return call(unix.SYS_SYSLOG, 10) }},
		{"BPF", func() error {
			attr := [3]uint32{} // from which program on
			return but(call(unix.SYS_BPF, unix.BPF_PROG_GET_NEXT_ID, uintptr(unsafe.Pointer(&attr[0])), unsafe.Sizeof(attr)), unix.ENOENT)
		}},
		{"PERFMON", func() error {
			a := unix.PerfEventAttr{Type: unix.PERF_TYPE_SOFTWARE, Config: unix.PERF_COUNT_SW_CPU_CLOCK, Size: uint32(unsafe.Sizeof(unix.PerfEventAttr{}))}
			fd, err := unix.PerfEventOpen(&a, -1, 0, -1, unix.PERF_FLAG_FD_CLOEXEC)
			if err == nil {
				unix.Close(fd)
			}
			return err
		}},
		{"AUDIT_READ", func() error {
			fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_AUDIT)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			return unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1})
		}},
		{"SYS_ADMIN mount", func() error { return unmount(unix.Mount("none", "/mnt", "tmpfs", 0, "")) }},
		{"SYS_ADMIN cgroup v1", func() error { return unmount(unix.Mount("cgroup", "/mnt", "cgroup", 0, "pids")) }},
		{"SYS_ADMIN cgroup v2", func() error { return unmount(unix.Mount("cgroup2", "/mnt", "cgroup2", 0, "")) }},
		{"SYS_ADMIN swap", func() error {
			none := []byte("/no/such/file\x00")
			return but(call(unix.SYS_SWAPON, uintptr(unsafe.Pointer(&none[0])), 0), unix.ENOENT)
		}},
		{"SYS_ADMIN hostname", func() error {
			host, err := os.Hostname()
			if err != nil {
				return err
			}
			return unix.Sethostname([]byte(host))
		}},
		{"NET_ADMIN", netAdmin},
	}
}

func unmount(err error) error {
	if err == nil {
		err = unix.Unmount("/mnt", unix.MNT_DETACH)
	}
	return err
}

// netAdmin sets a link to the length of its queue that it has.
func netAdmin() error {
	i, err := net.InterfaceByName("lo")
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq(i.Name)
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFTXQLEN, req); err != nil {
		return err
	}
	return unix.IoctlIfreq(fd, unix.SIOCSIFTXQLEN, req)
}

func processDeeds() []deed {
	return []deed{
		{"SYS_NICE", func() error { return unix.Setpriority(unix.PRIO_PROCESS, 0, -5) }},
		{"SYS_RESOURCE", func() error {
			var l unix.Rlimit
			if err := unix.Getrlimit(unix.RLIMIT_CORE, &l); err != nil {
				return err
			}
			low, high := unix.Rlimit{Cur: 0, Max: 1 << 20}, unix.Rlimit{Cur: 0, Max: 1 << 21}
			if err := unix.Setrlimit(unix.RLIMIT_CORE, &low); err != nil {
				return err
			}
			return unix.Setrlimit(unix.RLIMIT_CORE, &high)
		}},
		{"IPC_LOCK", func() error {
			none := unix.Rlimit{}
			if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &none); err != nil {
				return err
			}
			page, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ, unix.MAP_ANON|unix.MAP_PRIVATE)
			if err != nil {
				return err
			}
			return unix.Mlock(page)
		}},
		{"WAKE_ALARM", func() error {
			fd, err := unix.TimerfdCreate(unix.CLOCK_REALTIME_ALARM, unix.TFD_CLOEXEC)
			if err == nil {
				unix.Close(fd)
			}
			return err
		}},
		{"SYS_ADMIN user namespace", func() error { return inThread(func() error { return unix.Unshare(unix.CLONE_NEWPID) }) }},
		{"CHECKPOINT_RESTORE", func() error {
			return os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte("300"), 0)
		}},
	}
}

// inThread spoils a thread, which ends.
func inThread(f func() error) error {
	done := make(chan error)
	go func() { lockForGood(); done <- f() }()
	return <-done
}

// immutable is FS_IMMUTABLE_FL of ioctl_iflags(2).
const immutable = 0x10

func fileDeeds() []deed {
	return []deed{
		{"LINUX_IMMUTABLE", func() error {
			f, err := os.OpenFile("/tmp/immutable", os.O_CREATE|os.O_RDONLY, 0o600)
			if err != nil {
				return err
			}
			defer f.Close()
			if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, immutable); err != nil {
				return err
			}
			return unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, 0)
		}},
		{"DAC_READ_SEARCH", func() error {
			handle := unix.NewFileHandle(1, []byte{2, 0, 0, 0, 0, 0, 0, 0}) // the root of an ext file system
			dir, err := unix.Open("/etc/hosts", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer unix.Close(dir)
			fd, err := unix.OpenByHandleAt(dir, handle, unix.O_RDONLY|unix.O_CLOEXEC)
			if err == nil {
				unix.Close(fd)
			}
			return but(err, unix.ESTALE)
		}},
		{"MKNOD", func() error {
			defer os.Remove("/tmp/node")
			return unix.Mknod("/tmp/node", unix.S_IFBLK|0o600, int(unix.Mkdev(7, 0)))
		}},
	}
}
