// Package cdi reads the files by which vendors describe devices to container
// engines: the Container Device Interface, spec 1.1. It finds devices by their
// names and says what a container with them gets; it looks at no device and
// changes nothing. The files are the administrator's: what they name is trusted as
// the engine's settings are. Row 3, inside room container.
package cdi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"

	"berth/base/atomicfile"
	"berth/base/fault"
)

// Limits of what is read.
const (
	maxFile  = 8 << 20
	maxFiles = 1000
)

// file is one file.
type file struct {
	Version string   `json:"cdiVersion" yaml:"cdiVersion"`
	Kind    string   `json:"kind" yaml:"kind"`
	Devices []device `json:"devices" yaml:"devices"`
	Edits   Edits    `json:"containerEdits" yaml:"containerEdits"`
	path    string
}

type device struct {
	Name  string `json:"name" yaml:"name"`
	Edits Edits  `json:"containerEdits" yaml:"containerEdits"`
}

// Edits are what a container gets.
type Edits struct {
	Env            []string `json:"env" yaml:"env"`
	Nodes          []Node   `json:"deviceNodes" yaml:"deviceNodes"`
	NetDevices     []any    `json:"netDevices" yaml:"netDevices"`
	Hooks          []Hook   `json:"hooks" yaml:"hooks"`
	Mounts         []Mount  `json:"mounts" yaml:"mounts"`
	IntelRdt       any      `json:"intelRdt" yaml:"intelRdt"`
	AdditionalGIDs []uint32 `json:"additionalGids" yaml:"additionalGids"`
}

// Node is a device; what it leaves out is the host's.
type Node struct {
	Path        string  `json:"path" yaml:"path"`
	HostPath    string  `json:"hostPath" yaml:"hostPath"`
	Type        string  `json:"type" yaml:"type"`
	Major       int64   `json:"major" yaml:"major"`
	Minor       int64   `json:"minor" yaml:"minor"`
	FileMode    *uint32 `json:"fileMode" yaml:"fileMode"`
	Permissions string  `json:"permissions" yaml:"permissions"`
	UID         *uint32 `json:"uid" yaml:"uid"`
	GID         *uint32 `json:"gid" yaml:"gid"`
}

// Mount is a bind, unless it has another type.
type Mount struct {
	HostPath      string   `json:"hostPath" yaml:"hostPath"`
	ContainerPath string   `json:"containerPath" yaml:"containerPath"`
	Options       []string `json:"options" yaml:"options"`
	Type          string   `json:"type" yaml:"type"`
}

// Hook is an OCI hook.
type Hook struct {
	Name    string   `json:"hookName" yaml:"hookName"`
	Path    string   `json:"path" yaml:"path"`
	Args    []string `json:"args" yaml:"args"`
	Env     []string `json:"env" yaml:"env"`
	Timeout *int     `json:"timeout" yaml:"timeout"`
}

// Find gives the edits of devices, VENDOR/CLASS=NAME each, from the files in dirs:
// what a later folder says of a device wins over an earlier one. The edits of a
// whole file come once, before those of its devices. Error: NotFound for a device
// that no file, or more than one of a folder, describes.
func Find(dirs, names []string) ([]Edits, error) {
	all, broken, err := read(dirs)
	if err != nil {
		return nil, err
	}
	var out []Edits
	var missing []string
	seen := map[string]bool{}
	for _, name := range names {
		f, d := find(all, name)
		if d == nil {
			missing = append(missing, name)
			continue
		}
		if !seen[f.path] {
			seen[f.path] = true
			out = append(out, f.Edits)
		}
		out = append(out, d.Edits)
	}
	if len(missing) > 0 {
		err := fmt.Errorf("CDI device injection failed: unresolvable CDI devices %s: %s", strings.Join(missing, ", "), why(all, dirs, broken))
		return nil, fault.Wrap(fault.NotFound, err)
	}
	return out, nil
}

// why says what may be the matter with a device that was not found.
func why(all [][]file, dirs []string, broken error) string {
	count := 0
	for _, files := range all {
		count += len(files)
	}
	switch {
	case broken != nil:
		return broken.Error()
	case count == 0:
		return "there is no CDI specification in " + strings.Join(dirs, ", ")
	}
	return "no CDI specification in " + strings.Join(dirs, ", ") + " has it, or several have"
}

// find looks for a device from the last folder to the first.
func find(all [][]file, name string) (*file, *device) {
	kind, word, _ := strings.Cut(name, "=")
	for _, files := range slices.Backward(all) {
		var f *file
		var d *device
		count := 0
		for i := range files {
			for j := range files[i].Devices {
				if files[i].Kind == kind && files[i].Devices[j].Name == word {
					f, d = &files[i], &files[i].Devices[j]
					count++
				}
			}
		}
		if count > 0 {
			if count > 1 {
				return nil, nil
			}
			return f, d
		}
	}
	return nil, nil
}

