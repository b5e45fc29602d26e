package rootless

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"berth/base/atomicfile"
	"berth/base/clock"
	"berth/base/fault"
	"berth/base/flock"
	"berth/runtime"
	"berth/sys/proc"
)

// home is the folder in which a user's holder is noted.
type home struct {
	dir  string
	used *flock.Held // while a command is inside
}

// The files of a home.
const (
	holderFile = "holder"      // "PID START-TIME BOOT-ID NAMESPACE"
	holderLock = "holder.lock" // see the package comment
	usersLock  = "users.lock"
)

// openHome makes the run folder if it is missing. One that others could have
// made or may write to is refused: whose holder it names is whose root we become.
func openHome(run string) (*home, error) {
	if !filepath.IsAbs(run) {
		return nil, fault.New(fault.Invalid, "run folder %q is no absolute path: set XDG_RUNTIME_DIR to a folder of yours", run)
	}
	if err := os.MkdirAll(run, 0o700); err != nil {
		return nil, fmt.Errorf("make the run folder: %w: set XDG_RUNTIME_DIR to a folder of yours", err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(run, &st); err != nil {
		return nil, fmt.Errorf("look at the run folder %s: %w", run, err)
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return nil, fault.New(fault.Permission, "run folder %s is no folder: set XDG_RUNTIME_DIR to a folder of yours", run)
	case int(st.Uid) != os.Getuid():
		return nil, fault.New(fault.Permission, "run folder %s belongs to user %d, not to %d: set XDG_RUNTIME_DIR to a folder of yours", run, st.Uid, os.Getuid())
	case st.Mode&0o022 != 0:
		return nil, fault.New(fault.Permission, "run folder %s can be written to by others (mode %04o): chmod go-w %s", run, st.Mode&0o7777, run)
	}
	return &home{dir: run}, nil
}

func (h *home) path(name string) string { return filepath.Join(h.dir, name) }

// join opens the user's namespace, which it makes if there is none, and counts
// the caller as inside until leave.
func (h *home) join(ids runtime.OwnIDs) (ns *os.File, err error) {
	making, err := flock.Lock(h.path(holderLock))
	if err != nil {
		return nil, fmt.Errorf("enter a user namespace: %w", err)
	}
	defer making.Unlock()
	if h.used, err = flock.Shared(h.path(usersLock)); err != nil {
		return nil, fmt.Errorf("enter a user namespace: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.used.Unlock())
		}
	}()
	old, err := h.read()
	if err != nil {
		return nil, err
	}
	if ns := old.open(); ns != nil {
		return ns, nil
	}
	lost := old.others() // what lives in a namespace whose holder was killed
	return h.hold(ids, lost)
}

// leave ends the holder if nobody is inside any more.
func (h *home) leave() error {
	if err := h.used.Unlock(); err != nil {
		return err
	}
	making, err := flock.Lock(h.path(holderLock))
	if err != nil {
		return fmt.Errorf("leave the user namespace: %w", err)
	}
	defer making.Unlock()
	alone, err := flock.TryLock(h.path(usersLock))
	if fault.Is(err, fault.Busy) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("leave the user namespace: %w", err)
	}
	defer alone.Unlock()
	now, err := h.read()
	if err != nil || len(now.others()) > 0 {
		return err
	}
	if now.alive() {
		if err := unix.Kill(now.pid, unix.SIGKILL); err != nil && err != unix.ESRCH {
			return fmt.Errorf("end the holder, process %d: %w", now.pid, err)
		}
	}
	if err := os.Remove(h.path(holderFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("leave the user namespace: %w", err)
	}
	return nil
}

// holder is what the file says: a process, and the namespace that it keeps. The
// zero value is none.
type holder struct {
	pid   int
	start uint64
	ns    string // as readlink(2) of its nsfs file says
}

const maxHolder = 512

// read reads who the holder is; of another boot it is nobody.
func (h *home) read() (holder, error) {
	text, err := atomicfile.ReadCapped(h.path(holderFile), maxHolder)
	if errors.Is(err, fs.ErrNotExist) {
		return holder{}, nil
	}
	if err != nil {
		return holder{}, fmt.Errorf("look for the holder: %w", err)
	}
	boot, err := clock.BootID()
	if err != nil {
		return holder{}, err
	}
	f := strings.Fields(string(text))
	if len(f) != 4 || f[2] != boot {
		return holder{}, nil
	}
	pid, err1 := strconv.Atoi(f[0])
	start, err2 := strconv.ParseUint(f[1], 10, 64)
	if err1 != nil || err2 != nil || pid < 2 {
		return holder{}, nil
	}
	return holder{pid, start, f[3]}, nil
}

func (h *home) write(x holder) error {
	boot, err := clock.BootID()
	if err != nil {
		return err
	}
	text := fmt.Sprintf("%d %d %s %s\n", x.pid, x.start, boot, x.ns)
	if err := atomicfile.Write(h.path(holderFile), []byte(text), 0o600); err != nil {
		return fmt.Errorf("note the holder: %w", err)
	}
	return nil
}

func (x holder) alive() bool {
	if x.pid == 0 {
		return false
	}
	st, err := proc.ReadStat(x.pid)
	return err == nil && !st.Dead() && st.StartTime == x.start
}

// open opens the namespace of a holder that lives, nil otherwise.
func (x holder) open() *os.File {
	if x.pid == 0 {
		return nil
	}
	f := openNamespace(x.pid, x.ns)
	if f != nil && !x.alive() { // looked at afterwards: the number may be another's
		f.Close()
		return nil
	}
	return f
}

// openNamespace opens a process's user namespace if it is the one.
func openNamespace(pid int, name string) *os.File {
	path := "/proc/" + strconv.Itoa(pid) + "/ns/user"
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	if now, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(int(f.Fd()))); err != nil || now != name {
		f.Close()
		return nil
	}
	return f
}

// others are the processes in the namespace besides the holder.
func (x holder) others() []int {
	own, err := os.Readlink("/proc/self/ns/user")
	if err != nil || x.pid == 0 || x.ns == own {
		return nil
	}
	all, _ := proc.InNamespace("user", x.ns) // what cannot be seen is not ours
	return slices.DeleteFunc(all, func(pid int) bool { return pid == x.pid })
}
