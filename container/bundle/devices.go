package bundle

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/container/config"
)

// HostDevices are nodes and rules for the devices that were asked for.
type HostDevices struct {
	Nodes []specs.LinuxDevice
	Rules []specs.LinuxDeviceCgroup
	// CDI is what vendors' descriptions bring besides nodes; see Inject.
	CDI Injected
	// Block are the numbers of the devices that limits name, by path.
	Block map[string]DeviceID
}

// DeviceID is a device's number.
type DeviceID struct{ Major, Minor int64 }

// devices sets the nodes and who may open what.
func (m *maker) devices() error {
	if m.in.Devices != nil {
		m.spec.Linux.Devices = m.in.Devices.Nodes
	}
	m.spec.Linux.Resources.Devices = DeviceRules(m.c, m.in.Devices)
	return nil
}

// DeviceRules say what a container may open.
func DeviceRules(c *config.Config, d *HostDevices) []specs.LinuxDeviceCgroup {
	rules := []specs.LinuxDeviceCgroup{{Allow: c.Security.Privileged, Access: "rwm"}}
	if d != nil && !c.Security.Privileged {
		rules = append(rules, d.Rules...)
	}
	return rules
}

// Devices looks up the host's devices that a container asks for: each --device,
// a folder's with all below, all of them for a privileged one; and the numbers
// that block limits need. Errors, in Docker's words: NotFound, Invalid.
func Devices(c *config.Config) (*HostDevices, error) {
	d := &HostDevices{}
	if c.Security.Privileged {
		if err := d.folder("/dev", "/dev", "rwm"); err != nil {
			return nil, err
		}
	}
	for _, path := range nestedDevices {
		if !c.Security.Nested || !exists(path) || asksFor(c, path) {
			continue
		}
		if err := d.add(&config.Device{Host: path}); err != nil {
			return nil, err
		}
	}
	for i := range c.Devices.Add {
		if err := d.add(&c.Devices.Add[i]); err != nil {
			return nil, err
		}
	}
	for _, rule := range c.Devices.Rules {
		r, err := parseRule(rule)
		if err != nil {
			return nil, err
		}
		d.Rules = append(d.Rules, r)
	}
	return d, d.blocks(&c.Resources.Block)
}

// asksFor reports whether a device is asked for by name.
func asksFor(c *config.Config, path string) bool {
	return slices.ContainsFunc(c.Devices.Add, func(d config.Device) bool { return d.Inside() == path })
}

func gathering(host string, err error) error {
	return fmt.Errorf("error gathering device information while adding custom device %q: %w", host, err)
}

// add looks up one --device. A link is followed; what it leads to is made.
func (d *HostDevices) add(a *config.Device) error {
	inside := a.Inside()
	access := first(a.Permissions, "rwm")
	real, err := filepath.EvalSymlinks(a.Host)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = unix.ENOENT
		}
		return gathering(a.Host, err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(real, &st); err != nil {
		return gathering(a.Host, err)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return d.folder(real, inside, access)
	}
	if !d.node(&st, inside, access) {
		return gathering(a.Host, fault.New(fault.Invalid, "not a device node"))
	}
	return nil
}

// node adds a node if it is a device.
func (d *HostDevices) node(st *unix.Stat_t, inside, access string) bool {
	kind := map[uint32]string{unix.S_IFCHR: "c", unix.S_IFBLK: "b"}[st.Mode&unix.S_IFMT]
	if kind == "" {
		return false
	}
	major, minor := int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev))
	mode := os.FileMode(st.Mode & 0o777)
	uid, gid := st.Uid, st.Gid
	d.Nodes = append(d.Nodes, specs.LinuxDevice{Path: inside, Type: kind, Major: major, Minor: minor, FileMode: &mode, UID: &uid, GID: &gid})
	d.Rules = append(d.Rules, specs.LinuxDeviceCgroup{Allow: true, Type: kind, Major: &major, Minor: &minor, Access: access})
	return true
}

// skipped are the parts of /dev that are a container's own.
var skipped = []string{"/dev/pts", "/dev/shm", "/dev/fd", "/dev/mqueue", "/dev/console", "/dev/ptmx"}

// maxNodes bounds what one folder may bring.
const maxNodes = 8192

func (d *HostDevices) folder(dir, inside, access string) error {
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			if name == dir {
				return err
			}
			return nil // gone meanwhile
		}
		if slices.Contains(skipped, name) {
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		var st unix.Stat_t
		if e.Type()&fs.ModeDevice == 0 || unix.Lstat(name, &st) != nil {
			return nil
		}
		if len(d.Nodes) >= maxNodes {
			return fault.New(fault.Invalid, "more than %d devices below %s", maxNodes, dir)
		}
		d.node(&st, path.Join(inside, strings.TrimPrefix(name, dir)), access)
		return nil
	})
	if err != nil {
		return gathering(dir, err)
	}
	return nil
}

// parseRule reads "c 1:3 rwm" of --device-cgroup-rule.
func parseRule(s string) (specs.LinuxDeviceCgroup, error) {
	r := specs.LinuxDeviceCgroup{Allow: true}
	f := strings.Fields(s)
	bad := fault.New(fault.Invalid, "invalid device cgroup rule format: '%.80s'", s)
	if len(f) != 3 || !strings.Contains("acb", f[0]) || len(f[0]) != 1 || strings.Trim(f[2], "rwm") != "" {
		return r, bad
	}
	r.Type, r.Access = f[0], f[2]
	major, minor, ok := strings.Cut(f[1], ":")
	if !ok {
		return r, bad
	}
	for _, n := range []struct {
		text string
		into **int64
	}{{major, &r.Major}, {minor, &r.Minor}} {
		v := int64(-1)
		if n.text != "*" {
			var err error
			if v, err = strconv.ParseInt(n.text, 10, 32); err != nil || v < 0 {
				return r, bad
			}
		}
		*n.into = &v
	}
	return r, nil
}

// blocks looks up the numbers of devices that have limits.
func (d *HostDevices) blocks(l *config.Block) error {
	for _, list := range [][]config.DeviceNumber{l.DeviceWeight, l.ReadBps, l.WriteBps, l.ReadIOps, l.WriteIOps} {
		for _, n := range list {
			var st unix.Stat_t
			if err := unix.Stat(n.Path, &st); err != nil {
				return &os.PathError{Op: "stat", Path: n.Path, Err: err}
			}
			if d.Block == nil {
				d.Block = map[string]DeviceID{}
			}
			d.Block[n.Path] = DeviceID{int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev))}
		}
	}
	return nil
}
