package cgroup

import (
	"errors"
	"fmt"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/runtime/cgroup/unit"
)

// Config says which cgroup a container gets.
type Config struct {
	ID   string // the container's id: names the cgroup when Path is empty
	Path string // linux.cgroupsPath; with Systemd "slice:prefix:name"
	// Systemd asks systemd for a scope instead of making directories alone.
	Systemd bool
	// Rootless: made by an ordinary user, also as root of a user namespace.
	// What the user may not do is left out when no limit asks for it.
	Rootless  bool
	Resources *specs.LinuxResources
	// DefaultDevices adds access to the devices that every container has
	// (null zero full random urandom tty ptmx pts, and mknod of any) and
	// denies the rest, also when Resources holds no device rule.
	DefaultDevices bool
	// OwnerUID is the host uid of the container's root to whom the v2 cgroup
	// is delegated, so that an init inside can make its own; 0 and -1: none.
	OwnerUID int
	// Annotations: org.systemd.property.NAME become unit properties (systemd
	// driver only, names and values checked); all others are ignored.
	Annotations map[string]string
}

// place is the container's directory in one hierarchy.
type place struct {
	h   *hierarchy
	rel string
}

// Cgroup is one container's cgroup: a directory in each hierarchy. Methods are
// not safe for concurrent use by several goroutines; several processes may act
// on the same cgroup.
type Cgroup struct {
	tree
	writes []write
	rules  *deviceRules // nil: device access is left alone
	owner  int          // Config.OwnerUID
	scope  *unit.Scope  // nil: cgroupfs
	limits string       // first field that asks for a limit, "" when none does
}

// tree is the container's directories, whoever made them.
type tree struct {
	l      *Layout
	places []place
	user   bool   // Config.Rootless
	none   string // why there is no cgroup; "" when there is one
}

