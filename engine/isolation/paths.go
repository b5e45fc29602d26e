package isolation

import (
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/container"
)

// mounts is which paths are covered or read-only in a container.
type mounts struct {
	known    bool
	on       map[string]bool // mount points; true: read-only
	rootOnly bool            // the root is read-only
}

// parseMounts reads /proc/PID/mountinfo, proc_pid_mountinfo(5). The last mount on a
// path is the one that is seen.
func parseMounts(s string) mounts {
	m := mounts{known: true, on: map[string]bool{}}
	for line := range strings.Lines(s) {
		f := strings.Fields(line)
		if len(f) < 6 {
			continue
		}
		options := strings.Split(f[5], ",")
		if at := slices.Index(f, "-"); at > 0 && len(f) > at+3 {
			options = append(options, strings.Split(f[at+3], ",")...) // of the file system
		}
		m.on[f[4]] = slices.Contains(options, "ro")
	}
	m.rootOnly = m.on["/"]
	return m
}

// askedMounts is what a start makes.
func askedMounts(spec *specs.Spec) mounts {
	m := mounts{known: true, on: map[string]bool{}, rootOnly: spec.Root.Readonly}
	for _, one := range spec.Mounts {
		m.on[one.Destination] = slices.Contains(one.Options, "ro")
	}
	for _, p := range spec.Linux.ReadonlyPaths {
		m.on[p] = true
	}
	for _, p := range spec.Linux.MaskedPaths {
		m.on[p] = true
	}
	return m
}

func paths(s *Subject, v *view) []Row {
	masked, readonly := container.Hidden(s.Probed)
	m := Row{"masked", "Masked paths", Yes, "what of /proc and /sys helps an attacker is hidden"}
	r := Row{"readonly", "Read-only paths", Yes, "kernel parameters cannot be written"}
	o := Row{"rootfs", "Read-only root", when(v.mounts.rootOnly, Yes, No), ""}
	if !v.mounts.rootOnly {
		o.Why = "--read-only, with volumes and --tmpfs for what is written"
	}
	if !v.mounts.known {
		for _, row := range []*Row{&m, &r, &o} {
			row.State, row.Why = Unknown, notSeen(s)
		}
		return []Row{m, r, o}
	}
	covered(&m, masked, "seen: ", func(p string) bool { _, ok := v.mounts.on[p]; return ok })
	covered(&r, readonly, "writable: ", v.mounts.readonly)
	return []Row{m, r, o}
}

// readonly reports whether the mount that a path lies in is read-only.
func (m mounts) readonly(path string) bool {
	for p := path; ; {
		if ro, ok := m.on[p]; ok {
			return ro
		}
		at := strings.LastIndexByte(p, '/')
		if at <= 0 {
			return m.rootOnly
		}
		p = p[:at]
	}
}

// covered judges those of the paths that this kernel has.
func covered(r *Row, all []string, word string, ok func(string) bool) {
	var open []string
	there := 0
	for _, p := range all {
		if !exists(p) {
			continue
		}
		there++
		if !ok(p) {
			open = append(open, p)
		}
	}
	if len(open) > 0 {
		r.State, r.Why = when(len(open) == there, No, Partly), word+list(open)
	}
}
