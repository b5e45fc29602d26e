// Package unit asks systemd for the scope that holds one container: it builds
// the scope's properties from the bundle's resources and speaks D-Bus. Row 2,
// below runtime/cgroup and only for it.
//
// It writes no cgroup file; what systemd has no property for is written by
// runtime/cgroup beside it. The construction of properties is pure.
//
// Sources: org.freedesktop.systemd1(5), systemd.resource-control(5),
// systemd.scope(5).
package unit

import (
	"fmt"
	"sort"
	"strings"

	"github.com/godbus/dbus/v5"
)

// Scope is one unit of systemd.
type Scope struct {
	Name  string // "prefix-name.scope", or a name that ends in ".slice"
	Slice string // that it lies in
	User  bool   // the user's manager instead of the machine's
	Props []Property
}

// Property is one unit property; Value is of the D-Bus type that systemd wants.
type Property struct {
	Name  string
	Value any
}

// String prints the property with its D-Bus type: "MemoryMax t 1073741824".
func (p Property) String() string {
	v := dbus.MakeVariant(p.Value)
	s := v.String()
	if rest, ok := strings.CutPrefix(s, "@"+v.Signature().String()+" "); ok {
		s = rest
	}
	return p.Name + " " + v.Signature().String() + " " + s
}

const field = "linux.cgroupsPath"

// Parse reads linux.cgroupsPath in systemd's form "slice:prefix:name"; empty
// gives the default slice and a scope named after the container.
func Parse(path, id string, user bool) (*Scope, error) {
	s := &Scope{Slice: "system.slice", User: user}
	prefix, name := "berth", id
	if user {
		s.Slice = "user.slice"
	}
	if path != "" {
		f := strings.Split(path, ":")
		if len(f) != 3 {
			return nil, fmt.Errorf("%s: %.80q is not slice:prefix:name, which the systemd driver needs", field, path)
		}
		if f[0] != "" {
			s.Slice = f[0]
		}
		prefix, name = f[1], f[2]
	}
	if _, err := expand(s.Slice); err != nil {
		return nil, err
	}
	switch {
	case strings.HasSuffix(name, ".slice"):
		s.Name = name
		if _, err := expand(name); err != nil {
			return nil, err
		}
	case prefix == "":
		s.Name = name + ".scope"
	default:
		s.Name = prefix + "-" + name + ".scope"
	}
	if !unitName(s.Name) {
		return nil, fmt.Errorf("%s: %.80q is not a unit name", field, s.Name)
	}
	return s, nil
}

// unitName takes systemd.unit(5)'s characters, at most 255 bytes.
func unitName(s string) bool {
	if len(s) > 255 || strings.HasPrefix(s, ".") {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && !strings.ContainsRune(`:-_.\`, rune(c)) {
			return false
		}
	}
	return true
}

// expand turns a slice's name into its path: dashes are levels, so that
// a-b.slice lies in a.slice.
func expand(slice string) (string, error) {
	name, ok := strings.CutSuffix(slice, ".slice")
	if !ok || !unitName(slice) {
		return "", fmt.Errorf("%s: %.80q is not the name of a slice", field, slice)
	}
	if name == "-" {
		return "", nil
	}
	path, prefix := "", ""
	for part := range strings.SplitSeq(name, "-") {
		if part == "" {
			return "", fmt.Errorf("%s: %.80q is not the name of a slice", field, slice)
		}
		prefix += part
		if path != "" {
			path += "/"
		}
		path += prefix + ".slice"
		prefix += "-"
	}
	return path, nil
}

// Path is where systemd will make the cgroup, below the mount; for a user's
// manager below that manager's own cgroup, which only it knows.
func (s *Scope) Path() string {
	dir, err := expand(s.Slice)
	if strings.HasSuffix(s.Name, ".slice") {
		dir, err = expand(s.Name)
		if err == nil {
			return dir
		}
	}
	if err != nil || dir == "" {
		return s.Name
	}
	return dir + "/" + s.Name
}

// Plan prints what Start asks for, one line each.
func (s *Scope) Plan() []string {
	bus := "system"
	if s.User {
		bus = "user"
	}
	out := []string{"scope " + bus + " " + s.Name}
	for _, p := range s.Props {
		out = append(out, "property "+p.String())
	}
	return out
}

// base are the properties that every container's unit has.
func (s *Scope) base(id string, v2 bool) []Property {
	out := []Property{{"Description", "berth container " + id}}
	if strings.HasSuffix(s.Name, ".slice") {
		out = append(out, Property{"Wants", []string{s.Slice}})
	} else {
		out = append(out, Property{"Slice", s.Slice}, Property{"Delegate", true})
	}
	io := "BlockIOAccounting"
	if v2 {
		io = "IOAccounting"
	}
	return append(out,
		Property{"DefaultDependencies", false},
		Property{"CPUAccounting", true}, Property{"MemoryAccounting", true},
		Property{io, true}, Property{"TasksAccounting", true},
	)
}

func sortedKeys(m map[string]string) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}