// New decides paths and writes without touching anything. Errors name the
// field of the bundle: "linux.resources.memory.limit: …". Missing controllers
// are an error only if a limit needs them.
func New(l *Layout, cfg Config) (*Cgroup, error) {
	c := &Cgroup{tree: tree{l: l, user: cfg.Rootless}, owner: cfg.OwnerUID}
	res, err := check(cfg.Resources)
	if err != nil {
		return nil, err
	}
	rel := ""
	if cfg.Systemd {
		if c.scope, err = newScope(&cfg); err != nil {
			return nil, err
		}
		rel = c.scope.Path()
	}
	if err := c.place(&cfg, rel); err != nil {
		return nil, err
	}
	b := lowering{t: &c.tree}
	if err := b.all(res); err != nil {
		if !cfg.Rootless {
			return nil, err
		}
		// A user is told of the missing right, which is the cause more often
		// than the missing controller.
		return nil, fmt.Errorf("%w; %s", err, needDelegation)
	}
	c.writes = b.ws
	if len(c.writes) > 0 {
		c.limits = c.writes[0].field
	}
	if c.rules, err = c.devices(res.Devices, cfg.DefaultDevices); err != nil {
		return nil, err
	}
	if c.scope != nil {
		q := request(&c.tree, res, c.writes, c.rules)
		q.ID, q.Annotations = cfg.ID, cfg.Annotations
		if err := c.scope.Build(q); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// place fixes the directory in every hierarchy. rel is given by systemd.
func (t *tree) place(cfg *Config, rel string) error {
	add := func(h *hierarchy) error {
		p := rel
		if p == "" {
			var err error
			if p, err = relPath(t.l, h, cfg); err != nil {
				return err
			}
		}
		t.places = append(t.places, place{h, p})
		return nil
	}
	for i := range t.l.v1 {
		if err := add(&t.l.v1[i]); err != nil {
			return err
		}
	}
	if t.l.v2 != nil {
		return add(t.l.v2)
	}
	return nil
}

// at returns the place of the controller: its v1 hierarchy, else the unified
// one if that offers it, else nil.
func (t *tree) at(controller string) *place {
	for i := range t.places {
		if hasController(t.places[i].h, controller) {
			return &t.places[i]
		}
	}
	if p := t.v2(); p != nil {
		for _, name := range t.l.unified() {
			if name == controller {
				return p
			}
		}
	}
	return nil
}

// v2 returns the place in the unified hierarchy, or nil.
func (t *tree) v2() *place {
	for i := range t.places {
		if t.places[i].h == t.l.v2 {
			return &t.places[i]
		}
	}
	return nil
}

// Skipped says why the container runs without a cgroup (an ordinary user, no
// limit asked for), "" when it has one.
func (c *Cgroup) Skipped() string { return c.none }

// NeedsPID says that Create wants the first process, which then exists before
// its cgroup: the systemd driver.
func (c *Cgroup) NeedsPID() bool { return c.scope != nil }

// Paths returns the absolute directories by controller, the unified one under
// "", as runc's state shows them. Empty when there is no cgroup.
func (c *Cgroup) Paths() map[string]string {
	out := make(map[string]string, len(c.places)+1)
	for _, p := range c.places {
		abs := p.h.mount + "/" + p.rel
		if p.h == c.l.v2 {
			out[""] = abs
		}
		for _, name := range p.h.controllers {
			out[name] = abs
		}
	}
	return out
}

// Plan returns what Create does, one step a line, for golden tests and for
// people: "mkdir memory:/id", "write memory:memory.limit_in_bytes 1073741824".
func (c *Cgroup) Plan() []string {
	var out []string
	if c.scope != nil {
		out = append(out, c.scope.Plan()...)
	}
	for _, p := range c.places {
		out = append(out, "mkdir "+p.h.label+":/"+p.rel)
		if hasController(p.h, "cpuset") {
			out = append(out, "inherit "+p.h.label+":cpuset.cpus cpuset.mems")
		}
		if p.h == c.l.v2 && len(c.l.unified()) > 0 {
			out = append(out, "enable "+v2Label+":"+strings.Join(c.l.unified(), ","))
		}
	}
	for i := range c.writes {
		out = append(out, c.writes[i].plan()...)
	}
	out = append(out, c.rules.plan()...)
	if c.owner > 0 && c.v2() != nil {
		out = append(out, fmt.Sprintf("chown %s:/%s %d", v2Label, c.v2().rel, c.owner))
	}
	return out
}

func hasController(h *hierarchy, name string) bool {
	for _, c := range h.controllers {
		if c == name {
			return true
		}
	}
	return false
}

// State is what finds a container's cgroup again; it goes into the
// container's state file.
type State struct {
	Mode   string // v1, hybrid, v2
	Driver string // cgroupfs, systemd, none
	Unit   string // systemd: name of the scope
	User   bool   // systemd: the user's manager
	Reason string // none: why
	// Rootless: an ordinary user's.
	Rootless bool
	// Paths: hierarchy's label → path below its mount.
	Paths map[string]string
}

// State returns what Open needs.
func (c *Cgroup) State() State {
	s := State{Mode: c.l.Mode.String(), Driver: "cgroupfs", Rootless: c.user, Reason: c.none}
	switch {
	case c.none != "":
		s.Driver = "none"
		return s
	case c.scope != nil:
		s.Driver, s.Unit, s.User = "systemd", c.scope.Name, c.scope.User
	}
	s.Paths = make(map[string]string, len(c.places))
	for _, p := range c.places {
		s.Paths[p.h.label] = p.rel
	}
	return s
}

// Open finds the cgroup of a container that was made before. It does not look
// whether it still exists. A hierarchy that is no longer mounted is left out.
// Errors: a state that names no place, or one outside of its hierarchy.
func Open(l *Layout, s State) (*Cgroup, error) {
	c := &Cgroup{tree: tree{l: l, user: s.Rootless}, owner: -1}
	switch s.Driver {
	case "none":
		c.none = s.Reason
		if c.none == "" {
			c.none = "the container has no cgroup"
		}
		return c, nil
	case "systemd":
		if s.Unit == "" {
			return nil, errors.New("cgroup state: unit is empty")
		}
		c.scope = &unit.Scope{Name: s.Unit, User: s.User}
	case "cgroupfs":
	default:
		return nil, fmt.Errorf("cgroup state: driver %.80q is unknown", s.Driver)
	}
	open := func(h *hierarchy) error {
		rel, ok := s.Paths[h.label]
		if !ok {
			return nil
		}
		clean, err := cleanPath(rel)
		if err != nil || clean != rel {
			return fmt.Errorf("cgroup state: paths.%s: %.80q is not the path of a container", h.label, rel)
		}
		c.places = append(c.places, place{h, rel})
		return nil
	}
	for i := range l.v1 {
		if err := open(&l.v1[i]); err != nil {
			return nil, err
		}
	}
	if l.v2 != nil {
		if err := open(l.v2); err != nil {
			return nil, err
		}
	}
	if len(c.places) == 0 {
		return nil, errors.New("cgroup state: paths: none of them is mounted")
	}
	return c, nil
}
