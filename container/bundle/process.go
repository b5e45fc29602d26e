package bundle

import (
	"cmp"
	"path"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/base/fault"
	"berth/container/config"
)

// initTarget is where --init's program is shown, at Docker's or podman's place.
func (m *maker) initTarget() string {
	if m.c.Image.Dialect == "podman" {
		return "/run/podman-init"
	}
	return "/sbin/docker-init"
}

func (m *maker) process() error {
	p := &specs.Process{
		Terminal: m.c.Stdio.Terminal,
		Args:     m.r.Args(),
		Cwd:      path.Clean("/" + m.r.WorkDir),
		Env:      m.r.Environ(m.in.Hostname, m.c.Stdio.Terminal || m.c.Image.Dialect == "podman", m.environment()),

		NoNewPrivileges: m.c.Security.NoNewPrivileges,
		ApparmorProfile: m.in.Labels.AppArmor,
		SelinuxLabel:    m.in.Labels.SELinux,
	}
	for _, e := range m.in.Secrets.Env { // whatever the image says of that name
		p.Env = SetEnv(p.Env, e)
	}
	m.spec.Process = p
	if m.c.Process.Init {
		if m.in.Init == "" {
			return fault.New(fault.Invalid, "no program for --init")
		}
		p.Args = append([]string{m.initTarget(), "--"}, p.Args...)
	}
	if h, w := m.c.Stdio.Height, m.c.Stdio.Width; p.Terminal && h > 0 && w > 0 {
		p.ConsoleSize = &specs.Box{Height: uint(h), Width: uint(w)}
	}
	for _, s := range p.Args {
		if strings.ContainsRune(s, 0) {
			return fault.New(fault.Invalid, "an argument of the command has a NUL byte")
		}
	}
	if err := m.umask(p); err != nil {
		return err
	}
	caps, err := capabilities(m.c, m.hostCaps())
	if err != nil {
		return err
	}
	// Inheritable and ambient stay empty: another user than root gets nothing that
	// a program does not bring (CVE-2022-24769).
	p.Capabilities = &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps}
	if p.Rlimits, err = m.rlimits(); err != nil {
		return err
	}
	return m.oomScore(p)
}

// environment is what the engine adds before the user's own.
func (m *maker) environment() []string {
	env := slices.Clone(m.in.Environment)
	if m.c.Image.Dialect == "podman" {
		env = append(env, "container=podman")
	}
	if tz := m.c.Process.TimeZone; tz != "" && tz != "local" {
		env = append(env, "TZ="+tz)
	}
	return env
}

func (m *maker) umask(p *specs.Process) error {
	if m.c.Process.Umask == "" {
		return nil
	}
	mask, err := strconv.ParseUint(m.c.Process.Umask, 8, 32)
	if err != nil || mask > 0o777 {
		return fault.New(fault.Invalid, "invalid umask %.20q", m.c.Process.Umask)
	}
	mask32 := uint32(mask)
	p.User.Umask = &mask32
	return nil
}

// oomScore is always set: the monitor's own, which the process would inherit,
// protects the monitor.
func (m *maker) oomScore(p *specs.Process) error {
	score := m.c.Resources.OOMScoreAdj
	if score != nil && (*score < -1000 || *score > 1000) {
		return fault.New(fault.Invalid, "Invalid value %d, range for oom score adj is [-1000, 1000]", *score)
	}
	if score == nil && !m.in.Rootless {
		score = new(int)
	}
	p.OOMScoreAdj = score
	return nil
}

// limitNames are the names of --ulimit, as setrlimit(2) has them.
var limitNames = []string{
	"as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio", "rttime",
	"sigpending", "stack",
}

// The limits on open files that a container gets without being asked.
const (
	softFiles = 1024
	hardFiles = 524288
)

func (m *maker) rlimits() ([]specs.POSIXRlimit, error) {
	hard := uint64(hardFiles)
	if most := m.in.Host.MaxFiles; most > 0 {
		hard = min(hard, most)
	}
	byName := map[string]specs.POSIXRlimit{"nofile": {Type: "RLIMIT_NOFILE", Soft: min(softFiles, hard), Hard: hard}}
	for _, list := range [][]config.Ulimit{m.in.Ulimits, m.c.Resources.Ulimits} {
		for _, u := range list {
			name := strings.ToLower(u.Name)
			if !slices.Contains(limitNames, name) {
				return nil, fault.New(fault.Invalid, "invalid ulimit type: %.80s", u.Name)
			}
			// -1 is unlimited, and as unsigned the largest number.
			if uint64(u.Soft) > uint64(u.Hard) {
				return nil, fault.New(fault.Invalid, "ulimit soft limit must be less than or equal to hard limit: %d > %d", u.Soft, u.Hard)
			}
			byName[name] = specs.POSIXRlimit{Type: "RLIMIT_" + strings.ToUpper(name), Soft: uint64(u.Soft), Hard: uint64(u.Hard)}
		}
	}
	var out []specs.POSIXRlimit
	for _, l := range byName {
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b specs.POSIXRlimit) int { return cmp.Compare(a.Type, b.Type) })
	return out, nil
}
