package bundle

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/container/cdi"
	"berth/container/config"
)

// Injected is what CDI devices bring besides nodes.
type Injected struct {
	Env    []string // KEY=value, which win over the image's and the user's
	Mounts []injectedMount
	Hooks  []cdi.Hook
	Groups []string // numbers
}

// injectedMount is a mount, and how its ids are mapped in a user namespace.
type injectedMount struct {
	specs.Mount
	idMap string
}

// Inject adds the devices of --device VENDOR/CLASS=NAME and --gpus, described by
// the files in dirs. Errors, in Docker's words: NotFound, Invalid.
func (d *HostDevices) Inject(c *config.Config, dirs []string, k Kernel) error {
	names := slices.Clone(c.Devices.CDI)
	for i := range c.Devices.GPUs {
		more, err := gpus(&c.Devices.GPUs[i], dirs)
		if err != nil {
			return err
		}
		names = append(names, more...)
	}
	if len(names) == 0 {
		return nil
	}
	all, err := cdi.Find(dirs, names)
	if err != nil {
		return err
	}
	for i := range all {
		if err := d.inject(&all[i], k); err != nil {
			return fmt.Errorf("CDI device injection failed: %w", err)
		}
	}
	return nil
}

// gpus names the devices that one --gpus means.
func gpus(r *config.GPURequest, dirs []string) ([]string, error) {
	kind, err := cdi.GPUs(dirs)
	if r.Driver != "" && r.Driver != "cdi" && r.Driver != "nvidia" && err == nil {
		err = fault.New(fault.NotFound, "the drivers are cdi and nvidia")
	}
	if err != nil {
		return nil, fmt.Errorf("could not select device driver %q with capabilities: %v: %w", r.Driver, r.Capabilities, err)
	}
	var out []string
	switch {
	case len(r.IDs) > 0:
		for _, id := range r.IDs {
			out = append(out, kind+"="+id)
		}
	case r.Count < 0:
		out = append(out, kind+"=all")
	default:
		for i := range r.Count {
			out = append(out, kind+"="+strconv.Itoa(i))
		}
	}
	return out, nil
}

func (d *HostDevices) inject(e *cdi.Edits, k Kernel) error {
	for i := range e.Nodes {
		if err := d.cdiNode(&e.Nodes[i]); err != nil {
			return err
		}
	}
	for _, m := range e.Mounts {
		out, err := mountOf(m, k)
		if err != nil {
			return err
		}
		taken := func(o injectedMount) bool { return o.Destination == out.Destination }
		d.CDI.Mounts = append(slices.DeleteFunc(d.CDI.Mounts, taken), out)
	}
	d.CDI.Env = append(d.CDI.Env, e.Env...)
	d.CDI.Hooks = append(d.CDI.Hooks, e.Hooks...)
	for _, g := range e.AdditionalGIDs {
		if word := strconv.FormatUint(uint64(g), 10); g != 0 && !slices.Contains(d.CDI.Groups, word) {
			d.CDI.Groups = append(d.CDI.Groups, word)
		}
	}
	return nil
}

func mountOf(m cdi.Mount, k Kernel) (injectedMount, error) {
	out := injectedMount{Mount: specs.Mount{Destination: path.Clean(m.ContainerPath), Source: m.HostPath, Type: m.Type, Options: slices.Clone(m.Options)}}
	if out.Type != "" && out.Type != "bind" {
		return out, nil
	}
	out.Type = "bind"
	if len(out.Options) == 0 {
		out.Options = []string{"ro", "nosuid", "nodev"}
	}
	if !slices.Contains(out.Options, "bind") && !slices.Contains(out.Options, "rbind") {
		out.Options = append(out.Options, "rbind")
	}
	how, _, err := IDMapping(out.Source, k)
	if how != IDMapNone {
		out.idMap = IDMapTop
	}
	return out, err
}

// cdiNode adds a node; what its description leaves out is the host's.
func (d *HostDevices) cdiNode(n *cdi.Node) error {
	host := first(n.HostPath, n.Path)
	var st unix.Stat_t
	if err := unix.Stat(host, &st); err != nil && (n.Type == "" || n.Major == 0 && n.Minor == 0) {
		return &os.PathError{Op: "stat", Path: host, Err: err}
	}
	switch n.Type {
	case "b":
		st.Mode = st.Mode&0o7777 | unix.S_IFBLK
	case "c", "u":
		st.Mode = st.Mode&0o7777 | unix.S_IFCHR
	}
	if n.Major != 0 || n.Minor != 0 {
		st.Rdev = unix.Mkdev(uint32(n.Major), uint32(n.Minor))
	}
	if n.FileMode != nil {
		st.Mode = st.Mode&unix.S_IFMT | *n.FileMode&0o777
	} else if st.Mode&0o777 == 0 {
		st.Mode |= 0o666
	}
	if n.UID != nil {
		st.Uid = *n.UID
	}
	if n.GID != nil {
		st.Gid = *n.GID
	}
	inside := path.Clean(n.Path)
	d.Nodes = slices.DeleteFunc(d.Nodes, func(o specs.LinuxDevice) bool { return o.Path == inside })
	if !d.node(&st, inside, first(n.Permissions, "rwm")) {
		return fault.New(fault.Invalid, "%s is not a device node", host)
	}
	return nil
}

// injected adds the mounts and hooks of devices to a spec.
func (m *maker) injected() error {
	if m.in.Devices == nil {
		return nil
	}
	got := &m.in.Devices.CDI
	for _, one := range got.Mounts {
		if one.idMap != IDMapNone && m.mapsMounts() {
			one.Options = append(slices.Clip(one.Options), one.idMap)
		}
		m.spec.Mounts = append(m.spec.Mounts, one.Mount)
	}
	for _, e := range got.Env {
		m.spec.Process.Env = SetEnv(m.spec.Process.Env, e)
	}
	if len(got.Hooks) == 0 {
		return nil
	}
	h := &specs.Hooks{}
	lists := map[string]*[]specs.Hook{
		//lint:ignore SA1019 descriptions may ask for it
		"prestart":      &h.Prestart,
		"createRuntime": &h.CreateRuntime, "createContainer": &h.CreateContainer,
		"startContainer": &h.StartContainer, "poststart": &h.Poststart, "poststop": &h.Poststop,
	}
	for _, one := range got.Hooks {
		list := lists[one.Name]
		*list = append(*list, specs.Hook{Path: one.Path, Args: one.Args, Env: one.Env, Timeout: one.Timeout})
	}
	m.spec.Hooks = h
	return nil
}
