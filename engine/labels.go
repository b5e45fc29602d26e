package engine

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"berth/base/fault"
	"berth/base/undo"
	"berth/container"
	"berth/container/config"
	"berth/engine/apparmor"
	"berth/engine/selinux"
	"berth/runtime"
)

// labels are what the host's security modules confine a container with. What was asked
// of one that is not active has no effect, as with Docker; `info --security` says so.
// For a start the default profile is loaded if it is not yet. It also gives the profile
// as inspect shows it, "" where AppArmor is not active.
func labels(ctx context.Context, e *Engine, rec *container.Record, starts bool) (out container.Labels, shown string) {
	c := &rec.Config
	if SELinuxActive() {
		out.SELinux, out.SELinuxMount = rec.SELinux.Process, rec.SELinux.Mount
	}
	if !AppArmorActive() {
		return out, ""
	}
	asked := c.Security.AppArmor
	if asked == "unconfined" || asked == "" && (c.Security.Privileged || c.Security.Nested) {
		return out, "unconfined"
	}
	out.AppArmor = asked
	if asked == "" && defaultProfile(ctx, e, starts) {
		out.AppArmor = apparmor.Default
	}
	return out, cmp.Or(out.AppArmor, "unconfined")
}

// defaultProfile reports whether containers may have it.
func defaultProfile(ctx context.Context, e *Engine, starts bool) bool {
	m := e.appArmor()
	if !starts {
		_, next := m.Missing()
		return m.Ready() || next
	}
	ready, err := m.Ensure(ctx)
	if err != nil {
		e.warn(err)
	}
	return ready
}

// appArmor is this machine's default profile.
func (e *Engine) appArmor() *apparmor.Machine {
	note := ""
	if e.Containers != nil {
		note = container.ProfileNote(e.Containers)
	}
	return apparmor.New(note, e.Defaults.Rootless)
}

// AppArmorActive reports whether this machine has AppArmor.
func AppArmorActive() bool { return runtime.AppArmor() }

// SELinuxActive reports whether this machine has SELinux, permissive or not.
func SELinuxActive() bool { return runtime.SELinux() }

// unlabelled says why no container gets a label, "" where they do.
func unlabelled(e *Engine) string {
	if e.Defaults.NoSELinux {
		return "selinux-enabled is false in daemon.json"
	}
	if _, err := selinux.Here.Load(); err != nil {
		return err.Error()
	}
	return ""
}

// takeLabels settles a container's SELinux labels. Nobody else gets its level until done is
// called, which is when the record is there.
func takeLabels(ctx context.Context, e *Engine, rec *container.Record, u *undo.Stack) (done func(), err error) {
	done = func() {}
	if e.Defaults.NoSELinux || !SELinuxActive() {
		return done, nil
	}
	policy, err := selinux.Here.Load()
	if fault.Is(err, fault.Unsupported) { // info --security says so
		return done, nil
	}
	if err != nil {
		return nil, err
	}
	options, err := labelOptions(ctx, e, &rec.Config)
	if err != nil {
		return nil, err
	}
	level := ""
	own := &rec.SELinux
	if policy.Draws(options) {
		if own.Level, done, err = e.Levels.Draw(string(rec.ID), selinux.Pairs); err != nil {
			return nil, fmt.Errorf("draw an SELinux level: %w", err)
		}
		u.Push("give the SELinux level back", func() error { return giveLevel(e, rec) })
		own.Drawn, level = true, selinux.Level(own.Level)
	}
	made, err := policy.Labels(options, level)
	if err != nil {
		done()
		return nil, err
	}
	own.Process, own.Mount, own.Layers = made.Process, made.Mount, made.Layers
	return done, nil
}

// giveLevel gives back what takeLabels took.
func giveLevel(e *Engine, rec *container.Record) error {
	if !rec.SELinux.Drawn {
		return nil
	}
	return e.Levels.Return(string(rec.ID), rec.SELinux.Level)
}

