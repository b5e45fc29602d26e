package unpack

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// tally counts what the layer takes of the file system.
type tally struct{ size, inodes int64 }

// addSize counts a finished file's blocks.
func (c *tally) addSize(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("stat: %w", err)
	}
	c.size += st.Blocks * 512
	return nil
}

// remove takes away what an earlier entry made, a folder with all in it.
func (x *extractor) remove(dir int, base string) error {
	if err := x.small.settle(); err != nil { // it may be what goes
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		if err := unix.Unlinkat(dir, base, 0); err != nil {
			return err
		}
		x.uncount(&st)
		return nil
	}
	if err := x.removeAll(dir, base); err != nil {
		return fmt.Errorf("remove the folder that is in its place: %w", err)
	}
	x.forgetBelow(dir)
	return nil
}

// forgetBelow closes the open folders, of which some are gone, but for the one
// that is in use.
func (o *opened) forgetBelow(dir int) {
	for name, fd := range o.open {
		if fd != dir {
			unix.Close(fd)
			delete(o.open, name)
		}
	}
}

func (c *tally) uncount(st *unix.Stat_t) {
	if st.Nlink > 1 && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return
	}
	c.inodes--
	if k := st.Mode & unix.S_IFMT; k == unix.S_IFREG {
		c.size -= st.Blocks * 512
	}
}

func (c *tally) removeAll(dir int, base string) error {
	fd, err := openBeneath(dir, base)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	// A file system may pass over names while others go away: the list is read
	// until it is empty from its start.
	for {
		names, err := list(fd)
		if err != nil {
			return err
		}
		if len(names) == 0 {
			break
		}
		for _, name := range names {
			var st unix.Stat_t
			if err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
				return err
			}
			if st.Mode&unix.S_IFMT == unix.S_IFDIR {
				if err := c.removeAll(fd, name); err != nil {
					return err
				}
				continue
			}
			if err := unix.Unlinkat(fd, name, 0); err != nil {
				return err
			}
			c.uncount(&st)
		}
	}
	c.inodes--
	return unix.Unlinkat(dir, base, unix.AT_REMOVEDIR)
}

// list reads the names of an open folder from its start, at most a buffer full.
func list(fd int) ([]string, error) {
	if _, err := unix.Seek(fd, 0, unix.SEEK_SET); err != nil {
		return nil, err
	}
	buf := make([]byte, 16<<10)
	for {
		n, err := unix.ReadDirent(fd, buf)
		if err != nil || n == 0 {
			return nil, err
		}
		// A buffer with "." and ".." alone is not the end.
		if _, _, names := unix.ParseDirent(buf[:n], -1, nil); len(names) > 0 {
			return names, nil
		}
	}
}
