package option

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/container/config"
)

// security is what the process may do.
type security struct {
	capAdd, capDrop, options []string
	sysctls                  map[string]string
	readOnlyTmpfs            bool
}

func (s *security) flags(f *pflag.FlagSet, c *config.Config) {
	f.Var(listed(&s.capAdd, nil), "cap-add", "Add Linux capabilities")
	f.Var(listed(&s.capDrop, nil), "cap-drop", "Drop Linux capabilities")
	f.BoolVar(&c.Security.Privileged, "privileged", false, "Give extended privileges to this container")
	f.BoolVar(&c.Security.Nested, "nested", false, "Let containers and an init run inside, with rights over the container's own user namespace alone")
	f.BoolVar(&c.Security.ReadOnlyRoot, "read-only", false, "Mount the container's root filesystem as read only")
	f.BoolVar(&s.readOnlyTmpfs, "read-only-tmpfs", false, "With --read-only, mount a tmpfs on /run, /tmp and /var/tmp")
	f.Var(listed(&s.options, nil), "security-opt", "Security Options")
	f.Var(&value{kind: "map", shown: "map[]", take: s.addSysctl}, "sysctl", "Sysctl options")
	namespaceFlags(f, &c.Namespaces)
	command.Extra(f, "read-only-tmpfs", "nested")
}

// namespacedSysctls are those of the kernel that belong to a container.
var namespacedSysctls = []string{
	"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax", "kernel.shmmni",
	"kernel.shm_rmid_forced",
}

func (s *security) addSysctl(word string) error {
	key, v, ok := strings.Cut(word, "=")
	name := strings.ReplaceAll(key, "/", ".")
	if !ok || !slices.Contains(namespacedSysctls, name) && !strings.HasPrefix(name, "net.") && !strings.HasPrefix(name, "fs.mqueue.") {
		return fmt.Errorf("sysctl '%s' is not whitelisted", word)
	}
	if s.sysctls == nil {
		s.sysctls = map[string]string{}
	}
	s.sysctls[key] = v
	return nil
}

// capability is a name in the form that records have: upper case, with CAP_.
func capability(s string) string {
	s = strings.ToUpper(strings.TrimSpace(s))
	if s == "ALL" || strings.HasPrefix(s, "CAP_") {
		return s
	}
	return "CAP_" + s
}

func capabilityList(words []string, podman bool) []string {
	var out []string
	for _, w := range words {
		parts := []string{w}
		if podman {
			parts = strings.Split(w, ",")
		}
		for _, p := range parts {
			out = append(out, capability(p))
		}
	}
	return out
}

func (o *Options) readSecurity(a Around) error {
	s, c := &o.security, &o.config.Security
	podman := o.config.Image.Dialect == "podman"
	c.CapAdd, c.CapDrop, c.Sysctls = capabilityList(s.capAdd, podman), capabilityList(s.capDrop, podman), s.sysctls
	c.ReadOnlyTmpfs = c.ReadOnlyRoot && (s.readOnlyTmpfs || podman && !o.changed("read-only-tmpfs"))
	for _, word := range s.options {
		if err := a.securityOption(c, word); err != nil {
			return err
		}
	}
	return o.readDevices()
}

// securityOption is one --security-opt. What it means is checked by
// config.Check; here it is parted, and a profile's file read.
func (a Around) securityOption(c *config.Security, word string) error {
	key, v, ok := strings.Cut(word, "=")
	if !ok {
		key, v, ok = strings.Cut(word, ":")
	}
	if !ok && word != "no-new-privileges" {
		return command.Line("Invalid --security-opt: %q", word)
	}
	shown := word
	switch key {
	case "no-new-privileges":
		on, err := strconv.ParseBool(v)
		c.NoNewPrivileges = !ok || err == nil && on
	case "seccomp":
		if v == "unconfined" || v == "builtin" {
			c.Seccomp = strings.TrimPrefix(v, "builtin")
			break
		}
		text, err := a.profile(v)
		if err != nil {
			return err
		}
		c.Seccomp, shown = text, "seccomp="+text
	case "apparmor":
		c.AppArmor = v
	case "label":
		c.Labels = append(c.Labels, v)
	case "systempaths":
		c.SystemPaths = v
	case "mask":
		c.Mask = append(c.Mask, strings.Split(v, ":")...)
	case "unmask":
		c.Unmask = append(c.Unmask, strings.Split(v, ":")...)
	}
	c.Options = append(c.Options, shown)
	return nil
}

// maxProfile is how long a seccomp profile may be.
const maxProfile = 4 << 20

// profile is a seccomp profile's text on one line.
func (a Around) profile(path string) (string, error) {
	f, err := a.Open(path)
	if err != nil {
		return "", command.Line("opening seccomp profile (%s) failed: %w", path, err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxProfile))
	_ = f.Close()
	if err != nil {
		return "", command.Line("opening seccomp profile (%s) failed: %w", path, err)
	}
	var b bytes.Buffer
	if err := json.Compact(&b, data); err != nil {
		return "", command.Line("compacting json for seccomp profile (%s) failed: %w", path, err)
	}
	return b.String(), nil
}
