// Package stamp tells whether a small file is still the one that was read, for
// caches of files that only the link or rename of a new file ever changes. Row 1.
package stamp

import (
	"time"

	"golang.org/x/sys/unix"
)

// Stamp is what a file looks like without reading it. The zero Stamp is no file's.
type Stamp struct {
	Inode uint64
	Ctime int64 // nanoseconds since 1970, inode(7)
	Size  int64 // bytes
}

// At is the stamp of name below the folder dir; it follows no link.
func At(dir int, name string) (Stamp, error) {
	var st unix.Stat_t
	for {
		err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW)
		if err == nil {
			return Stamp{Inode: st.Ino, Ctime: st.Ctim.Nano(), Size: st.Size}, nil
		}
		if err != unix.EINTR {
			return Stamp{}, err
		}
	}
}

// Tick is more than a file's times are coarse: a tick of the kernel, at most
// 10 ms. On some file systems they are whole seconds.
const (
	Tick       = 20 * time.Millisecond
	coarseTick = 2 * time.Second
)

// Settled reports whether a file that was looked at, and then read, from now on
// cannot have been replaced since by one with the same stamp: it was old enough
// for a newer file to get another time.
func (s Stamp) Settled(now time.Time) bool {
	age, need := now.Sub(time.Unix(0, s.Ctime)), Tick
	if s.Ctime%int64(time.Second) == 0 {
		need = coarseTick
	}
	return age >= need
}
