package unpack

import (
	"archive/tar"
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"

	"golang.org/x/sys/unix"
)

// The model says what a layer is to be, in memory and without any care for
// speed or safety: the extractor must agree with it.

type node struct {
	entry
	kind   byte // tar's type, or 'w' for a whiteout
	kids   map[string]*node
	named  bool
	opaque bool
	fresh  bool
}

func newFolder() *node { return &node{kind: tar.TypeDir, kids: map[string]*node{}} }

type model struct {
	root    *node
	below   *model
	devices bool // can be made
	oneID   bool
	opaque  string // the xattr
}

var errModel = errors.New("refused")

// apply does one entry.
func (m *model) apply(e entry) error {
	parts, err := modelName(e.Name)
	if err != nil {
		return err
	}
	base := ""
	if len(parts) > 0 {
		base = parts[len(parts)-1]
		parts = parts[:len(parts)-1]
	}
	for _, p := range parts {
		if strings.HasPrefix(p, ".wh..wh.") {
			return nil
		}
		if strings.HasPrefix(p, ".wh.") {
			return errModel
		}
	}
	switch {
	case base == "":
		if e.Typeflag != tar.TypeDir {
			return errModel
		}
		m.root.entry, m.root.named = e, true
		return nil
	case base == ".wh..wh..opq":
		d, err := m.walk(parts, true)
		if err == nil {
			d.opaque = true
		}
		return err
	case strings.HasPrefix(base, ".wh..wh."):
		return nil
	case strings.HasPrefix(base, ".wh."):
		return m.hide(parts, base[4:])
	case e.Typeflag == tar.TypeLink:
		return m.link(parts, base, e)
	}
	d, err := m.walk(parts, true)
	if err != nil {
		return err
	}
	old := d.kids[base]
	n := &node{entry: e, kind: e.Typeflag, named: true}
	switch {
	case n.kind == tar.TypeDir && old != nil && old.kind == tar.TypeDir:
		old.entry, old.named = e, true
		return nil
	case n.kind == tar.TypeDir:
		n.kids = map[string]*node{}
		n.opaque = old != nil && old.kind == 'w'
		n.fresh = n.opaque
	case n.kind == tar.TypeChar && e.Devmajor == 0 && e.Devminor == 0:
		return m.hide(parts, base)
	case (n.kind == tar.TypeChar || n.kind == tar.TypeBlock) && !m.devices:
		delete(d.kids, base)
		return nil
	}
	d.kids[base] = n
	return nil
}

func modelName(name string) (parts []string, err error) {
	for _, p := range strings.Split(name, "/") {
		if p == ".." || len(p) > 255 {
			return nil, errModel
		}
		if p != "" && p != "." {
			parts = append(parts, p)
		}
	}
	return parts, nil
}

func (m *model) hide(parts []string, base string) error {
	if base == "" || base == "." || base == ".." {
		return errModel
	}
	d, err := m.walk(parts, true)
	if err != nil {
		return err
	}
	switch old := d.kids[base]; {
	case old == nil:
		d.kids[base] = &node{kind: 'w'}
	case old.kind == tar.TypeDir:
		old.opaque, old.fresh = true, true
	}
	return nil
}

func (m *model) link(parts []string, base string, e entry) error {
	target, err := modelName(e.Linkname)
	if err != nil || len(target) == 0 {
		return errModel
	}
	from, err := m.walk(target[:len(target)-1], false)
	if err != nil {
		return errModel
	}
	n := from.kids[target[len(target)-1]]
	if n == nil || n.kind == 'w' || n.kind == tar.TypeDir {
		return errModel
	}
	d, err := m.walk(parts, true)
	if err != nil {
		return err
	}
	if old := d.kids[base]; old != n {
		delete(d.kids, base)
		if old.holds(from) { // what is replaced takes the target along
			return errModel
		}
	}
	d.kids[base] = n
	kept := n.PAXRecords
	body, text := n.body, n.Linkname
	major, minor := n.Devmajor, n.Devminor
	mode := n.Mode
	n.entry = e
	n.body, n.Linkname, n.Devmajor, n.Devminor = body, text, major, minor
	if n.kind == tar.TypeSymlink {
		n.Mode = mode
	}
	if len(kept) > 0 {
		merged := map[string]string{}
		for k, v := range kept {
			merged[k] = v
		}
		for k, v := range e.PAXRecords {
			merged[k] = v
		}
		n.PAXRecords = merged
	}
	return nil
}

// holds reports whether n is the folder, or has it somewhere below.
func (n *node) holds(folder *node) bool {
	if n == nil || n == folder {
		return n != nil
	}
	for _, kid := range n.kids {
		if kid.holds(folder) {
			return true
		}
	}
	return false
}

// walk goes to a folder, over links, and makes what is missing if it may.
func (m *model) walk(parts []string, make bool) (*node, error) {
	at := []*node{m.root}
	todo := append([]string(nil), parts...)
	for links := 0; len(todo) > 0; {
		p := todo[0]
		todo = todo[1:]
		d := at[len(at)-1]
		switch p {
		case "", ".":
			continue
		case "..":
			at = at[:max(1, len(at)-1)]
			continue
		}
		n := d.kids[p]
		if n != nil && n.kind == tar.TypeSymlink {
			if links++; links > 40 {
				return nil, errModel
			}
			if strings.HasPrefix(n.Linkname, "/") {
				at = at[:1]
			}
			todo = append(strings.Split(n.Linkname, "/"), todo...)
			continue
		}
		if n == nil && !make {
			return nil, errModel
		}
		if n == nil || n.kind == 'w' && make {
			f := newFolder()
			f.opaque = n != nil
			f.fresh = f.opaque
			n = f
			d.kids[p] = f
		}
		if n.kind != tar.TypeDir {
			return nil, errModel
		}
		at = append(at, n)
	}
	return at[len(at)-1], nil
}

