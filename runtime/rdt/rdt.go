// Package rdt puts a container into a class of service of Intel's Resource
// Director Technology, through the resctrl file system: config-linux.md,
// "IntelRdt", and Documentation/filesystems/resctrl.rst of the kernel.
//
// It neither mounts resctrl nor knows what a schema means: lines are written as
// they are, and the kernel judges them. Row 2, part of the room runtime.
package rdt

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/base/fault"
)

// Mount is where the kernel's documentation puts resctrl.
const Mount = "/sys/fs/resctrl"

// maxSchemata bounds the lines and their whole size in bytes.
const maxSchemata = 64 << 10

// State is what Remove needs; it is kept in the container's record.
type State struct {
	Class   string // folder of a class that was made for the container
	Monitor string // folder of its monitoring group
}

// Class is a class of service thought out from a spec.
type Class struct {
	root    string
	name    string
	schema  string
	named   bool // linux.intelRdt.closID was given
	monitor string
}

// New checks linux.intelRdt; nil if the spec has none. Errors have kind Invalid,
// or Unsupported when the host has no resctrl.
func New(spec *specs.LinuxIntelRdt, id, root string) (*Class, error) {
	if spec == nil {
		return nil, nil
	}
	c := &Class{root: root, name: spec.ClosID, named: spec.ClosID != ""}
	if !c.named {
		c.name = id
	}
	switch c.name {
	case ".", "..", "info", "mon_groups", "mon_data":
		return nil, fault.New(fault.Invalid, "linux.intelRdt.closID: %q is not a name for a class", c.name)
	}
	if len(c.name) > 255 || strings.ContainsAny(c.name, "/\n\x00") {
		return nil, fault.New(fault.Invalid, "linux.intelRdt.closID: %.64q is not a file name", c.name)
	}
	lines := spec.Schemata
	for field, line := range map[string]string{"l3CacheSchema": spec.L3CacheSchema, "memBwSchema": spec.MemBwSchema} {
		if line == "" {
			continue
		}
		if len(spec.Schemata) > 0 {
			return nil, fault.New(fault.Invalid, "linux.intelRdt.%s: is given beside schemata", field)
		}
		lines = append(lines, line)
	}
	for i, line := range lines {
		if strings.ContainsAny(line, "\n\x00") || !strings.Contains(line, ":") {
			return nil, fault.New(fault.Invalid, "linux.intelRdt.schemata[%d]: %.64q is not a line of a schema", i, line)
		}
		c.schema += line + "\n"
	}
	if len(c.schema) > maxSchemata {
		return nil, fault.New(fault.Invalid, "linux.intelRdt.schemata: longer than %d bytes", maxSchemata)
	}
	if spec.EnableMonitoring {
		c.monitor = id
	}
	if _, err := os.Stat(filepath.Join(root, "schemata")); err != nil {
		return nil, fault.New(fault.Unsupported, "linux.intelRdt: no resctrl file system is mounted on %s, or this processor has none", root)
	}
	return c, nil
}

// Enter makes the class if it is missing, sets its schemata and moves process
// pid into it. What it made is removed again when it fails.
func (c *Class) Enter(pid int) (s State, err error) {
	if c == nil {
		return State{}, nil
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Remove())
			s = State{}
		}
	}()
	dir := filepath.Join(c.root, c.name)
	switch err := os.Mkdir(dir, 0o755); {
	case err == nil:
		s.Class = dir
		if c.named && c.schema == "" {
			return s, fault.New(fault.NotFound, "linux.intelRdt.closID: class %q does not exist, and no schema is given to make it", c.name)
		}
	case !errors.Is(err, os.ErrExist):
		return s, fmt.Errorf("linux.intelRdt: make class %s: %w", dir, err)
	}
	if c.schema != "" {
		if err := write(filepath.Join(dir, "schemata"), c.schema); err != nil {
			return s, fmt.Errorf("linux.intelRdt.schemata: %w", err)
		}
	}
	if err := write(filepath.Join(dir, "tasks"), strconv.Itoa(pid)); err != nil {
		return s, fmt.Errorf("linux.intelRdt: %w", err)
	}
	if c.monitor == "" {
		return s, nil
	}
	mon := filepath.Join(dir, "mon_groups", c.monitor)
	if err := os.Mkdir(mon, 0o755); err != nil {
		return s, fmt.Errorf("linux.intelRdt.enableMonitoring: make group %s: %w", mon, err)
	}
	s.Monitor = mon
	if err := write(filepath.Join(mon, "tasks"), strconv.Itoa(pid)); err != nil {
		return s, fmt.Errorf("linux.intelRdt.enableMonitoring: %w", err)
	}
	return s, nil
}

// write replaces a control file's content in one write(2), which is what the
// kernel takes as one request.
func write(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// Remove removes what was made for the container. Groups that are gone are no
// error.
func (s State) Remove() error {
	var all error
	for _, dir := range []string{s.Monitor, s.Class} {
		if dir == "" {
			continue
		}
		if err := unix.Rmdir(dir); err != nil && err != unix.ENOENT {
			all = errors.Join(all, fmt.Errorf("remove resctrl group %s: %w", dir, err))
		}
	}
	return all
}
