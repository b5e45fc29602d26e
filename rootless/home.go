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
	"berth/rootless/hold"
	"berth/runtime"
	"berth/sys/proc"
)

// home is the folder in which a user's holder is noted.
type home struct {
	dir     string
	used    *flock.Held // while a command is inside
	program *os.File    // what the holder executes, after join; nil if it cannot be read
}

// The files of a home.
const (
	holderFile = hold.Noted  // "PID START-TIME BOOT-ID USER-NAMESPACE NETWORK-NAMESPACE"
	holderLock = hold.Making // see the package comment
	usersLock  = hold.Users
	uplinkFile = hold.Uplink // "PID START-TIME BOOT-ID": the way out of the network
	uplinkLock = hold.UplinkKept
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
		h.program, _ = os.Open("/proc/" + strconv.Itoa(old.pid) + "/exe") // else the one inside makes its own
		return ns, nil
	}
	lost := old.others() // what lives in a namespace whose holder was killed
	return h.hold(ids, lost)
}

// leave says that the caller is inside no more. The holder ends when nobody has been for
// a while, see package hold.
func (h *home) leave() error {
	_ = unix.Futimes(h.used.FD(), nil) // without it the holder ends a little sooner
	return h.used.Unlock()
}

// closeProgram closes what join opened besides.
func (h *home) closeProgram() {
	if h.program != nil {
		h.program.Close()
	}
}

// process is one that a file of the home names. The zero value is none.
type process struct {
	pid   int
	start uint64
}

func (p process) alive() bool {
	if p.pid == 0 {
		return false
	}
	st, err := proc.ReadStat(p.pid)
	return err == nil && !st.Dead() && st.StartTime == p.start
}

// holder is what the file says: a process, and the namespaces that it keeps, as
// readlink(2) of their nsfs files says. The zero value is none.
type holder struct {
	process
	ns  string // the user namespace
	net string // the network namespace that belongs to it
}

const maxHolder = 512

// read reads who the holder is; of another boot it is nobody.
func (h *home) read() (holder, error) {
	p, more, err := h.noted(holderFile, 2)
	if err != nil || p.pid == 0 {
		return holder{}, err
	}
	return holder{p, more[0], more[1]}, nil
}

// noted reads a file that names a process, with so many words more: the zero value, if
// there is none or it is of another boot.
func (h *home) noted(name string, words int) (process, []string, error) {
	none := process{}
	text, err := atomicfile.ReadCapped(h.path(name), maxHolder)
	if errors.Is(err, fs.ErrNotExist) {
		return none, nil, nil
	}
	if err != nil {
		return none, nil, fmt.Errorf("look for the %s: %w", name, err)
	}
	boot, err := clock.BootID()
	if err != nil {
		return none, nil, err
	}
	f := strings.Fields(string(text))
	if len(f) != 3+words || f[2] != boot {
		return none, nil, nil
	}
	pid, err1 := strconv.Atoi(f[0])
	start, err2 := strconv.ParseUint(f[1], 10, 64)
	if err1 != nil || err2 != nil || pid < 2 {
		return none, nil, nil
	}
	return process{pid, start}, f[3:], nil
}

func (h *home) write(x holder) error { return h.note(holderFile, x.process, x.ns, x.net) }

// note writes a file that names a process of this boot.
func (h *home) note(name string, p process, more ...string) error {
	boot, err := clock.BootID()
	if err != nil {
		return err
	}
	text := strings.Join(append([]string{strconv.Itoa(p.pid), strconv.FormatUint(p.start, 10), boot}, more...), " ") + "\n"
	if err := atomicfile.Write(h.path(name), []byte(text), 0o600); err != nil {
		return fmt.Errorf("note the %s: %w", name, err)
	}
	return nil
}

// open opens the namespace of a holder that lives, nil otherwise.
func (x holder) open() *os.File {
	if x.pid == 0 {
		return nil
	}
	f := openNamespace(x.pid, "ns/user", x.ns)
	if f != nil && !x.alive() { // looked at afterwards: the number may be another's
		f.Close()
		return nil
	}
	return f
}

// openNamespace opens a file of a process in /proc if it is the namespace of a name.
func openNamespace(pid int, file, name string) *os.File {
	path := "/proc/" + strconv.Itoa(pid) + "/" + file
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
