package main

import (
	"bufio"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"berth/test/bundle/probe/early"
	"berth/test/bundle/report"

	"golang.org/x/sys/unix"
)

// takeReport fills the whole report. The list of open files comes first,
// before anything is opened here.
func takeReport() *report.Report {
	r := &report.Report{Errors: map[string]string{}}
	fds, err := openFiles()
	r.FDs = fds
	note(r, "fds", err)
	status, err := readStatus()
	note(r, "status", err)
	r.IDs = identities(status)
	r.Caps = report.Caps{
		Inheritable: capNames(status["CapInh"]), Permitted: capNames(status["CapPrm"]),
		Effective: capNames(status["CapEff"]), Bounding: capNames(status["CapBnd"]),
		Ambient: capNames(status["CapAmb"]),
	}
	r.Limits = limits()
	r.Mounts, err = mounts()
	note(r, "mounts", err)
	r.Namespaces, err = namespaces()
	note(r, "namespaces", err)
	r.UIDMap = fields(r, "uidMap", "/proc/self/uid_map")
	r.GIDMap = fields(r, "gidMap", "/proc/self/gid_map")
	r.Exec = execution(r)
	r.Sched = scheduling(r, status)
	r.Security = security(r, status)
	r.Host = host()
	r.TTY = terminal()
	r.Time = timeOffsets()
	r.Cgroups = lines("/proc/self/cgroup")
	r.Devices, err = devices("/dev")
	note(r, "devices", err)
	return r
}

func note(r *report.Report, field string, err error) {
	if err != nil {
		r.Errors[field] = errorName(err)
	}
}

// openFiles lists what was inherited of /proc/self/fd, with raw calls.
func openFiles() ([]report.FD, error) {
	dir, err := unix.Open("/proc/self/fd", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(dir)
	var all []report.FD
	buf := make([]byte, 1<<16)
	for {
		n, err := unix.ReadDirent(dir, buf)
		if err != nil || n <= 0 {
			sort.Slice(all, func(i, j int) bool { return all[i].N < all[j].N })
			return all, err
		}
		_, _, names := unix.ParseDirent(buf[:n], -1, nil)
		for _, name := range names {
			fd, err := strconv.Atoi(name)
			if err != nil || fd == dir {
				continue
			}
			// One that closes on exec was not inherited: Go's own.
			if flags, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); flags&unix.FD_CLOEXEC != 0 {
				continue
			}
			target := make([]byte, unix.PathMax)
			size, _ := unix.Readlinkat(dir, name, target)
			all = append(all, report.FD{N: fd, Target: string(target[:max(size, 0)])})
		}
	}
}

func readStatus() (map[string]string, error) {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return map[string]string{}, err
	}
	defer f.Close()
	m := map[string]string{}
	for s := bufio.NewScanner(f); s.Scan(); {
		if k, v, ok := strings.Cut(s.Text(), ":"); ok {
			m[k] = strings.TrimSpace(v)
		}
	}
	return m, nil
}

func identities(status map[string]string) report.IDs {
	ids := report.IDs{PID: os.Getpid(), PPID: os.Getppid(), PGID: unix.Getpgrp()}
	ids.SID, _ = unix.Getsid(0)
	for i, word := range strings.Fields(status["Uid"]) {
		ids.UID[i%4], _ = strconv.Atoi(word)
	}
	for i, word := range strings.Fields(status["Gid"]) {
		ids.GID[i%4], _ = strconv.Atoi(word)
	}
	ids.Groups, _ = os.Getgroups()
	sort.Ints(ids.Groups)
	return ids
}

// limitNames are the kernel's numbers (include/uapi/asm-generic/resource.h).
var limitNames = []string{"CPU", "FSIZE", "DATA", "STACK", "CORE", "RSS", "NPROC", "NOFILE", "MEMLOCK",
	"AS", "LOCKS", "SIGPENDING", "MSGQUEUE", "NICE", "RTPRIO", "RTTIME"}

