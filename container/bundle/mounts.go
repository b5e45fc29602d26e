package bundle

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/base/fault"
	"berth/container/config"
)

// Mount is one mount with its source found: a volume's folder, a bind's path. A
// volume or an image is a bind here.
type Mount struct {
	Kind        string // config.MountBind or MountTmpfs
	Source      string
	Target      string
	ReadOnly    bool
	Options     []string // further ones: noexec, size=…
	Propagation string
	// IDMap is how ids are mapped: IDMapNone, IDMapTop, IDMapAll; see IDMapping.
	IDMap             string
	NonRecursive      bool
	ReadOnlyRecursive bool // all below, too
	Size              int64
	Mode              uint32
	// Subpath is a path below a volume's Source that is meant. Whoever mounts it opens
	// it, so that no link leads out, and puts that in the Source's place.
	Subpath string
	// Layers are those of an image's mount, which has no Source.
	Layers *Layers
}

// Layers are folders of overlay in the store that the root's are in.
type Layers struct {
	Lower       []string // uppermost first
	Upper, Work string
	Options     []string
	Subpath     string // of it that is mounted, "" all
}

// SharedMemory is the source of /dev/shm that is another container's: no path.
const SharedMemory = "shm"

// How a bind's ids are mapped in a private user namespace.
const (
	IDMapNone = ""
	IDMapTop  = "idmap"  // the mount itself
	IDMapAll  = "ridmap" // with all below
)

// defaultMounts are those of every container, in order.
func (m *maker) defaultMounts() []specs.Mount {
	shm := m.c.Resources.ShmSize
	if shm <= 0 {
		shm = 64 << 20
	}
	list := []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
		{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"ro", "nosuid", "noexec", "nodev"}},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
	}
	switch mode := m.c.Namespaces.IPC; {
	case mode == "none":
	case strings.HasPrefix(mode, "container:"):
		list = append(list, specs.Mount{Destination: "/dev/shm", Type: "bind", Source: SharedMemory, Options: []string{"bind", "rprivate"}})
	case mode == "host":
		list = append(list, specs.Mount{Destination: "/dev/shm", Type: "bind", Source: "/dev/shm", Options: []string{"rbind", "rprivate"}})
	default:
		list = append(list, specs.Mount{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=" + strconv.FormatInt(shm, 10)}})
	}
	if m.c.Security.ReadOnlyTmpfs {
		for _, dir := range []string{"/run", "/tmp", "/var/tmp"} {
			list = append(list, specs.Mount{Destination: dir, Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "nodev", "mode=1777"}})
		}
	}
	if m.c.Security.Nested { // what of it is the container's, it may write to: its v2 cgroup
		list[4].Options = slices.DeleteFunc(list[4].Options, func(o string) bool { return o == "ro" })
	}
	if m.c.Security.Privileged {
		for i := range list {
			list[i].Options = slices.DeleteFunc(list[i].Options, func(o string) bool { return o == "ro" })
		}
	}
	return list
}

func (m *maker) mounts() error {
	own, err := m.ownMounts()
	if err != nil {
		return err
	}
	slices.SortStableFunc(own, func(a, b specs.Mount) int { return depth(a.Destination) - depth(b.Destination) })
	var all []specs.Mount
	for _, d := range m.defaultMounts() {
		// A mount of the user's takes a default one's place, and what is below /dev
		// goes with it.
		covered := slices.ContainsFunc(own, func(o specs.Mount) bool {
			return o.Destination == d.Destination || o.Destination == "/dev" && strings.HasPrefix(d.Destination, "/dev/")
		})
		if !covered {
			all = append(all, d)
		}
	}
	m.spec.Mounts = append(all, own...)
	return nil
}

// LiveMount is the mount of one start's as the runtime has it, for a container that
// runs; users tells whether that has not the host's user namespace. Error: Invalid.
func LiveMount(c *config.Config, a *Mount, users bool) (specs.Mount, error) {
	m := &maker{c: c, in: &Inputs{}}
	if users {
		m.in.UIDs = []specs.LinuxIDMapping{{}}
	}
	return m.mount(a)
}

func depth(p string) int { return strings.Count(path.Clean(p), "/") }

// ownMounts are all but the default ones.
func (m *maker) ownMounts() ([]specs.Mount, error) {
	var out []specs.Mount
	for i := range m.in.Mounts {
		mnt, err := m.mount(&m.in.Mounts[i])
		if err != nil {
			return nil, err
		}
		out = append(out, mnt)
	}
	for _, f := range []struct{ source, target string }{
		{m.in.Files.Resolv, "/etc/resolv.conf"}, {m.in.Files.Hostname, "/etc/hostname"}, {m.in.Files.Hosts, "/etc/hosts"},
	} {
		taken := slices.ContainsFunc(out, func(o specs.Mount) bool { return o.Destination == f.target })
		if f.source == "" || taken {
			continue
		}
		options := []string{"rbind", "rprivate"}
		if m.c.Security.ReadOnlyRoot {
			options = append(options, "ro")
		}
		out = append(out, specs.Mount{Destination: f.target, Type: "bind", Source: f.source, Options: options})
	}
	out = append(out, m.secrets(out)...)
	if m.c.Process.Init {
		out = append(out, specs.Mount{Destination: m.initTarget(), Type: "bind", Source: m.in.Init, Options: []string{"bind", "ro", "exec", "nosuid", "nodev", "rprivate"}})
	}
	return out, nil
}

