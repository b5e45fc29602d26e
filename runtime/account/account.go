// Package account finds out who a user of an image is: ids, groups and home, by
// the text of the image's own passwd and group files (passwd(5), group(5)). The
// first process does this inside the container's root, so the package is small:
// no fmt, no reflection. It opens no file by itself. Row 2, inside room runtime.
package account

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrMissing is in the chain of an error about a name that no file knows.
var ErrMissing = errors.New("no matching entries")

// Error is a user that cannot be found out, in Docker's words.
type Error struct {
	Text  string
	Cause error // may be nil
}

func (e *Error) Error() string { return e.Text }
func (e *Error) Unwrap() error { return e.Cause }

// Caps on an image's passwd and group files. Beyond them the file is refused,
// not cut: a cut file could name another user.
const (
	maxAccountBytes = 4 << 20
	maxAccountLines = 100_000
)

// Account is a user as an image's files describe it.
type Account struct {
	UID, GID uint32
	Groups   []uint32 // additional ones, sorted, each once
	Name     string   // empty if the id is in no file
	Home     string   // "/" if unknown
}

// ParseID reads a decimal user or group id. What is a number but no id, such as
// 4294967296 or -1, is an error and never a name: it would become root in a
// 32-bit field (CVE-2024-40635, security class V12).
func ParseID(s string) (id uint32, numeric bool, err error) {
	digits := strings.TrimLeft(s, "+-")
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return 0, false, nil
	}
	v, perr := strconv.ParseUint(s, 10, 64)
	if perr != nil || v > maxID {
		return 0, true, &Error{Text: strconv.Quote(clip(s)) + " is not an id between 0 and 4294967294"}
	}
	return uint32(v), true, nil
}

// Lookup resolves USER[:GROUP], each a name or an id, by the text of an image's
// passwd and group files; either text may be empty. An empty user is root. Ids
// need no entry; names do, else ErrMissing. With a group given, or an id without
// an entry, there are no additional groups. Errors are *Error.
func Lookup(s string, passwd, group []byte) (*Account, error) {
	user, grp, hasGroup := strings.Cut(s, ":")
	if user == "" {
		user = "0"
	}
	a, err := lookupUser(user, passwd)
	if err != nil {
		return nil, unable("user", user, err)
	}
	if hasGroup && grp != "" {
		if a.GID, err = Group(grp, group); err != nil {
			return nil, err
		}
		return a, nil
	}
	if a.Name != "" {
		if a.Groups, err = memberOf(a.Name, group); err != nil {
			return nil, unable("user", user, err)
		}
	}
	return a, nil
}

func lookupUser(user string, passwd []byte) (*Account, error) {
	id, numeric, err := ParseID(user)
	if err != nil {
		return nil, err
	}
	var found *Account
	err = eachLine(passwd, 7, func(f []string) bool {
		uid, ok1 := plainID(f[2])
		gid, ok2 := plainID(f[3])
		if !ok1 || !ok2 || numeric && uid != id || !numeric && f[0] != user {
			return true
		}
		found = &Account{UID: uid, GID: gid, Name: f[0], Home: f[5]}
		return false
	})
	switch {
	case err != nil:
		return nil, inFile("passwd", err)
	case found == nil && !numeric:
		return nil, inFile("passwd", ErrMissing)
	case found == nil:
		return &Account{UID: id, Home: "/"}, nil
	}
	if !strings.HasPrefix(found.Home, "/") || hasControl(found.Home) {
		found.Home = "/"
	}
	return found, nil
}

// Group resolves a group's name or id by the text of an image's group file.
func Group(name string, group []byte) (gid uint32, err error) {
	id, numeric, err := ParseID(name)
	if err != nil {
		return 0, unable("group", name, err)
	}
	if numeric {
		return id, nil
	}
	ok := false
	err = eachLine(group, 4, func(f []string) bool {
		if f[0] == name {
			gid, ok = plainID(f[2])
		}
		return !ok
	})
	if err != nil {
		return 0, unable("group", name, inFile("group", err))
	}
	if !ok {
		return 0, unable("group", name, inFile("group", ErrMissing))
	}
	return gid, nil
}

// memberOf lists the groups that name a user as a member.
func memberOf(user string, group []byte) (gids []uint32, err error) {
	err = eachLine(group, 4, func(f []string) bool {
		gid, ok := plainID(f[2])
		if ok && slices.Contains(strings.Split(f[3], ","), user) {
			gids = append(gids, gid)
		}
		return true
	})
	if err != nil {
		return nil, inFile("group", err)
	}
	slices.Sort(gids)
	gids = slices.Compact(gids)
	if len(gids) > maxGroups {
		return nil, &Error{Text: "in more than " + strconv.Itoa(maxGroups) + " groups"}
	}
	return gids, nil
}

func plainID(s string) (uint32, bool) {
	id, numeric, err := ParseID(s)
	return id, numeric && err == nil
}

// eachLine calls do for each line of fields parts, separated by colons, until
// it returns false. Other lines count for nobody, as with getpwnam(3).
func eachLine(text []byte, fields int, do func([]string) bool) error {
	if len(text) > maxAccountBytes {
		return &Error{Text: "larger than " + strconv.Itoa(maxAccountBytes) + " bytes"}
	}
	if bytes.Count(text, []byte("\n")) > maxAccountLines {
		return &Error{Text: "more than " + strconv.Itoa(maxAccountLines) + " lines"}
	}
	for line := range bytes.Lines(text) {
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 || line[0] == '#' || bytes.IndexByte(line, 0) >= 0 {
			continue
		}
		f := strings.Split(string(line), ":")
		if len(f) == fields && f[0] != "" && !do(f) {
			return nil
		}
	}
	return nil
}

// Read reads a passwd or group file by its path, in the root of the calling
// process; one that is not there is empty. What is no regular file could block,
// and counts as not there.
func Read(path string) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, nil
	}
	var out []byte
	var b [4096]byte
	for {
		n, err := unix.Read(fd, b[:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return out, nil
		}
		if len(out)+n > maxAccountBytes {
			return nil, &Error{Text: "read " + path + ": larger than " + strconv.Itoa(maxAccountBytes) + " bytes"}
		}
		out = append(out, b[:n]...)
	}
}

func unable(what, name string, err error) error {
	return &Error{Text: "unable to find " + what + " " + clip(name) + ": " + err.Error(), Cause: err}
}

func inFile(name string, err error) error {
	return &Error{Text: err.Error() + " in " + name + " file", Cause: err}
}

// clip shortens foreign text for an error and makes it one line.
func clip(s string) string {
	if len(s) > 64 {
		s = s[:64] + "…"
	}
	if hasControl(s) {
		return strconv.Quote(s)
	}
	return s
}

// hasControl reports bytes that could end a line or a C string.
func hasControl(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] == 0x7f {
			return true
		}
	}
	return false
}

// maxGroups is the kernel's NGROUPS_MAX, see getgroups(2).
const maxGroups = 65536
