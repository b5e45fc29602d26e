package mount

import (
	"strings"

	"golang.org/x/sys/unix"
)

// bitWords names the attributes for listings, in the order of the bits.
var bitWords = [...]struct {
	bit  uint64
	word string
}{
	{unix.MOUNT_ATTR_RDONLY, "ro"}, {unix.MOUNT_ATTR_NOSUID, "nosuid"}, {unix.MOUNT_ATTR_NODEV, "nodev"},
	{unix.MOUNT_ATTR_NOEXEC, "noexec"}, {unix.MOUNT_ATTR_NOATIME, "noatime"}, {unix.MOUNT_ATTR_STRICTATIME, "strictatime"},
	{unix.MOUNT_ATTR_NODIRATIME, "nodiratime"}, {unix.MOUNT_ATTR_NOSYMFOLLOW, "nosymfollow"},
}

// String lists what is set, then with "-" what is cleared, then the propagation.
func (a Attr) String() string {
	var words []string
	for _, b := range bitWords {
		if a.Set&b.bit != 0 {
			words = append(words, b.word)
		}
	}
	for _, b := range bitWords {
		if b.bit&unix.MOUNT_ATTR__ATIME != 0 && a.Set&unix.MOUNT_ATTR__ATIME != 0 {
			continue // one field: the mode that is set says all
		}
		if a.Clear&b.bit != 0 && a.Set&b.bit == 0 {
			words = append(words, "-"+b.word)
		}
	}
	if a.Propagation != 0 {
		words = append(words, Propagation{Type: a.Propagation}.String())
	}
	return strings.Join(words, ",")
}

// String is the option word.
func (p Propagation) String() string {
	word := "unchanged"
	switch p.Type {
	case unix.MS_SHARED:
		word = "shared"
	case unix.MS_SLAVE:
		word = "slave"
	case unix.MS_PRIVATE:
		word = "private"
	case unix.MS_UNBINDABLE:
		word = "unbindable"
	}
	if p.Rec {
		return "r" + word
	}
	return word
}

// String is the parameter as it stands in an option list.
func (p Param) String() string {
	if p.Flag {
		return p.Key
	}
	return p.Key + "=" + p.Value
}