// words are the options of the overlay mount.
func (l *Layers) words() []string {
	out := append([]string{"nodev"}, l.Options...)
	if len(l.Lower) > 0 {
		out = append(out, "lowerdir="+strings.Join(l.Lower, ":"))
	}
	if l.Subpath != "" {
		out = append(out, "subpath="+l.Subpath)
	}
	return append(out, "upperdir="+l.Upper, "workdir="+l.Work)
}

// notForKernel are words of -v that the engine has heeded by now.
var notForKernel = []string{"z", "Z", "U", "nocopy", "copy", "consistent", "cached", "delegated", "O", "idmap", "rw", "volume-nocopy"}

var propagationWords = []string{"shared", "rshared", "slave", "rslave", "private", "rprivate", "unbindable", "runbindable"}

// tmpfsWords are the options of a tmpfs, without their values.
var tmpfsWords = strings.Fields("defaults ro rw suid nosuid dev nodev exec noexec sync async dirsync remount mand nomand atime noatime " +
	"diratime nodiratime relatime norelatime strictatime nostrictatime lazytime mode uid gid nr_inodes nr_blocks size mpol " +
	"tmpcopyup notmpcopyup swap noswap huge inode32 inode64")

func (m *maker) mount(a *Mount) (specs.Mount, error) {
	target := path.Clean(a.Target)
	if !path.IsAbs(a.Target) || target == "/" {
		return specs.Mount{}, fault.New(fault.Invalid, "invalid mount path: '%.300s' mount path must be absolute and not '/'", a.Target)
	}
	out := specs.Mount{Destination: target, Type: "bind", Source: a.Source}
	prop := first(a.Propagation, "rprivate")
	if !slices.Contains(propagationWords, prop) {
		return out, fault.New(fault.Invalid, "invalid propagation mode: %.80s", prop)
	}
	switch a.Kind {
	case config.MountTmpfs:
		out.Type, out.Source = "tmpfs", "tmpfs"
		for _, o := range a.Options {
			if word, _, _ := strings.Cut(o, "="); !slices.Contains(tmpfsWords, word) && !slices.Contains(propagationWords, word) {
				return out, fault.New(fault.Invalid, "invalid tmpfs option [%.80q]", o)
			}
		}
		out.Options = []string{"noexec", "nosuid", "nodev", prop}
		if a.Size > 0 {
			out.Options = append(out.Options, "size="+strconv.FormatInt(a.Size, 10))
		}
		if a.Mode != 0 {
			out.Options = append(out.Options, fmt.Sprintf("mode=%o", a.Mode))
		}
		if m.c.Image.Dialect == "podman" {
			out.Options = append(out.Options, "tmpcopyup")
		}
	case config.MountImage:
		if a.Layers == nil {
			return out, fault.New(fault.Invalid, "mount %s: an image without layers", target)
		}
		out.Type, out.Source, out.Options = "overlay", "overlay", a.Layers.words()
		if a.ReadOnly {
			out.Options = append(out.Options, "ro")
		}
		return out, nil
	case config.MountBind, config.MountVolume:
		if !path.IsAbs(a.Source) {
			return out, fault.New(fault.Invalid, "mount %s: its source %.300q is no absolute path", target, a.Source)
		}
		if a.Subpath != "" {
			return out, fault.New(fault.Invalid, "mount %s: the path %.300q in its source was not opened", target, a.Subpath)
		}
		out.Options = []string{"rbind", prop}
		if a.NonRecursive {
			out.Options[0] = "bind"
		}
		if a.IDMap != IDMapNone && m.mapsMounts() {
			word := a.IDMap
			if a.NonRecursive {
				word = IDMapTop
			}
			out.Options = append(out.Options, word)
		}
	default:
		return out, fault.New(fault.Invalid, "mount type unknown: %.80s", a.Kind)
	}
	for _, o := range a.Options {
		if slices.Contains(notForKernel, o) || slices.Contains(propagationWords, o) && a.Kind != config.MountTmpfs || strings.HasPrefix(o, "idmap=") {
			continue
		}
		out.Options = append(out.Options, o)
	}
	if a.ReadOnly {
		out.Options = append(out.Options, "ro")
	}
	if a.ReadOnlyRecursive {
		out.Options = append(out.Options, "rro")
	}
	return out, nil
}
