// Package helper carries the static program berth-helper, the only program of
// ours that a container ever sees, and opens it for execution.
//
// Root's helper is a file of mode 0111 in berth's run folder, executed through
// a detached read-only mount: it cannot be written through /proc/PID/exe
// (CVE-2019-5736), and in a private user namespace the kernel keeps a process
// that cannot read its own program undumpable. Elsewhere it is a sealed memfd, which
// the processes of one user share, see Use.
//
// It holds no other program and starts nothing. Row 2.
package helper

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"berth/sys/mount"
)

//go:embed bin
var bin embed.FS

const (
	program = "bin/berth-helper"
	sum     = "bin/berth-helper.sha256"
	mode    = 0o111
)

// Folder is where root's helper is kept; it is made when first needed.
const Folder = "/run/berth"

// Open returns a descriptor of the helper for execveat(2) with AT_EMPTY_PATH.
func Open() (*os.File, error) {
	if os.Geteuid() == 0 {
		if f, err := openInstalled(); err == nil {
			return f, nil
		}
	}
	given.Lock()
	defer given.Unlock()
	if given.file == nil {
		var err error
		if given.file, err = makeMemfd(); err != nil {
			return nil, err
		}
	}
	return again(given.file)
}

// given is the sealed memfd that this process made, or was given by Use.
var given struct {
	sync.Mutex
	file *os.File
}

// Use makes Open give a sealed memfd of this very helper that another process made,
// for a copy costs as much as all else of a start. A file that is not that is left to
// the caller as it is, and taken is false.
func Use(f *os.File) (taken bool) {
	seals, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0)
	if err != nil || seals&sealed != sealed {
		return false
	}
	path, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(int(f.Fd())))
	if err != nil || path != "/memfd:"+memfdName()+" (deleted)" {
		return false
	}
	var st unix.Stat_t
	if size, err := imageSize(); err != nil || unix.Fstat(int(f.Fd()), &st) != nil || st.Size != size {
		return false
	}
	given.Lock()
	defer given.Unlock()
	if given.file != nil {
		return false
	}
	given.file = f
	return true
}

