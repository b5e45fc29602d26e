package cgroup

import (
	"fmt"
	"path"
	"strings"
)

const (
	pathCap = 2048 // bytes of linux.cgroupsPath; PATH_MAX leaves room for mount and file
	nameCap = 255  // NAME_MAX
)

// cleanPath turns linux.cgroupsPath into a path below a hierarchy's mount,
// without outer slashes. ".." is resolved lexically and stops at the top, so
// the result never leaves the hierarchy. Errors name the field.
func cleanPath(p string) (string, error) {
	if err := plainText("linux.cgroupsPath", p, pathCap); err != nil {
		return "", err
	}
	rel := strings.Trim(path.Clean("/"+p), "/")
	if rel == "" {
		return "", fmt.Errorf("linux.cgroupsPath: %q names the root of the hierarchy", p)
	}
	for part := range strings.SplitSeq(rel, "/") {
		if len(part) > nameCap {
			return "", fmt.Errorf("linux.cgroupsPath: a component has more than %d bytes", nameCap)
		}
	}
	return rel, nil
}

// plainText refuses what would break the files, lines and messages that s ends in.
func plainText(field, s string, limit int) error {
	if len(s) > limit {
		return fmt.Errorf("%s: more than %d bytes", field, limit)
	}
	for i := range len(s) {
		if s[i] < 0x20 || s[i] == 0x7f {
			return fmt.Errorf("%s: control character %#02x", field, s[i])
		}
	}
	return nil
}

// relPath decides where below the mount of h the container's cgroup lies.
//
//	cgroupsPath given      below the mount, absolute or not: decisions/9,
//	                       a container leaves its caller's cgroup
//	empty                  /<id>
//	relative or empty, an  beside the caller's own cgroup (v2, where a cgroup
//	ordinary user          with processes cannot have controlled children) or
//	                       below it (v1)
func relPath(l *Layout, h *hierarchy, cfg *Config) (string, error) {
	p := cfg.Path
	if p == "" {
		p = cfg.ID
		if strings.ContainsRune(p, '/') || p == "." || p == ".." {
			return "", fmt.Errorf("id: %.80q cannot name a cgroup", p)
		}
	}
	rel, err := cleanPath(p)
	if err != nil || !cfg.Rootless || strings.HasPrefix(p, "/") {
		return rel, err
	}
	own, err := l.ownPath(h)
	if err != nil {
		return rel, nil // the attempt to make it there tells why it fails
	}
	if h == l.v2 {
		if i := strings.LastIndexByte(own, '/'); i >= 0 {
			own = own[:i]
		} else {
			own = ""
		}
	}
	return join(own, rel), nil
}

// parent returns the path above rel, "" for the mount itself.
func parent(rel string) string {
	if i := strings.LastIndexByte(rel, '/'); i >= 0 {
		return rel[:i]
	}
	return ""
}