// labelOptions are what was asked for; else, as docker has it, none for who shares much
// with the host, and the label of the container whose processes or memory are shared.
func labelOptions(ctx context.Context, e *Engine, c *config.Config) ([]string, error) {
	n := &c.Namespaces
	switch {
	case len(c.Security.Labels) > 0:
		return c.Security.Labels, nil
	case c.Security.Privileged || c.Security.Nested || n.PID == "host" || n.IPC == "host":
		return []string{selinux.Disable}, nil
	}
	var found []string
	for _, mode := range []string{n.IPC, n.PID} {
		id, ok := strings.CutPrefix(mode, "container:")
		if !ok {
			continue
		}
		other, err := e.Containers.Get(ctx, id)
		if err != nil {
			return nil, err
		}
		options := []string{selinux.Disable}
		if other.SELinux.Process != "" {
			if options, err = selinux.Same(other.SELinux.Process); err != nil {
				return nil, err
			}
		}
		if found != nil && !slices.Equal(found, options) {
			return nil, fault.New(fault.Invalid, "--ipc and --pid containers SELinux labels aren't the same")
		}
		found = options
	}
	return found, nil
}

// fileLabel is the label of a container's files, "" without.
func fileLabel(rec *container.Record) string {
	if rec.SELinux.Mount == "" || !SELinuxActive() {
		return ""
	}
	return rec.SELinux.Mount
}

// labelFile gives a file that is bound into a container its label.
func labelFile(rec *container.Record, file string) error {
	if label := fileLabel(rec); label != "" {
		return selinux.Set(file, label)
	}
	return nil
}

// contextOption is the option by which a mount that the runtime does not make at a start
// gives files the container's label.
func contextOption(rec *container.Record) []string {
	if label := fileLabel(rec); label != "" {
		return []string{"context=" + label}
	}
	return nil
}

// labelInit gives the init that containers execute, which they share, its label.
func labelInit(rec *container.Record, init *os.File) error {
	if label := fileLabel(rec); label != "" {
		return selinux.SetOnce(fmt.Sprintf("/proc/self/fd/%d", init.Fd()), selinux.Shared(label))
	}
	return nil
}

// labelStreams gives a container's streams its label, but not /dev/null.
func labelStreams(rec *container.Record, streams *[3]*os.File) error {
	for _, f := range streams {
		if f.Name() != os.DevNull {
			if err := labelFile(rec, f.Name()); err != nil {
				return err
			}
		}
	}
	return nil
}

// labeller gives what labels files of a container that runs, nil where it has none.
func labeller(ctx context.Context, e *Engine, id container.ID) (func(path string) error, error) {
	if !SELinuxActive() {
		return nil, nil
	}
	rec, err := e.Containers.Get(ctx, string(id))
	if err != nil || rec.SELinux.Mount == "" {
		return nil, err
	}
	return func(path string) error { return labelFile(rec, path) }, nil
}

// labelLayers gives layers a label that all containers may read: the kernel looks at
// the file below for what is executed of an overlay mount. New layers have it of the
// folder that they are in; older ones get it once, from when the store was not labelled.
func labelLayers(rec *container.Record, layers []string) error {
	if rec.SELinux.Layers == "" || !SELinuxActive() {
		return nil
	}
	for _, dir := range layers {
		if err := selinux.RelabelOnce(dir, rec.SELinux.Layers); err != nil {
			return err
		}
		if err := selinux.SetOnce(filepath.Dir(filepath.Dir(dir)), rec.SELinux.Layers); err != nil {
			return err
		}
	}
	return nil
}

// relabel gives what is mounted with z or Z the container's label, with all below it:
// with z one that all containers may use.
func relabel(rec *container.Record, mounts []container.Mount) error {
	own := fileLabel(rec)
	if own == "" {
		return nil
	}
	for i := range mounts {
		m, label := &mounts[i], own
		switch {
		case m.Kind != config.MountBind: // which a volume is, too
			continue
		case slices.Contains(m.Options, "z"):
			label = selinux.Shared(label)
		case !slices.Contains(m.Options, "Z"):
			continue
		}
		if err := selinux.Relabel(m.Source, label); err != nil {
			return err
		}
	}
	return nil
}

// labelVolume gives a volume that nobody has filled a label that all containers may use.
func labelVolume(rec *container.Record, m *container.MountPoint) error {
	if label := fileLabel(rec); label != "" && m.Driver == "local" && len(m.Asked.VolumeOpts) == 0 {
		return selinux.Set(m.Source, selinux.Shared(label))
	}
	return nil
}
