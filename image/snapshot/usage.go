package snapshot

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// count adds up blocks and inodes of a folder, hard links once. What goes
// meanwhile is left out.
func count(ctx context.Context, dir string) (Usage, error) {
	d, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return Usage{}, err
	}
	defer d.Close()
	c := &counter{ctx: ctx, links: map[uint64]bool{}}
	var st unix.Stat_t
	if err := unix.Fstat(int(d.Fd()), &st); err != nil {
		return Usage{}, err
	}
	c.add(&st)
	if err := c.folder(int(d.Fd())); err != nil {
		return Usage{}, fmt.Errorf("count what is in %s: %w", dir, err)
	}
	return c.sum, nil
}

type counter struct {
	ctx   context.Context
	sum   Usage
	links map[uint64]bool // inodes with several names; all are on one file system
}

func (c *counter) add(st *unix.Stat_t) {
	if st.Nlink > 1 && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		if c.links[st.Ino] {
			return
		}
		c.links[st.Ino] = true
	}
	c.sum.Inodes++
	c.sum.Size += st.Blocks * 512
}

func (c *counter) folder(fd int) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	var folders []string
	buf := make([]byte, direntBuf)
	for {
		n, err := unix.Getdents(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err == unix.ENOENT { // removed meanwhile
			return nil
		}
		if err != nil {
			return err
		}
		if n <= 0 {
			break
		}
		err = eachEntry(buf[:n], func(name string, _ byte) error {
			var st unix.Stat_t
			switch err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err {
			case nil:
			case unix.ENOENT:
				return nil
			default:
				return failed("stat", name, err)
			}
			c.add(&st)
			if st.Mode&unix.S_IFMT == unix.S_IFDIR {
				folders = append(folders, name)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, name := range folders {
		if err := c.below(fd, name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (c *counter) below(at int, name string) error {
	fd, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	switch err {
	case nil:
	case unix.ENOENT, unix.ENOTDIR, unix.ELOOP: // removed, or something else by now
		return nil
	default:
		return err
	}
	defer unix.Close(fd)
	return c.folder(fd)
}
