// Package devfilter holds the access rules for device nodes of one container:
// it reads them from the bundle, reduces them to what a v1 devices cgroup can
// hold, and assembles and attaches the small eBPF program that enforces them on
// cgroup v2. Row 2, below runtime/cgroup and only for it.
//
// It makes no nodes and knows no paths; which devices a container gets is
// decided by its caller.
//
// Meaning of a list, on both versions: everything is denied; the rules apply in
// order; for each device and each of r, w and m the last rule that speaks of it
// wins.
package devfilter

import (
	"fmt"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Access bits have the values of the kernel's BPF_DEVCG_ACC_* (linux/bpf.h).
const (
	Mknod = 1
	Read  = 2
	Write = 4
	all   = Mknod | Read | Write
)

// Any is the wildcard of Major and Minor.
const Any = -1

// Rule allows or denies access to one device or a group of them.
type Rule struct {
	Allow  bool
	Type   byte  // 'a' (both), 'b', 'c'
	Major  int64 // Any
	Minor  int64 // Any
	Access uint8
}

// sweeping rules speak of everything.
func (r Rule) sweeping() bool {
	return r.Type == 'a' && r.Major == Any && r.Minor == Any && r.Access == all
}

// covers says that each device of s is one of r.
func (r Rule) covers(s Rule) bool {
	return (r.Type == 'a' || r.Type == s.Type) && (r.Major == Any || r.Major == s.Major) && (r.Minor == Any || r.Minor == s.Minor)
}

// meets says that some device is one of both.
func (r Rule) meets(s Rule) bool {
	return (r.Type == 'a' || s.Type == 'a' || r.Type == s.Type) &&
		(r.Major == Any || s.Major == Any || r.Major == s.Major) &&
		(r.Minor == Any || s.Minor == Any || r.Minor == s.Minor)
}

// String prints the line that the v1 files take: "c 1:3 rwm".
func (r Rule) String() string {
	return string(r.Type) + " " + star(r.Major) + ":" + star(r.Minor) + " " + r.Letters()
}

// Letters prints the access: "rwm".
func (r Rule) Letters() string {
	var b []byte
	for _, a := range []struct {
		bit uint8
		c   byte
	}{{Read, 'r'}, {Write, 'w'}, {Mknod, 'm'}} {
		if r.Access&a.bit != 0 {
			b = append(b, a.c)
		}
	}
	return string(b)
}

func star(n int64) string {
	if n == Any {
		return "*"
	}
	return strconv.FormatInt(n, 10)
}

// Parse reads linux.resources.devices. A missing type is "a", a missing number
// or a negative one any, a missing access "rwm". Errors name the field.
func Parse(field string, list []specs.LinuxDeviceCgroup) ([]Rule, error) {
	out := make([]Rule, 0, len(list))
	for i, d := range list {
		r := Rule{Allow: d.Allow, Type: 'a', Major: Any, Minor: Any, Access: all}
		switch d.Type {
		case "", "a":
		case "b", "c":
			r.Type = d.Type[0]
		default:
			return nil, fmt.Errorf("%s[%d].type: %.20q is not a, b or c", field, i, d.Type)
		}
		if d.Major != nil && *d.Major >= 0 {
			r.Major = *d.Major
		}
		if d.Minor != nil && *d.Minor >= 0 {
			r.Minor = *d.Minor
		}
		// kdev_t.h: 12 and 20 bits.
		if r.Major >= 1<<12 || r.Minor >= 1<<20 {
			return nil, fmt.Errorf("%s[%d]: %s:%s is not a device number", field, i, star(r.Major), star(r.Minor))
		}
		if d.Access != "" {
			var err error
			if r.Access, err = access(d.Access); err != nil {
				return nil, fmt.Errorf("%s[%d].access: %w", field, i, err)
			}
		}
		out = append(out, r)
	}
	return out, nil
}

func access(s string) (uint8, error) {
	var a uint8
	for i := range len(s) {
		var bit uint8
		switch s[i] {
		case 'r':
			bit = Read
		case 'w':
			bit = Write
		case 'm':
			bit = Mknod
		}
		if bit == 0 || a&bit != 0 {
			return 0, fmt.Errorf("%.20q is not made of r, w and m", s)
		}
		a |= bit
	}
	return a, nil
}

// Default are the rules for what every container has: any node may be made,
// few may be opened (config-linux.md, default devices). The console is a pty.
func Default() []Rule {
	out := []Rule{
		{true, 'c', Any, Any, Mknod},
		{true, 'b', Any, Any, Mknod},
	}
	for _, n := range [][2]int64{{1, 3}, {1, 5}, {1, 7}, {1, 8}, {1, 9}, {5, 0}, {5, 2}, {136, Any}} {
		out = append(out, Rule{true, 'c', n[0], n[1], all})
	}
	return out
}

// Reduce drops what a later sweeping rule makes void. start is what holds for
// devices that no remaining rule speaks of.
func Reduce(rules []Rule) (start bool, rest []Rule) {
	for i := len(rules) - 1; i >= 0; i-- {
		if rules[i].sweeping() {
			return rules[i].Allow, rules[i+1:]
		}
	}
	return false, rules
}
