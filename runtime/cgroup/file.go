package cgroup

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Every path below a hierarchy is resolved by the kernel with these: nothing
// leaves the tree, follows a link or crosses into another mount.
const resolve = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV

// openat opens with O_CLOEXEC and restarts on a signal.
func openat(dir int, name string, flags int) (int, error) {
	for {
		fd, err := unix.Openat(dir, name, flags|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// openAt opens rel (below the mount) of h. EAGAIN is what openat2(2) returns
// when a rename raced with a RESOLVE_BENEATH walk.
func (h *hierarchy) openAt(rel string, flags int) (int, error) {
	how := unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC), Resolve: resolve}
	for range 64 {
		fd, err := unix.Openat2(h.fd, rel, &how)
		if err != unix.EINTR && err != unix.EAGAIN {
			return fd, err
		}
	}
	return -1, unix.EAGAIN
}

// join builds the path of a file below the mount; rel "" is the mount itself.
func join(rel, file string) string {
	if rel == "" {
		return file
	}
	if file == "" {
		return rel
	}
	return rel + "/" + file
}

// read reads the file of the cgroup rel, at most limit bytes.
func (h *hierarchy) read(rel, file string, limit int) ([]byte, error) {
	fd, err := h.openAt(join(rel, file), unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	return readFD(fd, limit)
}

// readFD reads to the end of fd. Many cgroup files end well inside one page, so
// the first read is large enough for them and the second sees the end.
func readFD(fd, limit int) ([]byte, error) {
	buf := make([]byte, 0, 4096)
	for {
		if len(buf) == cap(buf) {
			if len(buf) >= limit {
				return nil, fmt.Errorf("more than %d bytes", limit)
			}
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := unix.Read(fd, buf[len(buf):cap(buf)])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		if n == 0 {
			if len(buf) > limit {
				return nil, fmt.Errorf("more than %d bytes", limit)
			}
			return buf, nil
		}
		buf = buf[:len(buf)+n]
	}
}

// readString is read with the outer white space taken off.
func (h *hierarchy) readString(rel, file string) (string, error) {
	b, err := h.read(rel, file, 1<<20)
	return strings.TrimSpace(string(b)), err
}

// write writes each value with one write(2) through one descriptor, as the
// kernel takes one rule or one line at a time.
func (h *hierarchy) write(rel, file string, values ...string) (int, error) {
	fd, err := h.openAt(join(rel, file), unix.O_WRONLY)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	for i, v := range values {
		if err := writeFD(fd, v); err != nil {
			return i, err
		}
	}
	return len(values), nil
}

func writeFD(fd int, value string) error {
	b := []byte(value)
	for {
		n, err := unix.Write(fd, b)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return err
		case n != len(b):
			return errors.New("short write")
		}
		return nil
	}
}

// dirNames lists the directory fd, at most limit names, without "." and "..".
func dirNames(fd, limit int) ([]string, error) {
	return dirEntries(fd, limit, false)
}

// subdirs lists the child cgroups of rel.
func (h *hierarchy) subdirs(rel string, limit int) ([]string, error) {
	fd, err := h.openAt(join(rel, "."), unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	return dirEntries(fd, limit, true)
}

func dirEntries(fd, limit int, dirsOnly bool) ([]string, error) {
	var names []string
	buf := make([]byte, 8192)
	for {
		n, err := unix.Getdents(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return names, nil
		}
		for b := buf[:n]; len(b) > 0; {
			// struct linux_dirent64: u64 ino, s64 off, u16 reclen, u8 type, name.
			reclen := int(b[16]) | int(b[17])<<8
			if reclen < 20 || reclen > len(b) {
				return nil, errors.New("bad directory entry")
			}
			typ, name := b[18], b[19:reclen]
			for i, c := range name {
				if c == 0 {
					name = name[:i]
					break
				}
			}
			b = b[reclen:]
			if s := string(name); s != "." && s != ".." && (!dirsOnly || typ == unix.DT_DIR) {
				if len(names) >= limit {
					return nil, fmt.Errorf("more than %d entries", limit)
				}
				names = append(names, s)
			}
		}
	}
}
