// Package atomicfile writes small files so that a reader sees the old content
// or the new, never a part, and reads small files with a cap. It is not a
// database and takes no lock: two writers are safe, the last one wins. It is
// for paths of our own; paths inside a container go through sys/safepath.
// Row 0 (base): standard library only.
package atomicfile

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"berth/base/fault"
	"berth/base/ids"
	"berth/base/undo"
)

// Option changes how Write commits.
type Option int

// Sync makes Write durable: the file is fsynced before the rename and its
// folder after it. Without it a power cut may bring back the old content or an
// empty file; that is right for run folders, which a reboot empties.
const Sync Option = 1

// stagePrefix marks files that a killed Write may leave behind. They are
// hidden, never read, and go with their folder.
const stagePrefix = ".stage-"

// IsStaged reports whether name (the last path element) is a file that Write
// stages, so that listings skip it and cleaners may remove it.
func IsStaged(name string) bool { return strings.HasPrefix(name, stagePrefix) }

// Names lists a folder, in no order, staged files too.
func Names(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}

// Stale is how old a staged file must be for its writer to be dead: one that is
// not makes an error of that, and loses nothing.
const Stale = time.Minute

// Write replaces the file at path by data, with exactly the permission bits
// perm whatever the umask. It stages the content in the same folder under a
// random name and renames it (rename(2)); on an error nothing is left behind
// and the old content stays.
func Write(path string, data []byte, perm fs.FileMode, opts ...Option) (err error) {
	dir, name := filepath.Split(path)
	if name == "" {
		return fault.New(fault.Invalid, "write %q: the path names no file", path)
	}
	durable := false
	for _, o := range opts {
		durable = durable || o == Sync
	}
	var u undo.Stack
	defer u.Unwind(&err)

	staged := filepath.Join(dir, stagePrefix+ids.Hex(8))
	f, err := os.OpenFile(staged, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("stage %s: %w", path, err)
	}
	u.Push("remove "+staged, func() error { return os.Remove(staged) })

	if err := fill(f, data, perm, durable); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(staged, path); err != nil {
		return fmt.Errorf("commit %s: %w", path, err)
	}
	u.Release()
	if durable {
		return SyncDir(filepath.Dir(path))
	}
	return nil
}

// fill writes data into f and closes it in every case.
func fill(f *os.File, data []byte, perm fs.FileMode, durable bool) error {
	_, err := f.Write(data)
	if err == nil {
		err = f.Chmod(perm)
	}
	if err == nil && durable {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}

// SyncDir makes the entries of a folder durable (fsync(2) on a folder).
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync folder %s: %w", dir, err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync folder %s: %w", dir, err)
	}
	return nil
}

// ReadCapped reads the whole regular file at path, at most limit bytes. A
// larger file and anything that is not a regular file (a FIFO would block for
// ever) give kind Invalid; files of procfs count as regular. A symbolic link
// as the last element is followed.
func ReadCapped(path string, limit int64) ([]byte, error) {
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	defer syscall.Close(fd)
	return ReadCappedFD(fd, path, limit)
}

// ReadCappedFD is ReadCapped for an open descriptor, read from where it stands;
// name stands in errors. An os.File would ask the kernel whether the file can
// be polled, and start the Go runtime's poller for that.
func ReadCappedFD(fd int, name string, limit int64) ([]byte, error) {
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if st.Mode&syscall.S_IFMT != syscall.S_IFREG {
		return nil, fault.New(fault.Invalid, "read %s: not a regular file", name)
	}
	if st.Size > limit {
		return nil, tooLarge(name, limit)
	}
	// The size may grow while we read, and is 0 in procfs: the cap is on what
	// is read. One byte more than expected tells the end without a regrow.
	buf := make([]byte, 0, min(max(st.Size, 512), limit)+1)
	for {
		n, err := syscall.Read(fd, buf[len(buf):cap(buf)])
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		if n == 0 {
			return buf, nil
		}
		buf = buf[:len(buf)+n]
		if int64(len(buf)) > limit {
			return nil, tooLarge(name, limit)
		}
		if int64(len(buf)) == st.Size {
			return buf, nil // what is added from now on is no part of what was asked for
		}
		if len(buf) == cap(buf) {
			buf = append(make([]byte, 0, min(2*int64(cap(buf)), limit+1)), buf...)
		}
	}
}

// ReadCappedFrom is ReadCappedFD for an open file.
func ReadCappedFrom(f *os.File, limit int64) (b []byte, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	if cerr := raw.Control(func(fd uintptr) { b, err = ReadCappedFD(int(fd), f.Name(), limit) }); cerr != nil {
		return nil, fmt.Errorf("read %s: %w", f.Name(), cerr)
	}
	return b, err
}

func tooLarge(name string, limit int64) error {
	return fault.New(fault.Invalid, "read %s: larger than %d bytes", name, limit)
}
