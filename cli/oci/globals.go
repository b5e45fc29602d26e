package oci

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/base/fault"
	"berth/cli/oci/cmdline"
)

// globals are the flags before the verb.
type globals struct {
	debug         bool
	log           string
	logFormat     string
	root          string
	criu          string
	systemdCgroup bool
	rootless      string
	version       bool
}

const systemRoot = "/run/" + Name

func (g *globals) flags(s *cmdline.Set) {
	g.logFormat, g.rootless = "text", "auto"
	s.Bool(&g.debug, "debug", "log more")
	s.Path(&g.log, "log", "file that errors and warnings are appended to, instead of standard error alone")
	s.String(&g.logFormat, "log-format", "FORMAT", "form of the log: text or json")
	s.Path(&g.root, "root", "folder of the containers' state, best on a tmpfs").Default =
		systemRoot + ", or $XDG_RUNTIME_DIR/" + Name + " for a user"
	s.Path(&g.criu, "criu", "ignored").Hidden = true
	s.Bool(&g.systemdCgroup, "systemd-cgroup", `ask systemd for cgroups; cgroupsPath is then "slice:prefix:name"`)
	s.String(&g.rootless, "rootless", "WHEN", "go on without cgroup rights: true, false or auto")
	s.Bool(&g.version, "version,v", "").Hidden = true
}

// options checks the global flags for a verb.
func (g *globals) options(verb string) (Options, error) {
	o := Options{SystemdCgroup: g.systemdCgroup}
	if w := strings.ToLower(g.rootless); w != "" && w != "auto" {
		b, err := strconv.ParseBool(w)
		if err != nil {
			return o, fault.New(fault.Invalid, "--rootless %q: not true, false or auto", g.rootless)
		}
		o.Rootless = &b
	}
	var err error
	if g.root != "" {
		o.Root, err = absRoot(g.root)
	} else {
		o.Root, err = defaultRoot(verb)
	}
	return o, err
}

func absRoot(root string) (string, error) {
	abs, err := filepath.Abs(root)
	if err != nil {
		return "", fmt.Errorf("--root %q: %w", root, err)
	}
	if abs == "/" {
		return "", fault.New(fault.Invalid, "--root %q: the state folder cannot be /", root)
	}
	return abs, nil
}

// rootless is how many verbs need no state folder at all.
func stateless(verb string) bool {
	switch verb {
	case specVerb.name, featuresVerb.name, checkpointVerb.name, restoreVerb.name, completionVerb.name, manVerb.name:
		return true
	}
	return false
}

// defaultRoot is the state folder without --root: a user's own, also for one
// who is root of a user namespace only (unless $USER says root, as with runc).
func defaultRoot(verb string) (string, error) {
	dir := os.Getenv("XDG_RUNTIME_DIR")
	user := os.Geteuid() != 0
	switch {
	case stateless(verb), !user && dir == "":
		return systemRoot, nil
	case user && dir == "":
		return "", fault.New(fault.Invalid, "no state folder: $XDG_RUNTIME_DIR is not set, and --root was not given")
	case !user && (os.Getenv("USER") == "root" || !inUserNamespace()):
		return systemRoot, nil
	}
	root, err := absRoot(filepath.Join(dir, Name))
	if err != nil || verb != createVerb.name && verb != runVerb.name {
		return root, err
	}
	// The XDG base directory specification lets files without the sticky bit
	// be removed at any time.
	if err := os.MkdirAll(root, 0o700); err != nil {
		return "", fmt.Errorf("make the state folder below $XDG_RUNTIME_DIR: %w", err)
	}
	if err := os.Chmod(root, 0o700|os.ModeSticky); err != nil {
		return "", fmt.Errorf("keep the state folder below $XDG_RUNTIME_DIR: %w", err)
	}
	return root, nil
}

// inUserNamespace reports whether ids are mapped other than one to one
// (user_namespaces(7)): the first one maps all 2^32-1 of them.
func inUserNamespace() bool {
	f, err := os.Open("/proc/self/uid_map")
	if err != nil {
		return false
	}
	defer f.Close()
	var b [64]byte
	n, _ := f.Read(b[:])
	return strings.Join(strings.Fields(string(b[:n])), " ") != "0 0 4294967295"
}

// Version and Commit are set by the linker (-X).
var (
	Version = "0.1.0-dev"
	Commit  = ""
)

// printVersion writes what dockerd and podman read for their info pages.
func printVersion(w io.Writer) {
	fmt.Fprintf(w, "%s version %s\n", Name, Version)
	if Commit != "" {
		fmt.Fprintf(w, "commit: %s\n", Commit)
	}
	fmt.Fprintf(w, "spec: %s\ngo: %s\n", specs.Version, goruntime.Version())
}
