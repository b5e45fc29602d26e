package runtime

import (
	"errors"
	"io/fs"
	"os"
	"os/user"
	"strconv"

	"berth/runtime/idmap"
)

// OwnIDs are the ids that an ordinary user may use in a user namespace: its own
// as root, and its subordinate ranges (subuid(5), subgid(5)) from 1 on.
type OwnIDs struct{ maps *idmap.Maps }

// FindOwnIDs looks the caller's ranges up. ok is false if it has none of users
// or none of groups: then one id is all there is.
func FindOwnIDs() (ids OwnIDs, ok bool, err error) {
	uid := os.Getuid()
	name := strconv.Itoa(uid)
	if u, err := user.LookupId(name); err == nil {
		name = u.Username
	}
	var ranges [2][]idmap.Range
	for i, file := range [...]string{"/etc/subuid", "/etc/subgid"} {
		ranges[i], err = idmap.Subordinate(file, name, uint32(uid))
		if errors.Is(err, fs.ErrNotExist) || err == nil && len(ranges[i]) == 0 {
			return OwnIDs{}, false, nil
		}
		if err != nil {
			return OwnIDs{}, false, err
		}
	}
	return OwnIDs{idmap.Extend(idmap.Self(), ranges[0], ranges[1])}, true, nil
}

// Write maps the ids into the new user namespace in which process pid waits, by
// newuidmap(1) and newgidmap(1). Kind Unsupported, with the package's name, if
// they are missing.
func (o OwnIDs) Write(pid int) error { return o.maps.Write(pid) }
