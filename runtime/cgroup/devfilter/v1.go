package devfilter

import (
	"fmt"
	"strings"
)

// Set is what a v1 devices cgroup holds: one default and exceptions from it
// (device_cgroup.c). It has no order and no exceptions from exceptions.
type Set struct {
	AllowAll bool   // then Except are denials, else allowances
	Except   []Rule // sorted as the rules came, no two for the same devices
}

// Op is one line for devices.allow or devices.deny.
type Op struct {
	Allow bool
	Line  string
}

// NewSet reduces rules to a Set. Errors: a rule that takes a part out of an
// exception, which a v1 devices cgroup cannot hold.
func NewSet(rules []Rule) (Set, error) {
	start, rest := Reduce(rules)
	s := Set{AllowAll: start}
	for _, r := range rest {
		for _, one := range split(r) {
			if err := s.add(one); err != nil {
				return Set{}, err
			}
		}
	}
	s.close()
	return s, nil
}

// split writes a rule for both types as two; the kernel's "a" is always
// everything.
func split(r Rule) []Rule {
	if r.Type != 'a' {
		return []Rule{r}
	}
	c, b := r, r
	c.Type, b.Type = 'c', 'b'
	return []Rule{c, b}
}

// add applies the next rule.
func (s *Set) add(r Rule) error {
	if r.Allow == s.AllowAll {
		return s.remove(r)
	}
	for i := range s.Except {
		e := &s.Except[i]
		if e.Type == r.Type && e.Major == r.Major && e.Minor == r.Minor {
			e.Access |= r.Access
			return nil
		}
	}
	s.Except = append(s.Except, r)
	return nil
}

// remove takes the devices of r back to the default.
func (s *Set) remove(r Rule) error {
	kept := s.Except[:0]
	for _, e := range s.Except {
		switch {
		case !e.meets(r) || e.Access&r.Access == 0:
		case r.covers(e):
			e.Access &^= r.Access
		default:
			return fmt.Errorf("%q takes a part out of %q, which cgroup v1 cannot express", r, e)
		}
		if e.Access != 0 {
			kept = append(kept, e)
		}
	}
	s.Except = kept
	return nil
}

// close makes each exception carry all rights that wider ones give to its
// devices, because the kernel asks that one exception grants all rights of an
// open; then it drops those that a wider one covers.
func (s *Set) close() {
	for i := range s.Except {
		for _, w := range s.Except {
			if w.covers(s.Except[i]) {
				s.Except[i].Access |= w.Access
			}
		}
	}
	kept := make([]Rule, 0, len(s.Except))
	for i, e := range s.Except {
		void := false
		for j, w := range s.Except {
			if i != j && w.covers(e) && w.Access&e.Access == e.Access {
				void = true
				break
			}
		}
		if !void {
			kept = append(kept, e)
		}
	}
	s.Except = kept
}

// Fresh returns the writes for a cgroup without processes, whatever it
// inherited: first the default, which also clears, then the exceptions.
func (s Set) Fresh() []Op {
	ops := []Op{{s.AllowAll, "a"}}
	for _, e := range s.Except {
		ops = append(ops, Op{!s.AllowAll, e.String()})
	}
	return ops
}

// Change returns the writes that turn from into s while processes run. Rights
// that go are taken before rights that come, so that at no moment more is
// allowed than by one of the two. frozen says that this holds only when no
// process runs meanwhile.
func (s Set) Change(from Set) (ops []Op, frozen bool) {
	if from.AllowAll || s.AllowAll {
		// The kernel does not show denials of an allow-all cgroup, so the
		// whole is written anew.
		return s.Fresh(), s.AllowAll && len(s.Except) > 0
	}
	for _, e := range from.Except {
		if left := e.Access &^ s.exact(e); left != 0 {
			e.Access = left
			ops = append(ops, Op{false, e.String()})
		}
	}
	for _, e := range s.Except {
		if more := e.Access &^ from.exact(e); more != 0 {
			e.Access = more
			ops = append(ops, Op{true, e.String()})
		}
	}
	return ops, false
}

// exact returns the rights of the exception for exactly the devices of r.
func (s Set) exact(r Rule) uint8 {
	for _, e := range s.Except {
		if e.Type == r.Type && e.Major == r.Major && e.Minor == r.Minor {
			return e.Access
		}
	}
	return 0
}

// ParseList reads devices.list. An allow-all cgroup shows one line only, its
// denials are not in the file.
func ParseList(text []byte) (Set, error) {
	var s Set
	for line := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n") {
		if line == "" {
			continue
		}
		f := strings.Fields(line)
		if len(f) != 3 || len(f[0]) != 1 {
			return Set{}, fmt.Errorf("devices.list: bad line %.80q", line)
		}
		r := Rule{Allow: true, Type: f[0][0], Major: Any, Minor: Any}
		major, minor, ok := strings.Cut(f[1], ":")
		if !ok || !numOrStar(major, &r.Major) || !numOrStar(minor, &r.Minor) {
			return Set{}, fmt.Errorf("devices.list: bad line %.80q", line)
		}
		var err error
		if r.Access, err = access(f[2]); err != nil {
			return Set{}, fmt.Errorf("devices.list: bad line %.80q", line)
		}
		switch r.Type {
		case 'a':
			return Set{AllowAll: true}, nil
		case 'b', 'c':
			s.Except = append(s.Except, r)
		default:
			return Set{}, fmt.Errorf("devices.list: bad line %.80q", line)
		}
	}
	return s, nil
}

func numOrStar(s string, n *int64) bool {
	if s == "*" {
		return true
	}
	if s == "" || len(s) > 10 {
		return false
	}
	*n = 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
		*n = *n*10 + int64(s[i]-'0')
	}
	return true
}
