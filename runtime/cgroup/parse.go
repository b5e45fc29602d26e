package cgroup

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Parse makes a Layout from the text of a mountinfo file (proc(5)) and, when
// own is not nil, of a /proc/PID/cgroup file. It opens nothing: for a layout
// that is not the standard one, and for tests.
func Parse(mountinfo, own []byte) (*Layout, error) {
	l := &Layout{}
	best := map[string]mountLine{}
	var order []string
	for line := range strings.SplitSeq(string(mountinfo), "\n") {
		m, ok := parseMount(line)
		if !ok {
			continue
		}
		old, seen := best[m.label]
		if !seen {
			order = append(order, m.label)
		}
		if !seen || m.better(old) {
			best[m.label] = m
		}
	}
	for _, label := range order {
		m := best[label]
		h := hierarchy{label: label, controllers: m.controllers, mount: m.point, root: m.root, fd: -1}
		if err := l.add(h); err != nil {
			return nil, err
		}
	}
	if err := l.settle(); err != nil {
		return nil, err
	}
	if own != nil {
		var err error
		if l.own, err = parseProcCgroup(own); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// mountLine is one cgroup line of mountinfo.
type mountLine struct {
	label, root, point string
	controllers        []string
}

// better says whether m is preferred to old for the same hierarchy: a whole
// tree over a bound part, the usual place over another, and of two at the same
// place the later, which covers the earlier.
func (m mountLine) better(old mountLine) bool {
	if (m.root == "/") != (old.root == "/") {
		return m.root == "/"
	}
	in := func(p string) bool { return p == standardMount || strings.HasPrefix(p, standardMount+"/") }
	if in(m.point) != in(old.point) {
		return in(m.point)
	}
	return m.point == old.point
}

// parseMount reads one line: "36 31 0:33 root point opts [tags] - type src superopts".
func parseMount(line string) (m mountLine, ok bool) {
	pre, post, found := strings.Cut(line, " - ")
	if !found {
		return m, false
	}
	tail := strings.Fields(post)
	if len(tail) < 3 || (tail[0] != "cgroup" && tail[0] != "cgroup2") {
		return m, false
	}
	f := strings.Fields(pre)
	if len(f) < 6 {
		return m, false
	}
	m.root, m.point = unescape(f[3]), unescape(f[4])
	if !strings.HasPrefix(m.root, "/") || !strings.HasPrefix(m.point, "/") {
		return m, false
	}
	if tail[0] == "cgroup2" {
		m.label = v2Label
		return m, true
	}
	for o := range strings.SplitSeq(tail[2], ",") {
		if slices.Contains(known, o) || (strings.HasPrefix(o, "name=") && len(o) > len("name=")) {
			m.controllers = append(m.controllers, o)
		}
	}
	m.label = strings.Join(m.controllers, ",")
	return m, m.label != ""
}

// unescape undoes mountinfo's octal escapes (\040 is a space).
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && isOctal(s[i+1]) && isOctal(s[i+2]) && isOctal(s[i+3]) {
			b.WriteByte((s[i+1]-'0')<<6 | (s[i+2]-'0')<<3 | (s[i+3] - '0'))
			i += 3
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func isOctal(c byte) bool { return c >= '0' && c <= '7' }

// parseProcCgroup reads /proc/PID/cgroup (cgroups(7)): one line
// "id:controllers:path" for each hierarchy, the unified one with no
// controllers, which is the key "".
func parseProcCgroup(text []byte) (map[string]string, error) {
	out := map[string]string{}
	for line := range strings.SplitSeq(strings.TrimRight(string(text), "\n"), "\n") {
		f := strings.SplitN(line, ":", 3)
		if len(f) != 3 || !strings.HasPrefix(f[2], "/") {
			return nil, fmt.Errorf("parse cgroup file of /proc: bad line %.80q", line)
		}
		// A removed cgroup is shown with this suffix.
		p := strings.TrimSuffix(f[2], " (deleted)")
		if f[1] == "" && f[0] != "0" {
			return nil, fmt.Errorf("parse cgroup file of /proc: bad line %.80q", line)
		}
		for c := range strings.SplitSeq(f[1], ",") {
			out[c] = p
		}
	}
	if len(out) == 0 {
		return nil, errors.New("parse cgroup file of /proc: empty")
	}
	return out, nil
}
