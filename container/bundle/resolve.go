// Package bundle turns what was asked of a container into what the OCI runtime
// is given. Resolve merges the words of the user with the image's defaults, once,
// at create; Spec makes the OCI configuration at each start from that and from
// what the verbs found out. Both are pure, and Spec is the last place where
// policy is decided: Docker's defaults, stricter where docs/threats.md says so.
// Probe, Devices and IDMapping look at the host for them. No file of the
// container is read here: its user's name is looked up by the first process.
// Row 3, inside room container.
package bundle

import (
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/base/fault"
	"berth/container/config"
)

// Resolved is a configuration merged with an image's defaults, as inspect shows
// it under Config.
type Resolved struct {
	Entrypoint  []string          `json:"entrypoint,omitempty"`
	Cmd         []string          `json:"cmd,omitempty"`
	Env         []string          `json:"env,omitempty"` // without what Environ adds
	WorkDir     string            `json:"workDir,omitempty"`
	User        string            `json:"user,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Volumes     []string          `json:"volumes,omitempty"` // where the image wants one and no mount is
	Expose      []config.Port     `json:"expose,omitempty"`
	StopSignal  string            `json:"stopSignal,omitempty"`
	StopTimeout *int              `json:"stopTimeout,omitempty"` // seconds
	Health      *Health           `json:"health,omitempty"`      // nil: none
	Shell       []string          `json:"shell,omitempty"`       // the image's, for its healthcheck; none: /bin/sh -c
}

// Resolve merges by Docker's rules: what was asked comes first. Error: Invalid,
// in Docker's words.
func Resolve(c *config.Config, image *ImageDefaults) (*Resolved, error) {
	r := &Resolved{
		WorkDir: first(c.Process.WorkDir, image.WorkingDir), User: first(c.Process.User, image.User),
		StopSignal: first(c.Stop.Signal, image.StopSignal), StopTimeout: c.Stop.Timeout,
		Env: mergeEnv(c.Process.Env, image.Env), Labels: mergeLabels(c.Labels, image.Labels),
	}
	if r.StopTimeout == nil {
		r.StopTimeout = image.StopTimeout
	}
	r.command(&c.Process, image)
	if len(r.Args()) == 0 {
		return nil, fault.New(fault.Invalid, "No command specified")
	}
	if r.WorkDir != "" && !path.IsAbs(r.WorkDir) {
		return nil, fault.New(fault.Invalid, "the working directory '%.300s' is invalid, it needs to be an absolute path", r.WorkDir)
	}
	for _, e := range r.Env {
		if strings.HasPrefix(e, "=") || e == "" || strings.ContainsRune(e, 0) {
			return nil, fault.New(fault.Invalid, "invalid environment variable: %.300s", e)
		}
	}
	var err error
	if r.Expose, err = expose(c.Network.Expose, image.ExposedPorts); err != nil {
		return nil, err
	}
	if r.Health, err = mergeHealth(c.Health, image.Health); err != nil {
		return nil, err
	}
	if r.Health != nil {
		r.Shell = image.Shell
	}
	r.Volumes = openTargets(image.Volumes, c.Mounts)
	return r, nil
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// command settles what is run: an entrypoint that was asked for takes the image's
// command away, too.
func (r *Resolved) command(p *config.Process, image *ImageDefaults) {
	asked := len(p.Entrypoint) > 0 || p.ClearEntrypoint
	r.Entrypoint, r.Cmd = p.Entrypoint, p.Args
	if !asked {
		r.Entrypoint = image.Entrypoint
		if len(p.Args) == 0 {
			r.Cmd = image.Cmd
		}
	}
}

// Args is the command line: entrypoint, then command.
func (r *Resolved) Args() []string { return append(slices.Clone(r.Entrypoint), r.Cmd...) }

// key is the name of a KEY=value or of a bare KEY.
func key(env string) string {
	k, _, _ := strings.Cut(env, "=")
	return k
}

// mergeEnv puts the image's variables behind the user's, but those that the user
// set or took away by a bare KEY.
func mergeEnv(user, image []string) []string {
	out := slices.Clone(user)
	for _, e := range image {
		if !slices.ContainsFunc(user, func(u string) bool { return key(u) == key(e) }) {
			out = append(out, e)
		}
	}
	return out
}

func mergeLabels(user, image map[string]string) map[string]string {
	if len(user)+len(image) == 0 {
		return nil
	}
	out := make(map[string]string, len(user)+len(image))
	maps.Copy(out, image)
	maps.Copy(out, user)
	return out
}

// SetEnv puts a variable in the place of one of the same name, or at the end; a
// bare KEY removes.
func SetEnv(env []string, e string) []string {
	at := slices.IndexFunc(env, func(old string) bool { return key(old) == key(e) })
	switch bare := !strings.Contains(e, "="); {
	case bare && at >= 0:
		return slices.Delete(env, at, at+1)
	case bare:
		return env
	case at >= 0:
		env[at] = e
		return env
	}
	return append(env, e)
}

// searchPath is PATH where nobody sets it.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Environ is the whole environment of the first process and, with terminal that
// of the exec, of others: PATH, HOSTNAME, TERM, then further ones, then the
// container's own. HOME is added inside, where the user is known.
func (r *Resolved) Environ(hostname string, terminal bool, more []string) []string {
	env := []string{"PATH=" + searchPath, "HOSTNAME=" + hostname}
	if terminal {
		env = append(env, "TERM=xterm")
	}
	for _, list := range [][]string{more, r.Env} {
		for _, e := range list {
			env = SetEnv(env, e)
		}
	}
	return env
}

// expose joins the ports that were asked for with the image's.
func expose(asked []config.Port, image []string) ([]config.Port, error) {
	out := slices.Clone(asked)
	for _, s := range image {
		p, ok := parsePort(s)
		if !ok {
			return nil, fault.New(fault.Invalid, "invalid port specification of the image: %.80q", s)
		}
		if !slices.ContainsFunc(out, func(o config.Port) bool {
			return o.Protocol == p.Protocol && o.Container == p.Container && o.Count == p.Count
		}) {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b config.Port) int {
		if a.Container != b.Container {
			return int(a.Container) - int(b.Container)
		}
		return strings.Compare(a.Protocol, b.Protocol)
	})
	return out, nil
}

func parsePort(s string) (config.Port, bool) {
	numbers, proto, _ := strings.Cut(s, "/")
	low, high, isRange := strings.Cut(numbers, "-")
	if !isRange {
		high = low
	}
	a, err1 := strconv.ParseUint(low, 10, 16)
	b, err2 := strconv.ParseUint(high, 10, 16)
	proto = first(strings.ToLower(proto), "tcp")
	ok := err1 == nil && err2 == nil && a > 0 && b >= a && (proto == "tcp" || proto == "udp" || proto == "sctp")
	return config.Port{Protocol: proto, Container: uint16(a), Count: uint16(b - a + 1)}, ok
}

// openTargets lists the volumes of the image that no mount of the user's covers.
func openTargets(volumes []string, mounts []config.Mount) []string {
	var out []string
	for _, v := range volumes {
		v = path.Clean(v)
		taken := slices.ContainsFunc(mounts, func(m config.Mount) bool { return path.Clean(m.Target) == v })
		if !taken && !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	slices.Sort(out)
	return out
}

// mergeHealth fills what was not asked for from the image.
func mergeHealth(asked *config.Health, image *Health) (*Health, error) {
	if asked == nil {
		if image == nil || !runs(image.Test) {
			return nil, nil
		}
		h := *image
		return &h, nil
	}
	if asked.None {
		return nil, nil
	}
	h := &Health{}
	if image != nil {
		*h = *image
	}
	if asked.Command != "" {
		h.Test = []string{"CMD-SHELL", asked.Command}
	}
	for _, d := range []struct {
		name  string
		asked time.Duration
		into  *time.Duration
	}{
		{"Interval", asked.Interval, &h.Interval}, {"Timeout", asked.Timeout, &h.Timeout},
		{"StartPeriod", asked.StartPeriod, &h.StartPeriod}, {"StartInterval", asked.StartInterval, &h.StartInterval},
	} {
		if d.asked != 0 && d.asked < time.Millisecond {
			return nil, fault.New(fault.Invalid, "%s in Healthcheck cannot be less than 1ms", d.name)
		}
		if d.asked != 0 {
			*d.into = d.asked
		}
	}
	if asked.Retries < 0 {
		return nil, fault.New(fault.Invalid, "Retries in Healthcheck cannot be negative")
	}
	if asked.Retries != 0 {
		h.Retries = asked.Retries
	}
	h.OnFailure = asked.OnFailure
	if !runs(h.Test) {
		return nil, nil
	}
	return h, nil
}

// runs tells whether a healthcheck's test is one that is run.
func runs(test []string) bool { return len(test) > 1 && (test[0] == "CMD" || test[0] == "CMD-SHELL") }
