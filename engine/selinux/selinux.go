// Package selinux finds the labels of containers where SELinux is active, and gives
// files theirs, docs/decisions/0023. What puts a process under its label is runtime.
// Row 5.
package selinux

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"berth/base/atomicfile"
	"berth/base/fault"
)

// Policy is what the machine's policy has for containers.
type Policy struct {
	process, file label
	layers        label // of files that all containers read
	levels        bool  // multi-category security keeps containers from each other
	known         func(label string) error
}

// label is USER:ROLE:TYPE[:LEVEL], a security context.
type label struct{ user, role, kind, level string }

func (l label) String() string {
	text := l.user + ":" + l.role + ":" + l.kind
	if l.level != "" {
		text += ":" + l.level
	}
	return text
}

func parse(text string) (l label, err error) {
	parts := strings.SplitN(text, ":", 4)
	if len(parts) < 3 || slices.Contains(parts, "") || strings.ContainsAny(text, " \n\x00\",") && len(parts) < 4 {
		return l, fault.New(fault.Invalid, "%.300q is no SELinux label", text)
	}
	l = label{user: parts[0], role: parts[1], kind: parts[2]}
	if len(parts) == 4 {
		l.level = parts[3]
	}
	return l, nil
}

// Machine is where the policy is found.
type Machine struct {
	FS  string // /sys/fs/selinux
	Etc string // /etc/selinux
	Usr string // /usr/share/containers/selinux
}

// Here is this machine.
var Here = Machine{FS: "/sys/fs/selinux", Etc: "/etc/selinux", Usr: "/usr/share/containers/selinux"}

const maxConfig = 64 << 10

// Load reads what the active policy has for containers: the lxc_contexts of
// selinux_lxc_contexts_path(3). Error: Unsupported where it has nothing.
func (m Machine) Load() (*Policy, error) {
	name := "targeted"
	if values, err := values(filepath.Join(m.Etc, "config")); err == nil && values["SELINUXTYPE"] != "" {
		name = filepath.Base(values["SELINUXTYPE"])
	}
	const install = "install the package container-selinux, or what your system's policy for containers is in"
	from := filepath.Join(m.Etc, name, "contexts/lxc_contexts")
	found, err := values(from)
	if errors.Is(err, fs.ErrNotExist) {
		found, err = values(filepath.Join(m.Usr, "contexts"))
	}
	if err != nil {
		return nil, fault.New(fault.Unsupported, "its policy %s says nothing of containers (%v): %s", name, err, install)
	}
	p := &Policy{known: m.known}
	for key, into := range map[string]*label{"process": &p.process, "file": &p.file} {
		if *into, err = parse(found[key]); err != nil {
			return nil, fault.New(fault.Unsupported, "%s: %s: %v", from, key, err)
		}
		if err := m.known(into.String()); err != nil {
			return nil, fault.New(fault.Unsupported, "its policy %s does not know %s: %s", name, into, install)
		}
	}
	if p.layers, err = parse(found["ro_file"]); err != nil || m.known(p.layers.String()) != nil {
		p.layers = p.file
	}
	mls, err := atomicfile.ReadCapped(filepath.Join(m.FS, "mls"), maxConfig)
	p.levels = err == nil && bytes.HasPrefix(mls, []byte("1")) && p.process.level != "" && p.file.level != ""
	return p, nil
}

// known asks the kernel whether a label is one of its policy. Who may not ask learns it
// when it is applied.
func (m Machine) known(text string) error {
	f, err := os.OpenFile(filepath.Join(m.FS, "context"), os.O_RDWR, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	if _, err := f.WriteString(text); errors.Is(err, unix.EINVAL) {
		return err
	}
	return nil
}

// values reads KEY=VALUE lines, the value maybe in quotes.
func values(file string) (map[string]string, error) {
	text, err := atomicfile.ReadCapped(file, maxConfig)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		key, value, ok := strings.Cut(lines.Text(), "=")
		if key = strings.TrimSpace(key); ok && !strings.HasPrefix(key, "#") {
			out[key] = strings.Trim(strings.TrimSpace(value), `"`)
		}
	}
	return out, nil
}

// Labels are those of one container.
type Labels struct {
	Process string // "" leaves it that of who called
	Mount   string // of its files
	Layers  string // of its image's layers on disk
}

// Disable is the option that leaves the process alone.
const Disable = "disable"

// Draws reports whether a container with these options gets a level that is drawn.
func (p *Policy) Draws(options []string) bool {
	return p.levels && !slices.Contains(options, Disable) && !slices.ContainsFunc(options, func(o string) bool { return strings.HasPrefix(o, "level:") })
}

// Labels are those that the options of --security-opt label= ask for; level is the one
// drawn for it. Error: Invalid, in docker's words.
func (p *Policy) Labels(options []string, level string) (Labels, error) {
	process, file := p.process, p.file
	if p.levels && level != "" {
		process.level, file.level = level, level
	}
	for _, o := range options {
		if o == Disable {
			if p.levels {
				file = p.file
				file.level = Level(Pairs)
			}
			return Labels{Mount: file.String(), Layers: p.layers.String()}, nil
		}
		if o == "nested" {
			continue
		}
		key, value, _ := strings.Cut(o, ":")
		if value == "" || !slices.Contains([]string{"user", "role", "type", "level", "filetype"}, key) || strings.ContainsAny(value, " \n\x00\"") {
			return Labels{}, fault.New(fault.Invalid, "invalid --security-opt 2: bad label option %q, valid options 'disable' or \n'user, role, level, type, filetype' followed by ':' and a value", o)
		}
		switch key {
		case "user":
			process.user, file.user = value, value
		case "role":
			process.role = value
		case "type":
			process.kind = value
		case "filetype":
			file.kind = value
		case "level":
			process.level, file.level = value, value
		}
	}
	for _, l := range []label{process, file} {
		if err := p.known(l.String()); err != nil {
			return Labels{}, fault.New(fault.Invalid, "invalid --security-opt 2: label=%s: the policy of this machine does not know %s", strings.Join(options, " label="), l)
		}
	}
	return Labels{process.String(), file.String(), p.layers.String()}, nil
}

// Same are the options that give a container the process label of another.
func Same(process string) ([]string, error) {
	l, err := parse(process)
	if err != nil {
		return nil, err
	}
	options := []string{"user:" + l.user, "role:" + l.role, "type:" + l.kind}
	if l.level != "" {
		options = append(options, "level:"+l.level)
	}
	return options, nil
}

// Shared is a label of files that all containers may use: of no category.
func Shared(mount string) string {
	l, err := parse(mount)
	if err != nil || l.level == "" {
		return mount
	}
	l.level = "s0"
	return l.String()
}

// categories is how many the policies have, c0 to c1023.
const categories = 1024

// Pairs is how many levels there are to draw; the one above is that of containers
// without a label.
const Pairs = categories*(categories-1)/2 - 1

// Level is the nth level of two categories.
func Level(n uint32) string {
	for first := uint32(0); ; first++ {
		if rest := categories - 1 - first; n < rest || first == categories-2 {
			return fmt.Sprintf("s0:c%d,c%d", first, first+1+n)
		} else {
			n -= rest
		}
	}
}
