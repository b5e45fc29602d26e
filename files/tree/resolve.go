package tree

import (
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"berth/sys/safepath"
)

// Stat is what docker's API tells of a path in a container.
type Stat struct {
	Name       string      `json:"name"`
	Size       int64       `json:"size"`
	Mode       fs.FileMode `json:"mode"`
	Mtime      time.Time   `json:"mtime"`
	LinkTarget string      `json:"linkTarget"` // where a link leads at last, absolute
}

// Entry is a file of a root, with the folder that it is in open.
type Entry struct {
	Dir  int
	Base string // "." for the folder itself
	Name string // the last component as it was asked for
	Stat Stat
}

// Close gives the folder back.
func (e *Entry) Close() error { return unix.Close(e.Dir) }

// Absolute is a path from the root, tidy but for an ending of "/" or "/.", which
// asks for a folder.
func Absolute(name string) string {
	abs := path.Join("/", name)
	switch {
	case abs == "/":
	case strings.HasSuffix(name, "/"):
		abs += "/"
	case name == "." || strings.HasSuffix(name, "/."):
		abs += "/."
	}
	return abs
}

// Find finds a path in root, which is "/" to all its links. The last component
// is not followed, unless the path ends in "/" or "/.".
func Find(root int, name string) (*Entry, error) {
	abs := Absolute(name)
	dir, base := path.Split(abs)
	fd, err := safepath.OpenInRoot(root, dir, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	e := &Entry{Dir: fd, Base: base, Name: path.Base(abs)}
	if base == "" {
		e.Base = "."
	}
	if strings.HasSuffix(abs, "/.") {
		e.Name = "."
	}
	var st unix.Stat_t
	if err := unix.Fstatat(fd, e.Base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		e.Close()
		return nil, err
	}
	e.Stat = Stat{Name: e.Name, Size: st.Size, Mode: fileMode(st.Mode), Mtime: time.Unix(st.Mtim.Unix())}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		e.Stat.LinkTarget = evaluate(root, abs)
	}
	return e, nil
}

// fileMode is a mode as Go and docker's API have it.
func fileMode(m uint32) fs.FileMode {
	mode := fs.FileMode(m & 0o777)
	switch m & unix.S_IFMT {
	case unix.S_IFDIR:
		mode |= fs.ModeDir
	case unix.S_IFLNK:
		mode |= fs.ModeSymlink
	case unix.S_IFIFO:
		mode |= fs.ModeNamedPipe
	case unix.S_IFSOCK:
		mode |= fs.ModeSocket
	case unix.S_IFCHR:
		mode |= fs.ModeDevice | fs.ModeCharDevice
	case unix.S_IFBLK:
		mode |= fs.ModeDevice
	}
	for bit, flag := range map[uint32]fs.FileMode{unix.S_ISUID: fs.ModeSetuid, unix.S_ISGID: fs.ModeSetgid, unix.S_ISVTX: fs.ModeSticky} {
		if m&bit != 0 {
			mode |= flag
		}
	}
	return mode
}

// maxFollowed is how many links evaluate follows.
const maxFollowed = 255

// evaluate is the text of where a path leads in root, with what is missing left as
// it is. It tells a person, and is looked up anew, within root, by whoever uses it.
func evaluate(root int, name string) string {
	todo := strings.Split(name, "/")
	done := "/"
	for links := 0; len(todo) > 0; {
		part := todo[0]
		todo = todo[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			done = path.Dir(done)
			continue
		}
		next := path.Join(done, part)
		target, err := linkAt(root, done, part)
		if err != nil {
			done = next
			continue
		}
		if links++; links > maxFollowed {
			return filepath.Join(append([]string{next}, todo...)...)
		}
		if path.IsAbs(target) {
			done = "/"
		}
		todo = append(strings.Split(target, "/"), todo...)
	}
	return done
}

func linkAt(root int, dir, base string) (string, error) {
	fd, err := safepath.OpenInRoot(root, dir, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	return readlink(fd, base)
}
