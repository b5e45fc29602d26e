package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"

	"berth/test/bundle/report"

	"golang.org/x/sys/unix"
)

// capList names the capabilities by number (include/uapi/linux/capability.h).
var capList = strings.Fields(`CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP
LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO
SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE
AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON
BPF CHECKPOINT_RESTORE`)

func capNames(hex string) []string {
	bits, err := strconv.ParseUint(hex, 16, 64)
	names := []string{}
	if err != nil {
		return names
	}
	for i := range 64 {
		if bits&(1<<i) == 0 {
			continue
		}
		if i < len(capList) {
			names = append(names, "CAP_"+capList[i])
		} else {
			names = append(names, fmt.Sprintf("CAP_%d", i))
		}
	}
	sort.Strings(names)
	return names
}

func scheduling(r *report.Report, status map[string]string) report.Sched {
	s := report.Sched{CPUs: status["Cpus_allowed_list"], Mems: status["Mems_allowed_list"]}
	a, err := unix.SchedGetAttr(0, 0)
	note(r, "sched", err)
	if err == nil {
		s.Policy, s.Flags, s.Nice, s.Priority = int(a.Policy), a.Flags, int(a.Nice), int(a.Priority)
		s.Runtime, s.Deadline, s.Period = a.Runtime, a.Deadline, a.Period
	}
	if s.Policy == unix.SCHED_NORMAL {
		s.Runtime = 0 // newer kernels tell the slice of the fair scheduler here
	}
	prio, _, errno := unix.Syscall(unix.SYS_IOPRIO_GET, 1, 0, 0)
	if errno == 0 {
		s.IOClass, s.IOLevel = int(prio>>13), int(prio&0xff)
	}
	return s
}

func security(r *report.Report, status map[string]string) report.Security {
	var s report.Security
	s.NoNewPrivs, _ = strconv.Atoi(status["NoNewPrivs"])
	s.Seccomp, _ = strconv.Atoi(status["Seccomp"])
	s.Filters, _ = strconv.Atoi(status["Seccomp_filters"])
	label, _ := os.ReadFile("/proc/self/attr/current")
	s.Label = strings.TrimRight(string(label), "\n\x00")
	s.Dumpable, _ = unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	s.SecureBits, _ = unix.PrctlRetInt(unix.PR_GET_SECUREBITS, 0, 0, 0, 0)
	s.THPDisabled, _ = unix.PrctlRetInt(unix.PR_GET_THP_DISABLE, 0, 0, 0, 0)
	adj, err := os.ReadFile("/proc/self/oom_score_adj")
	note(r, "oomScoreAdj", err)
	s.OOMScoreAdj, _ = strconv.Atoi(strings.TrimSpace(string(adj)))
	s.Keyring = keyring()
	s.Personality = personality()
	return s
}

// keyring is the description of the session keyring (keyctl_describe(3)),
// such as "keyring;0;0;3f1f0000;_ses.name", or the errno's name.
func keyring() string {
	buf := make([]byte, 512)
	n, err := unix.KeyctlBuffer(unix.KEYCTL_DESCRIBE, unix.KEY_SPEC_SESSION_KEYRING, buf, len(buf))
	if err != nil {
		return errorName(err)
	}
	return strings.TrimRight(string(buf[:min(n, len(buf))]), "\x00")
}

func personality() string {
	p, _, errno := unix.Syscall(unix.SYS_PERSONALITY, 0xffffffff, 0, 0)
	if errno != 0 {
		return errorName(errno)
	}
	return fmt.Sprintf("%#x", p)
}

// devices lists the nodes and links below dir, two levels deep.
func devices(dir string) (map[string]report.Inode, error) {
	all := map[string]report.Inode{}
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		info, err := os.Lstat(path)
		if err != nil {
			continue
		}
		all[path] = inode(path, info)
		if info.IsDir() && e.Name() != "pts" && e.Name() != "shm" {
			below, _ := devices(path)
			for k, v := range below {
				all[k] = v
			}
		}
	}
	return all, err
}

func inode(path string, info os.FileInfo) report.Inode {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return report.Inode{}
	}
	n := report.Inode{Mode: info.Mode().String(), UID: int(st.Uid), GID: int(st.Gid)}
	if info.Mode()&os.ModeDevice != 0 {
		n.Device = fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
	}
	if info.Mode()&os.ModeSymlink != 0 {
		n.Link, _ = os.Readlink(path)
	}
	return n
}