// again is a second descriptor of an open file.
func again(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the helper once more: %w", err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// copyTo writes the helper's bytes, without a copy of them all in memory.
func copyTo(w io.Writer) error {
	f, err := bin.Open(program)
	if err != nil {
		return errUnbuilt
	}
	defer f.Close()
	_, err = io.CopyBuffer(onlyWriter{w}, f, make([]byte, 64<<10))
	return err
}

// onlyWriter hides what an os.File can do besides, which needs a buffer of its own.
type onlyWriter struct{ io.Writer }

var errUnbuilt = errors.New("this program was built without its helper: build it with make")

// imageSize returns the size of the helper in bytes without reading it.
func imageSize() (int64, error) {
	f, err := bin.Open(program)
	if err != nil {
		return 0, errUnbuilt
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

// openInstalled opens the helper's file, installing it first if needed, through
// a read-only mount of its own.
func openInstalled() (*os.File, error) {
	file, err := Installed()
	if err != nil {
		return nil, err
	}
	defer file.Close()
	fd, path := int(file.Fd()), file.Name()
	tree, err := unix.OpenTree(fd, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err != nil {
		return nil, fmt.Errorf("clone the mount of %s: %w", path, err)
	}
	attr := unix.MountAttr{
		Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV,
		Attr_clr: unix.MOUNT_ATTR_NOEXEC, // Debian's /run is noexec
	}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		unix.Close(tree)
		return nil, fmt.Errorf("make the mount of %s read-only: %w", path, err)
	}
	return os.NewFile(uintptr(tree), path), nil
}

// Installed opens root's helper as the file that it is, with O_PATH, for a mount
// of it: what Open gives for execution cannot be mounted.
func Installed() (*os.File, error) {
	size, err := imageSize()
	if err != nil {
		return nil, err
	}
	path := Folder + "/helper-" + name()
	fd, err := openChecked(path, size)
	if err != nil {
		if err := install(path); err != nil {
			return nil, err
		}
		if fd, err = openChecked(path, size); err != nil {
			return nil, err
		}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// openChecked opens an installed helper if it is what install made.
func openChecked(path string, size int64) (int, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode != unix.S_IFREG|mode || st.Uid != 0 ||
		st.Size != size || st.Nlink != 1 {
		unix.Close(fd)
		return -1, fmt.Errorf("%s is not the helper", path)
	}
	return fd, nil
}

// install writes the helper under a temporary name and renames it into place,
// so that others see all of it or nothing.
func install(path string) (err error) {
	if err := os.Mkdir(Folder, 0o711); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	var st unix.Stat_t
	if err := unix.Lstat(Folder, &st); err != nil {
		return fmt.Errorf("look at %s: %w", Folder, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || st.Uid != 0 || st.Mode&0o022 != 0 {
		return fmt.Errorf("%s is not a folder that only root can write to", Folder)
	}
	f, err := os.CreateTemp(Folder, ".helper-")
	if err != nil {
		return err
	}
	defer f.Close()
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	if err := copyTo(f); err != nil {
		return err
	}
	if err := f.Chmod(mode); err != nil {
		return err
	}
	// While it is open for writing, whoever executes it gets ETXTBSY.
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	sweep(path)
	return nil
}

// sweep removes the helpers of other builds, and what an install that was cut
// short left, an hour after they came: a start of another build may be about to
// mount one. One that is still used is installed again by its
// build; processes that execute one keep it.
func sweep(keep string) {
	entries, err := os.ReadDir(Folder)
	if err != nil {
		return
	}
	for _, e := range entries {
		path := Folder + "/" + e.Name()
		info, err := e.Info()
		stale := err == nil && time.Since(info.ModTime()) > time.Hour
		if stale && path != keep && (strings.HasPrefix(e.Name(), ".helper-") || strings.HasPrefix(e.Name(), "helper-")) {
			_ = os.Remove(path)
		}
	}
}

// name is the start of the image's SHA-256, computed by make so that no start
// of a container pays for it.
func name() string {
	if b, err := bin.ReadFile(sum); err == nil {
		if s := strings.TrimSpace(string(b)); len(s) >= 64 {
			return s[:32]
		}
	}
	h := sha256.New()
	_ = copyTo(h) // unbuilt, whoever wants the program itself says so
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Mounted makes a tmpfs with the helper, mounts it on a folder in the caller's own
// mount namespace and opens the file with O_PATH, for a mount of it in a container:
// for an ordinary user, who has no file that only others may write to.
func Mounted(dir string) (*os.File, error) {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	at, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", dir, err)
	}
	defer unix.Close(at)
	tree, err := mount.New("tmpfs", "berth", []mount.Param{{Key: "mode", Value: "0711"}}, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
	if err != nil {
		return nil, err
	}
	defer unix.Close(tree)
	const name = "helper"
	fd, err := unix.Openat(tree, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, mode)
	if err != nil {
		return nil, fmt.Errorf("make a file for the helper: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if err := errors.Join(copyTo(f), f.Close()); err != nil { // open for writing it is not executed
		return nil, fmt.Errorf("copy the helper: %w", err)
	}
	if err := mount.Attach(tree, at); err != nil {
		return nil, fmt.Errorf("mount the helper on %s: %w", dir, err)
	}
	if fd, err = unix.Openat(tree, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0); err != nil {
		return nil, fmt.Errorf("open the helper: %w", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

const sealed = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE

// memfdName names the build, too, so that no other's is taken for it.
func memfdName() string { return "berth-helper-" + name() }

// makeMemfd copies the helper into a sealed memfd.
func makeMemfd() (*os.File, error) {
	name := memfdName()
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if err == unix.EINVAL { // before Linux 6.3 every memfd is executable
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err == unix.EACCES {
		return nil, errors.New("make an executable memfd for the helper: forbidden by sysctl vm.memfd_noexec=2; set it to 1")
	}
	if err != nil {
		return nil, fmt.Errorf("make a memfd for the helper: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if err := copyTo(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("copy the helper into a memfd: %w", err)
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, sealed); err != nil {
		f.Close()
		return nil, fmt.Errorf("seal the helper's memfd: %w", err)
	}
	// A read-only descriptor: the writable one would give ETXTBSY at exec.
	ro, err := unix.Open("/proc/self/fd/"+strconv.Itoa(int(f.Fd())), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	f.Close()
	if err != nil {
		return nil, fmt.Errorf("reopen the helper's memfd: %w", err)
	}
	return os.NewFile(uintptr(ro), name), nil
}
