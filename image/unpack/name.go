package unpack

import (
	"strings"

	"golang.org/x/sys/unix"

	"berth/base/fault"
)

// Names of a tar as names in the layer's folder: no leading slash, no empty or
// "." component, never "..". The root is "".

const (
	maxName = unix.NAME_MAX
	maxPath = unix.PathMax - 1
)

// clean brings a name of the tar into that form, or says why it may not be.
func clean(name string, depth int) (string, error) {
	if len(name) > 2*maxPath {
		return "", fault.New(fault.Invalid, "the name is longer than %d bytes", maxPath)
	}
	if strings.IndexByte(name, 0) >= 0 {
		return "", fault.New(fault.Invalid, "the name has a zero byte")
	}
	tidy := true
	parts, start := 0, 0
	for i := 0; i <= len(name); i++ {
		if i < len(name) && name[i] != '/' {
			continue
		}
		switch part := name[start:i]; {
		case part == "" || part == ".":
			tidy = tidy && i == len(name) && part == "" && i > 0
		case part == "..":
			return "", fault.New(fault.Invalid, `the name has a ".."`)
		case len(part) > maxName:
			return "", fault.New(fault.Invalid, "the name has a component longer than %d bytes", maxName)
		default:
			parts++
		}
		start = i + 1
	}
	if parts > depth {
		return "", fault.New(fault.Invalid, "the name is deeper than %d folders", depth)
	}
	if tidy {
		name = strings.TrimSuffix(name, "/")
	} else {
		name = join(name)
	}
	if len(name) > maxPath {
		return "", fault.New(fault.Invalid, "the name is longer than %d bytes", maxPath)
	}
	return name, nil
}

// join drops empty and "." components.
func join(name string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('/')
		}
		b.WriteString(part)
	}
	return b.String()
}

// cut splits a clean name into its folder and its last component.
func cut(name string) (dir, base string) {
	i := strings.LastIndexByte(name, '/')
	if i < 0 {
		return "", name
	}
	return name[:i], name[i+1:]
}

// below is the clean name of base in dir.
func below(dir, base string) string {
	if dir == "" {
		return base
	}
	return dir + "/" + base
}

const (
	whiteoutPrefix = ".wh."
	aufsPrefix     = ".wh..wh."
	opaqueName     = ".wh..wh..opq"
)

// mark is what a name means beside being one (image-spec layer.md, Whiteouts).
type mark int

const (
	markNone   mark = iota
	markHide        // .wh.NAME
	markOpaque      // .wh..wh..opq
	markIgnore      // a leftover of aufs, or something in one
)

// marked says what a clean name means, and gives for markHide the name that is
// hidden, for markOpaque the folder.
func marked(name string) (mark, string, error) {
	if !strings.Contains(name, whiteoutPrefix) {
		return markNone, name, nil
	}
	dir, base := cut(name)
	for part := range strings.SplitSeq(dir, "/") {
		if strings.HasPrefix(part, aufsPrefix) {
			return markIgnore, "", nil
		}
		if strings.HasPrefix(part, whiteoutPrefix) {
			return markNone, "", fault.New(fault.Invalid, "the name lies below a whiteout")
		}
	}
	switch {
	case base == opaqueName:
		return markOpaque, dir, nil
	case strings.HasPrefix(base, aufsPrefix):
		return markIgnore, "", nil
	case strings.HasPrefix(base, whiteoutPrefix):
		hidden := base[len(whiteoutPrefix):]
		if hidden == "" || hidden == "." || hidden == ".." {
			return markNone, "", fault.New(fault.Invalid, "the whiteout names no file")
		}
		return markHide, below(dir, hidden), nil
	}
	return markNone, name, nil
}