func limits() map[string]report.Limit {
	m := map[string]report.Limit{}
	for i, name := range limitNames {
		var l unix.Rlimit
		if unix.Getrlimit(i, &l) == nil {
			m["RLIMIT_"+name] = report.Limit{Soft: l.Cur, Hard: l.Max}
		}
	}
	if early.OK {
		m["RLIMIT_NOFILE"] = report.Limit{Soft: early.OpenFiles[0], Hard: early.OpenFiles[1]}
	}
	return m
}

func mounts() ([]report.Mount, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	var all []report.Mount
	for line := range strings.Lines(string(data)) {
		left, right, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if !ok || len(l) < 6 || len(r) < 2 {
			continue
		}
		m := report.Mount{Root: unescape(l[3]), Target: unescape(l[4]), Options: strings.Split(l[5], ","),
			Propagation: l[6:], Type: r[0], Source: unescape(r[1])}
		if len(r) > 2 {
			m.Super = strings.Split(r[2], ",")
		}
		all = append(all, m)
	}
	return all, err
}

var escapes = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

func unescape(s string) string { return escapes.Replace(s) }

func namespaces() (map[string]string, error) {
	m := map[string]string{}
	for _, name := range []string{"user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time"} {
		link, err := os.Readlink("/proc/self/ns/" + name)
		if err != nil {
			return m, err
		}
		m[name] = link
	}
	return m, nil
}

func fields(r *report.Report, field, path string) string {
	data, err := os.ReadFile(path)
	note(r, field, err)
	var rows []string
	for line := range strings.Lines(string(data)) {
		rows = append(rows, strings.Join(strings.Fields(line), " "))
	}
	return strings.Join(rows, ", ")
}

func execution(r *report.Report) report.Exec {
	e := report.Exec{Args: os.Args, Env: os.Environ()}
	buf := make([]byte, unix.PathMax)
	// The raw call: os.Getwd would believe $PWD.
	n, err := unix.Getcwd(buf)
	note(r, "cwd", err)
	if err == nil && n > 0 {
		e.Cwd = string(buf[:n-1])
	}
	old := syscall.Umask(0)
	syscall.Umask(old)
	e.Umask = fmt.Sprintf("%04o", old)
	return e
}

func host() report.Host {
	var u unix.Utsname
	_ = unix.Uname(&u)
	return report.Host{Hostname: unix.ByteSliceToString(u.Nodename[:]), Domainname: unix.ByteSliceToString(u.Domainname[:])}
}

func terminal() report.TTY {
	is := func(fd int) bool { _, err := unix.IoctlGetTermios(fd, unix.TCGETS); return err == nil }
	t := report.TTY{Stdin: is(0), Stdout: is(1), Stderr: is(2)}
	if w, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ); err == nil {
		t.Rows, t.Cols = int(w.Row), int(w.Col)
	}
	if t.Stdin {
		t.Name, _ = os.Readlink("/proc/self/fd/0")
		var sid int32
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, 0, unix.TIOCGSID, uintptr(unsafe.Pointer(&sid)))
		own, _ := unix.Getsid(0)
		t.Ctl = errno == 0 && int(sid) == own
	}
	return t
}

func timeOffsets() report.Time {
	var t report.Time
	for _, line := range lines("/proc/self/timens_offsets") {
		f := strings.Fields(line)
		if len(f) == 3 && f[0] == "monotonic" {
			t.Monotonic = f[1] + " " + f[2]
		}
		if len(f) == 3 && f[0] == "boottime" {
			t.Boottime = f[1] + " " + f[2]
		}
	}
	return t
}

func lines(path string) []string {
	data, _ := os.ReadFile(path)
	var all []string
	for line := range strings.Lines(string(data)) {
		all = append(all, strings.TrimSuffix(line, "\n"))
	}
	return all
}
