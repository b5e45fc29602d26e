package runtime

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/base/atomicfile"
	"berth/base/fault"
)

// maxConfigBytes bounds config.json; Docker's are 20 KB.
const maxConfigBytes = 16 << 20

// specOf returns the configuration that a request gives or names, the bytes of
// it that the state folder keeps, and the bundle's path.
func (rt *Runtime) specOf(req *CreateRequest) (raw []byte, spec *specs.Spec, bundle string, err error) {
	if req.Spec == nil {
		if bundle, err = filepath.Abs(req.Bundle); err != nil {
			return nil, nil, "", err
		}
		raw, spec, err = readBundle(bundle)
		return raw, spec, bundle, err
	}
	if bundle = req.Bundle; bundle == "" {
		bundle = filepath.Join(rt.Root, req.ID)
	}
	if bundle, err = filepath.Abs(bundle); err != nil {
		return nil, nil, "", err
	}
	if raw, err = json.Marshal(keptSpecOf(req.Spec)); err != nil {
		return nil, nil, "", fmt.Errorf("keep the configuration of container %q: %w", req.ID, err)
	}
	own := *req.Spec // a design changes it
	if own.Linux != nil {
		linux := *own.Linux
		own.Linux = &linux
	}
	return raw, &own, bundle, nil
}

// keptSpec is what later verbs look at, as in a config.json: hooks, and how the
// cgroup is found. What an exec needs is in a file of its own. It is no specs.Spec,
// as encoding/json would look at all that can be in one, which takes it a
// millisecond.
type keptSpec struct {
	Version     string            `json:"ociVersion"`
	Hostname    string            `json:"hostname,omitempty"`
	Root        *specs.Root       `json:"root,omitempty"`
	Hooks       any               `json:"hooks,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Linux       keptLinux         `json:"linux"`
}

type keptLinux struct {
	Namespaces  []specs.LinuxNamespace `json:"namespaces,omitempty"`
	CgroupsPath string                 `json:"cgroupsPath,omitempty"`
	Resources   *specs.LinuxResources  `json:"resources,omitempty"`
}

func keptSpecOf(s *specs.Spec) *keptSpec {
	k := &keptSpec{Version: s.Version, Hostname: s.Hostname, Root: s.Root, Annotations: s.Annotations}
	if s.Hooks != nil {
		k.Hooks = s.Hooks
	}
	if l := s.Linux; l != nil {
		k.Linux = keptLinux{l.Namespaces, l.CgroupsPath, l.Resources}
	}
	return k
}

// readBundle reads and checks a bundle's config.json.
func readBundle(bundle string) (raw []byte, spec *specs.Spec, err error) {
	path := filepath.Join(bundle, "config.json")
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err == unix.ENOENT {
		return nil, nil, fault.New(fault.NotFound, "JSON specification file %s not found", path)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("open %s: %w", path, err)
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	raw, err = atomicfile.ReadCappedFrom(f, maxConfigBytes)
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", path, err)
	}
	spec, err = parseSpec(raw)
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", path, err)
	}
	return raw, spec, nil
}

// parseSpec decodes a config.json. Unknown fields are ignored, as the spec
// demands ("Extensibility"); anything after the object is an error.
func parseSpec(raw []byte) (*specs.Spec, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	var spec specs.Spec
	if err := dec.Decode(&spec); err != nil {
		return nil, jsonError(err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fault.New(fault.Invalid, "there is more than one JSON value")
	}
	return &spec, nil
}

// jsonError names the field and what was found there.
func jsonError(err error) error {
	var te *json.UnmarshalTypeError
	if errors.As(err, &te) {
		field := te.Field
		if field == "" {
			field = "the top"
		}
		return fault.New(fault.Invalid, "%s: found a %s, want %s", field, te.Value, te.Type)
	}
	var se *json.SyntaxError
	if errors.As(err, &se) {
		return fault.New(fault.Invalid, "not JSON at byte %d: %v", se.Offset, err)
	}
	return fault.New(fault.Invalid, "not JSON: %v", err)
}

// checkSpec checks what no other room looks at. Mounts, resources, namespaces,
// seccomp and the process are checked where they are planned.
func checkSpec(spec *specs.Spec) error {
	if err := checkVersion(spec.Version); err != nil {
		return err
	}
	if spec.Root == nil || spec.Root.Path == "" {
		return fault.New(fault.Invalid, "root.path: is missing")
	}
	if spec.Linux == nil {
		spec.Linux = &specs.Linux{}
	}
	return checkProcess(spec.Process)
}

// checkProcess checks the fields that the first process itself acts on.
func checkProcess(p *specs.Process) error {
	switch {
	case p == nil:
		return fault.New(fault.Invalid, "process: is missing")
	case p.Cwd == "":
		return fault.New(fault.Invalid, "process.cwd: Cwd property must not be empty")
	case !filepath.IsAbs(p.Cwd):
		return fault.New(fault.Invalid, "process.cwd: Cwd must be an absolute path, not %q", clip(p.Cwd))
	case len(p.Cwd) >= unix.PathMax || strings.ContainsRune(p.Cwd, 0):
		return fault.New(fault.Invalid, "process.cwd: %q is too long for a path or has a NUL byte", clip(p.Cwd))
	case len(p.Args) == 0:
		return fault.New(fault.Invalid, "process.args: args must not be empty")
	}
	for i, s := range p.Args {
		if strings.ContainsRune(s, 0) {
			return fault.New(fault.Invalid, "process.args[%d]: has a NUL byte", i)
		}
	}
	for i, s := range p.Env {
		if strings.ContainsRune(s, 0) || !strings.Contains(s, "=") {
			return fault.New(fault.Invalid, "process.env[%d]: %q is not NAME=VALUE", i, clip(s))
		}
	}
	return nil
}

// clip shortens foreign text for an error.
func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}

// checkVersion accepts every 1.x, with or without a pre-release suffix: the
// spec follows SemVer.
func checkVersion(v string) error {
	if v == "" {
		return fault.New(fault.Invalid, "ociVersion: is missing")
	}
	major, rest, ok := strings.Cut(v, ".")
	if !ok || major != "1" && major != "0" || rest == "" || strings.Trim(rest, "0123456789.abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+-") != "" {
		return fault.New(fault.Invalid, "ociVersion: %q is not a version that is known here (1.x)", clip(v))
	}
	return nil
}
