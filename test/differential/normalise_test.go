package differential

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"sort"
	"strings"

	"berth/test/bundle/report"
)

// normal is a report with everything taken out that two runs of one runtime
// would differ in, and what runtimes may rightly do in their own way:
//
//   - which numbers namespaces, pipes and keys have, names and temporary folders;
//   - how a path is masked (that it is, the confinement cases ask);
//   - in which file system's name a mount is and what it says of its size;
//   - whether standard input and output are pipes of the runtime's or the
//     caller's own files (a terminal is compared);
//   - whether the folder of v1's hierarchies is read-only itself (runc 1.1
//     leaves it writable), and whether /dev/core is there without its target;
//   - in a user namespace who owns a device (nobody with runc 1.1, which binds
//     the host's nodes, so these mounts are left out too), and the session
//     keyring's rights;
//   - the soft limit of open files of an exec (runc 1.1 is Go, which raises
//     it at times; case exec-open-files asks ours);
//   - the order of mounts on different targets.
type normal struct {
	IDs        report.IDs
	Caps       report.Caps
	Limits     map[string]report.Limit
	Mounts     []string
	Namespaces map[string]string
	Maps       [2]string
	Exec       report.Exec
	Sched      report.Sched
	Security   report.Security
	Host       report.Host
	FDs        []string
	TTY        report.TTY
	Time       report.Time
	Cgroups    []string
	Devices    map[string]report.Inode
	Errors     map[string]string
}

func normalise(h *host, r *report.Report) normal {
	n := normal{IDs: r.IDs, Caps: r.Caps, Limits: r.Limits, Maps: [2]string{r.UIDMap, r.GIDMap}, Exec: r.Exec,
		Sched: r.Sched, Security: r.Security, Host: r.Host, TTY: r.TTY, Time: r.Time, Devices: r.Devices, Errors: r.Errors}
	if r.IDs.PID != 1 { // an exec's, or in a shared pid namespace
		n.IDs.PID, n.IDs.PPID, n.IDs.PGID, n.IDs.SID = 0, 0, 0, 0
	}
	for i := range n.Exec.Env {
		n.Exec.Env[i] = h.anonymous(n.Exec.Env[i])
	}
	n.Security.Keyring = keySerial.ReplaceAllString(h.anonymous(r.Security.Keyring), "$1")
	if r.IDs.PID != 1 {
		l := n.Limits["RLIMIT_NOFILE"]
		n.Limits["RLIMIT_NOFILE"] = report.Limit{Soft: l.Hard, Hard: l.Hard}
	}
	if _, err := os.Stat("/proc/kcore"); err != nil {
		delete(n.Devices, "/dev/core")
	}
	for path, node := range n.Devices { // ours belong to the container's root
		if r.UIDMap != "0 0 4294967295" && (node.UID == 65534 || node.GID == 65534) {
			node.UID, node.GID = 0, 0
			n.Devices[path] = node
		}
	}
	if r.UIDMap != "0 0 4294967295" {
		n.Security.Keyring = ""
	}
	n.Mounts = normalMounts(h, r.Mounts)
	n.Namespaces = normalNamespaces(h, r.Namespaces)
	for _, fd := range r.FDs {
		if fd.N <= 2 && !strings.HasPrefix(fd.Target, "/dev/pts") && !strings.HasPrefix(fd.Target, "/dev/console") {
			n.FDs = append(n.FDs, fmt.Sprintf("%d open", fd.N))
			continue
		}
		n.FDs = append(n.FDs, fmt.Sprintf("%d %s", fd.N, numbers.ReplaceAllString(fdTarget(fd.Target), "[N]")))
	}
	for _, line := range r.Cgroups {
		_, rest, _ := strings.Cut(line, ":")
		n.Cgroups = append(n.Cgroups, h.anonymous(rest))
	}
	sort.Strings(n.Cgroups)
	return n
}

var (
	keySerial = regexp.MustCompile(`^(keyring;[0-9]+;[0-9]+;[0-9a-f]+;).*`)
	numbers   = regexp.MustCompile(`\[[0-9]+\]`)
)

// fdTarget hides which file of the test's it is.
func fdTarget(target string) string {
	if strings.HasPrefix(target, os.TempDir()+"/") || strings.Contains(target, "(deleted)") {
		return "a file of the test"
	}
	return target
}

// ownSuper are the options of a file system that a case asks for; others
// depend on the machine and the kernel.
var ownSuper = regexp.MustCompile(`^(ro|rw|size=.*|mode=.*|uid=.*|gid=.*|hidepid=.*|ptmxmode=.*)$`)

func normalMounts(h *host, all []report.Mount) []string {
	var lines []string
	for _, m := range all {
		if slices.Contains(h.bundle.Spec.Linux.MaskedPaths, m.Target) {
			lines = append(lines, m.Target+" masked")
			continue
		}
		if m.Type == "devtmpfs" && strings.HasPrefix(m.Target, "/dev/") {
			continue
		}
		options := slices.Clone(m.Options)
		if m.Target == "/sys/fs/cgroup" && m.Type == "tmpfs" {
			options[slices.IndexFunc(options, func(o string) bool { return o == "ro" || o == "rw" })] = "ro or rw"
		}
		sort.Strings(options)
		var super []string
		for _, s := range m.Super {
			if ownSuper.MatchString(s) && m.Target != "/" && m.Type != "sysfs" && m.Type != "cgroup" {
				super = append(super, s)
			}
		}
		sort.Strings(super)
		var propagation []string
		for _, p := range m.Propagation {
			word, _, _ := strings.Cut(p, ":")
			propagation = append(propagation, word)
		}
		lines = append(lines, fmt.Sprintf("%s %s %s %s %s", h.anonymous(m.Target), m.Type, strings.Join(options, ","),
			strings.Join(super, ","), strings.Join(propagation, ",")))
	}
	sort.Strings(lines)
	return lines
}

// normalNamespaces tells for each namespace whether it is the host's, one
// that the case made, or a new one.
func normalNamespaces(h *host, all map[string]string) map[string]string {
	out := map[string]string{}
	for kind, link := range all {
		own, _ := os.Readlink("/proc/self/ns/" + kind)
		switch {
		case link == own:
			out[kind] = "host"
		case slices.Contains(h.made, link):
			out[kind] = "joined"
		default:
			out[kind] = "new"
		}
	}
	return out
}

// anonymous replaces the names that differ from run to run.
func (h *host) anonymous(s string) string {
	for _, pair := range [][2]string{
		{strings.TrimPrefix(h.bundle.Spec.Linux.CgroupsPath, "/"), "CGROUP"}, {h.id, "ID"},
		{h.bundle.Dir, "BUNDLE"}, {h.dir, "DIR"},
	} {
		if pair[0] != "" {
			s = strings.ReplaceAll(s, pair[0], pair[1])
		}
	}
	return s
}
