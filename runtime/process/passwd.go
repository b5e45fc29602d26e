package process

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"berth/base/fault"
)

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

// maxID is the largest id that can be had: 4294967295 means "none".
const maxID = 1<<32 - 2

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
		return 0, true, fault.New(fault.Invalid, "%q is not an id between 0 and %d", clip(s), uint32(maxID))
	}
	return uint32(v), true, nil
}

// ParseUser reads UID[:GID] in numbers only, as `exec --user` takes it. Without
// a group the present one stays, which hasGID tells.
func ParseUser(s string) (uid, gid uint32, hasGID bool, err error) {
	user, group, hasGID := strings.Cut(s, ":")
	uid, numeric, err := ParseID(user)
	if err == nil && !numeric {
		err = fault.New(fault.Invalid, "%q is not a number", clip(user))
	}
	if err == nil && hasGID {
		gid, numeric, err = ParseID(group)
		if err == nil && !numeric {
			err = fault.New(fault.Invalid, "%q is not a number", clip(group))
		}
	}
	if err != nil {
		return 0, 0, false, fmt.Errorf("user %q: %w", clip(s), err)
	}
	return uid, gid, hasGID, nil
}

// Lookup resolves USER[:GROUP], each a name or an id, by the text of an image's
// passwd and group files; either text may be empty. An empty user is root. Ids
// need no entry; names do, else the error has kind NotFound. With a group
// given, or an id without an entry, there are no additional groups.
func Lookup(s string, passwd, group []byte) (*Account, error) {
	user, grp, hasGroup := strings.Cut(s, ":")
	if user == "" {
		user = "0"
	}
	a, err := lookupUser(user, passwd)
	if err != nil {
		return nil, fmt.Errorf("user %q: %w", clip(s), err)
	}
	if hasGroup && grp != "" {
		if a.GID, err = lookupGroup(grp, group); err != nil {
			return nil, fmt.Errorf("user %q: %w", clip(s), err)
		}
		return a, nil
	}
	if a.Name != "" {
		if a.Groups, err = memberOf(a.Name, group); err != nil {
			return nil, fmt.Errorf("user %q: %w", clip(s), err)
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
		return nil, fmt.Errorf("passwd file: %w", err)
	case found == nil && !numeric:
		return nil, fault.New(fault.NotFound, "no user %q in the passwd file", clip(user))
	case found == nil:
		return &Account{UID: id, Home: "/"}, nil
	}
	if !strings.HasPrefix(found.Home, "/") || hasControl(found.Home) {
		found.Home = "/"
	}
	return found, nil
}

func lookupGroup(name string, group []byte) (gid uint32, err error) {
	id, numeric, err := ParseID(name)
	if err != nil || numeric {
		return id, err
	}
	ok := false
	err = eachLine(group, 4, func(f []string) bool {
		if f[0] == name {
			gid, ok = plainID(f[2])
		}
		return !ok
	})
	if err != nil {
		return 0, fmt.Errorf("group file: %w", err)
	}
	if !ok {
		return 0, fault.New(fault.NotFound, "no group %q in the group file", clip(name))
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
		return nil, fmt.Errorf("group file: %w", err)
	}
	slices.Sort(gids)
	gids = slices.Compact(gids)
	if len(gids) > maxGroups {
		return nil, fault.New(fault.Invalid, "group file: user %q is in more than %d groups", clip(user), maxGroups)
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
		return fault.New(fault.Invalid, "larger than %d bytes", maxAccountBytes)
	}
	if bytes.Count(text, []byte("\n")) > maxAccountLines {
		return fault.New(fault.Invalid, "more than %d lines", maxAccountLines)
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

// ReadAccounts reads a passwd or group file that was opened inside the
// container's root: a regular file of bounded size, else the error has kind
// Invalid.
func ReadAccounts(f *os.File) ([]byte, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", f.Name(), err)
	}
	if !st.Mode().IsRegular() {
		return nil, fault.New(fault.Invalid, "read %s: not a regular file", f.Name())
	}
	b, err := io.ReadAll(io.LimitReader(f, maxAccountBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	if len(b) > maxAccountBytes {
		return nil, fault.New(fault.Invalid, "read %s: larger than %d bytes", f.Name(), maxAccountBytes)
	}
	return b, nil
}
