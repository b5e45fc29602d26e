package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// diskBytes is the size of each disk's sparse file.
const diskBytes = 8 << 30

// disk is an ext4 of its own in a file, on a loop device. Each measurement gets
// a new one: for a minute, ext4 goes slowly past inodes that were just freed, so
// a pull after a removal would pay for what was before it.
type disk struct {
	file, root, loop string
	fs               *os.File
}

// newDisk makes a disk that is mounted at root.
func (s *stage) newDisk(name string) (*disk, error) {
	d := &disk{file: filepath.Join(s.dir, name+".img"), root: filepath.Join(s.dir, name)}
	s.disks = append(s.disks, d)
	return d, errors.Join(os.Mkdir(d.root, 0o755), d.renew())
}

// renew makes the disk empty.
func (d *disk) renew() error {
	if err := d.release(); err != nil {
		return err
	}
	// A new file: a process that came about meanwhile may still have the mount.
	if err := os.Remove(d.file); err != nil && !os.IsNotExist(err) {
		return err
	}
	f, err := os.Create(d.file)
	if err != nil {
		return err
	}
	err = f.Truncate(diskBytes)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	// Nothing is left for the kernel to initialize while we measure.
	if _, err := command("mke2fs", "-q", "-F", "-t", "ext4", "-i", "32768", "-E", "lazy_itable_init=0,lazy_journal_init=0", d.file); err != nil {
		return err
	}
	if d.loop, err = command("losetup", "--find", "--show", "--direct-io=on", d.file); err != nil {
		return err
	}
	if err := unix.Mount(d.loop, d.root, "ext4", 0, ""); err != nil {
		return fmt.Errorf("mount %s on %s: %w", d.loop, d.root, err)
	}
	d.fs, err = os.Open(d.root)
	return err
}

// release unmounts the disk with all that an engine has mounted in it.
func (d *disk) release() error {
	if d.loop == "" {
		return nil
	}
	if d.fs != nil {
		d.fs.Close()
		d.fs = nil
	}
	b, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && strings.HasPrefix(f[1], d.root+"/") {
			_ = unix.Unmount(f[1], unix.MNT_DETACH)
		}
	}
	err = unix.Unmount(d.root, 0)
	if err == unix.EBUSY { // we were interrupted, and a command was not
		err = unix.Unmount(d.root, unix.MNT_DETACH)
	}
	if err != nil && err != unix.EINVAL { // not mounted
		return fmt.Errorf("unmount %s: %w", d.root, err)
	}
	_, err = command("losetup", "--detach", d.loop)
	d.loop = ""
	return err
}

// sync writes the disk: syncfs(2).
func (d *disk) sync() error { return unix.Syncfs(int(d.fs.Fd())) }

func command(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %.500s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}