// GPUs is the kind that --gpus means: nvidia.com/gpu, else the one of another
// vendor if it is the only one. Error: NotFound.
func GPUs(dirs []string) (kind string, err error) {
	all, broken, err := read(dirs)
	if err != nil {
		return "", err
	}
	var kinds []string
	for _, files := range all {
		for _, f := range files {
			if strings.HasSuffix(f.Kind, "/gpu") && !slices.Contains(kinds, f.Kind) {
				kinds = append(kinds, f.Kind)
			}
		}
	}
	const usual = "nvidia.com/gpu"
	switch {
	case slices.Contains(kinds, usual):
		return usual, nil
	case len(kinds) == 1:
		return kinds[0], nil
	case len(kinds) > 1:
		slices.Sort(kinds)
		return "", fault.New(fault.Invalid, "which GPUs are meant is not clear, there are %s: use --device KIND=NAME", strings.Join(kinds, ", "))
	case broken != nil:
		return "", broken
	}
	return "", fault.New(fault.NotFound, "no CDI specification in %s has GPUs", strings.Join(dirs, ", "))
}

// read reads all files, by folder. One that is broken is left out and told as
// broken, since it may be what was looked for.
func read(dirs []string) (all [][]file, broken, err error) {
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, nil, fmt.Errorf("read CDI specifications: %w", err)
		}
		if len(entries) > maxFiles {
			return nil, nil, fault.New(fault.Invalid, "read CDI specifications: more than %d files in %s", maxFiles, dir)
		}
		var files []file
		for _, e := range entries {
			ext := filepath.Ext(e.Name())
			if ext != ".json" && ext != ".yaml" || e.IsDir() {
				continue
			}
			f, err := parse(filepath.Join(dir, e.Name()))
			if err != nil {
				if broken == nil {
					broken = err
				}
				continue
			}
			files = append(files, *f)
		}
		all = append(all, files)
	}
	return all, broken, nil
}

func parse(path string) (*file, error) {
	b, err := atomicfile.ReadCapped(path, maxFile)
	if err != nil {
		return nil, err
	}
	f := &file{path: path}
	if filepath.Ext(path) == ".json" {
		err = json.Unmarshal(b, f)
	} else {
		err = yaml.Unmarshal(b, f)
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, "read CDI specification %s: %w", path, err)
	}
	if err := f.check(); err != nil {
		return nil, fault.New(fault.Invalid, "read CDI specification %s: %w", path, err)
	}
	return f, nil
}

var kindForm = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]*/[A-Za-z][A-Za-z0-9_.-]*$`)
})

// check finds what cannot be given to any container.
func (f *file) check() error {
	if !strings.HasPrefix(f.Version, "0.") && !strings.HasPrefix(f.Version, "1.") {
		return fmt.Errorf("cdiVersion %.20q is not known", f.Version)
	}
	if !kindForm().MatchString(f.Kind) {
		return fmt.Errorf("kind %.80q is not VENDOR/CLASS", f.Kind)
	}
	if err := f.Edits.check(); err != nil {
		return err
	}
	for i := range f.Devices {
		if err := f.Devices[i].Edits.check(); err != nil {
			return fmt.Errorf("device %.80s: %w", f.Devices[i].Name, err)
		}
	}
	return nil
}

var hookNames = []string{"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"}

func (e *Edits) check() error {
	switch {
	case len(e.NetDevices) > 0:
		return errors.New("netDevices are not served")
	case e.IntelRdt != nil:
		return errors.New("intelRdt is not served")
	}
	for _, v := range e.Env {
		if k, _, ok := strings.Cut(v, "="); !ok || k == "" || strings.ContainsRune(v, 0) {
			return fmt.Errorf("env %.80q is not NAME=VALUE", v)
		}
	}
	for _, n := range e.Nodes {
		switch {
		case !filepath.IsAbs(n.Path) || n.HostPath != "" && !filepath.IsAbs(n.HostPath):
			return fmt.Errorf("device node %.80q is no absolute path", n.Path)
		case n.Type != "" && n.Type != "b" && n.Type != "c" && n.Type != "u":
			return fmt.Errorf("device node %s: type %.20q is not served", n.Path, n.Type)
		case strings.Trim(n.Permissions, "rwm") != "":
			return fmt.Errorf("device node %s: permissions %.20q", n.Path, n.Permissions)
		}
	}
	for _, m := range e.Mounts {
		if !filepath.IsAbs(m.ContainerPath) || !filepath.IsAbs(m.HostPath) && (m.Type == "" || m.Type == "bind") {
			return fmt.Errorf("mount of %.80q on %.80q: no absolute path", m.HostPath, m.ContainerPath)
		}
	}
	for _, h := range e.Hooks {
		if !slices.Contains(hookNames, h.Name) || !filepath.IsAbs(h.Path) {
			return fmt.Errorf("hook %.40q %.80q: unknown, or no absolute path", h.Name, h.Path)
		}
	}
	return nil
}