// finish takes from below what is not named, and hides what is to be hidden.
func (m *model) finish() {
	if m.root.opaque && m.below != nil {
		for name := range m.below.root.kids {
			if n := m.root.kids[name]; n == nil {
				m.root.kids[name] = &node{kind: 'w'}
			} else if n.kind == tar.TypeDir {
				n.opaque = true
			}
		}
	}
	hidden := m.root.opaque
	m.root.opaque = false
	var below *node
	if m.below != nil {
		below = m.below.root
	}
	m.inherit(m.root, below, hidden)
}

func (m *model) inherit(n, below *node, hidden bool) {
	if !n.named {
		n.entry = entry{Header: tar.Header{Mode: 0o755}}
		if below != nil && !n.fresh {
			n.entry = below.entry
		}
	}
	for name, kid := range n.kids {
		if kid.kind != tar.TypeDir {
			continue
		}
		var b *node
		if below != nil && !n.opaque && !hidden {
			if b = below.kids[name]; b != nil && b.kind != tar.TypeDir {
				b = nil
			}
		}
		m.inherit(kid, b, false)
	}
}

func (m *model) tree() tree {
	out := tree{}
	links := map[*node][]string{}
	m.describe(".", m.root, out, links)
	for _, names := range links {
		sort.Slice(names, func(i, j int) bool { return walkOrder(names[i]) < walkOrder(names[j]) })
		for _, name := range names[1:] {
			out[name] = insertLink(out[name], names[0])
		}
	}
	return out
}

// walkOrder sorts names as filepath.WalkDir visits them.
func walkOrder(name string) string { return strings.ReplaceAll(name, "/", "\x00") }

func insertLink(line, to string) string { return strings.Replace(line, " =?", " = "+to, 1) }

func (m *model) describe(name string, n *node, out tree, links map[*node][]string) {
	if n.kind == 'w' {
		out[name] = fmt.Sprintf("%06o %d:%d dev 0:0", unix.S_IFCHR, m.uid(0), m.gid(0))
		return
	}
	line := fmt.Sprintf("%06o %d:%d ", modelKinds[n.kind]|n.Mode, m.uid(n.Uid), m.gid(n.Gid))
	if n.ModTime.IsZero() && !n.named {
		line += "?"
	} else {
		line += fmt.Sprint(n.ModTime.UnixNano())
	}
	switch n.kind {
	case tar.TypeReg:
		line += fmt.Sprintf(" %q", n.body)
	case tar.TypeSymlink:
		line += fmt.Sprintf(" -> %q", n.Linkname)
	case tar.TypeChar, tar.TypeBlock:
		line += fmt.Sprintf(" dev %d:%d", n.Devmajor, n.Devminor)
	}
	if n.kind != tar.TypeDir {
		if len(links[n]) > 0 {
			line += " =?"
		}
		links[n] = append(links[n], name)
	}
	out[name] = line + m.xattrs(n)
	kids := make([]string, 0, len(n.kids))
	for k := range n.kids {
		kids = append(kids, k)
	}
	sort.Strings(kids)
	for _, k := range kids {
		m.describe(strings.TrimPrefix(name+"/"+k, "./"), n.kids[k], out, links)
	}
}

func (m *model) xattrs(n *node) string {
	var all []string
	if n.kind == tar.TypeReg || n.kind == tar.TypeDir {
		for k, v := range n.PAXRecords {
			if name := strings.TrimPrefix(k, "SCHILY.xattr."); strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, "user.overlay") && !strings.HasPrefix(name, "user.containers") {
				all = append(all, fmt.Sprintf("%s=%q", name, v))
			}
		}
		if m.oneID && (n.Uid != 0 || n.Gid != 0) {
			word := map[byte]string{tar.TypeReg: "file", tar.TypeDir: "dir"}[n.kind]
			all = append(all, fmt.Sprintf("user.containers.override_stat=%q", fmt.Sprintf("%d:%d:%04o:%s", n.Uid, n.Gid, n.Mode, word)))
		}
	}
	if n.opaque {
		all = append(all, m.opaque+`="y"`)
	}
	sort.Strings(all)
	if len(all) == 0 {
		return ""
	}
	return " " + strings.Join(all, " ")
}

func (m *model) uid(id int) int {
	if m.oneID {
		return os.Getuid()
	}
	return id
}

func (m *model) gid(id int) int {
	if m.oneID {
		return os.Getgid()
	}
	return id
}

var modelKinds = map[byte]int64{
	tar.TypeReg: unix.S_IFREG, tar.TypeDir: unix.S_IFDIR, tar.TypeSymlink: unix.S_IFLNK,
	tar.TypeFifo: unix.S_IFIFO, tar.TypeChar: unix.S_IFCHR, tar.TypeBlock: unix.S_IFBLK,
}
