package runtime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/base/atomicfile"
	"berth/base/clock"
	"berth/base/codec"
	"berth/base/fault"
	"berth/base/ids"
	"berth/runtime/cgroup"
	"berth/runtime/rdt"
	"berth/sys/proc"
)

// One container on disk, below Runtime.Root. Nothing is synced: the folder
// belongs to one boot, and the boot id in the record says which.
//
//	ID/              mode 0711; its flock is the container's lock
//	   state         record, written when the first process waits or runs
//	   config.json   the bundle's, byte for byte as it was at create; what later
//	                 verbs need of it when the request brought a spec
//	   exec          what execs need of it, the seccomp profile compiled
//	   start.fifo    exists until start; open for reading by the first process
//	   error         what the first process said when nobody listened any more
const (
	stateFile  = "state"
	configFile = "config.json"
	execFile   = "exec"
	fifoFile   = "start.fifo"
	errorFile  = "error"

	maxStateBytes = 4 << 20
)

// record is what the file state holds: facts about one container.
type record struct {
	Version   uint64
	ID        string
	Bundle    string
	Rootfs    string
	PID       int
	StartTime uint64 // clock ticks after boot, proc_pid_stat(5) field 22
	BootID    string
	Created   time.Time
	Owner     int // user id that created it
	Cgroup    cgroup.State
	RDT       rdt.State
	Resources []byte // after an update, as in config.json
	Annots    map[string]string
	Hooks     bool // there are some, in config.json
}

func (r *record) wire(c *codec.Coder) {
	if c.U64(&r.Version); r.Version != recordVersion {
		return
	}
	c.Str(&r.ID)
	c.Str(&r.Bundle)
	c.Str(&r.Rootfs)
	c.Int(&r.PID)
	c.U64(&r.StartTime)
	c.Str(&r.BootID)
	c.Time(&r.Created)
	c.Int(&r.Owner)
	g := &r.Cgroup
	c.Str(&g.Mode)
	c.Str(&g.Driver)
	c.Str(&g.Unit)
	c.Bool(&g.User)
	c.Str(&g.Reason)
	c.Bool(&g.Rootless)
	c.Map(&g.Paths)
	c.Str(&r.RDT.Class)
	c.Str(&r.RDT.Monitor)
	c.Bytes(&r.Resources)
	c.Map(&r.Annots)
	c.Bool(&r.Hooks)
}

const recordVersion = 3

// container is an open container folder.
type container struct {
	rt      *Runtime
	id      string
	dir     *os.File
	rec     *record           // nil while being created, or when creation was cut short
	cg      *cgroup.Cgroup    // set by openCgroup
	cgroups map[string]string // see Process; set by create
}

func (c *container) path(name string) string { return filepath.Join(c.rt.Root, c.id, name) }

func (c *container) close() {
	c.dir.Close()
	if c.cg != nil {
		c.cg.Close()
		c.cg = nil
	}
}

// unlock lets others act on the container while its folder stays open.
func (c *container) unlock() { _ = unix.Flock(int(c.dir.Fd()), unix.LOCK_UN) }

// lock takes the lock again. It reports false when somebody has deleted the
// container meanwhile.
func (c *container) lock() (bool, error) {
	same, err := lockDir(c.dir, filepath.Join(c.rt.Root, c.id))
	if err != nil {
		return false, fmt.Errorf("lock container %q: %w", c.id, err)
	}
	return same, nil
}

// open opens an existing container, with its record if it has one. lock takes
// the container's lock until close.
func (rt *Runtime) open(id string, lock bool) (*container, error) {
	if _, err := ids.Parse(id); err != nil {
		return nil, err
	}
	path := filepath.Join(rt.Root, id)
	for {
		dir, err := openDir(path)
		if errors.Is(err, os.ErrNotExist) {
			return nil, fault.New(fault.NotFound, "container does not exist: %q", id)
		}
		if err != nil {
			return nil, fmt.Errorf("open container %q: %w", id, err)
		}
		if lock {
			same, err := lockDir(dir, path)
			if err != nil {
				dir.Close()
				return nil, fmt.Errorf("lock container %q: %w", id, err)
			}
			if !same { // deleted, and perhaps made anew, while we waited
				dir.Close()
				continue
			}
		}
		c := &container{rt: rt, id: id, dir: dir}
		if err := c.load(); err != nil {
			dir.Close()
			return nil, err
		}
		return c, nil
	}
}

func openDir(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// lockDir waits for the folder's lock and reports whether path still names it.
func lockDir(dir *os.File, path string) (bool, error) {
	for {
		err := unix.Flock(int(dir.Fd()), unix.LOCK_EX)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return false, err
		}
		break
	}
	var held, named unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &held); err != nil {
		return false, err
	}
	if err := unix.Lstat(path, &named); err == unix.ENOENT {
		return false, nil
	} else if err != nil {
		return false, err
	}
	return held.Ino == named.Ino && held.Dev == named.Dev, nil
}

// load reads the record; a missing one is not an error, a damaged one is.
func (c *container) load() error {
	b, err := readIn(c.dir, stateFile, maxStateBytes)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the state of container %q: %w", c.id, err)
	}
	var r record
	from := codec.Decode(b)
	r.wire(from)
	switch {
	case from.Err == nil && r.Version != recordVersion:
		return fault.New(fault.Invalid, "read the state of container %q: %s is of version %d", c.id, stateFile, r.Version)
	case from.Err != nil || len(from.Buf) > 0 || r.ID != c.id:
		return fault.New(fault.Invalid, "read the state of container %q: %s is damaged", c.id, stateFile)
	}
	c.rec = &r
	return nil
}

func readIn(dir *os.File, name string, limit int64) ([]byte, error) {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	return atomicfile.ReadCappedFD(fd, name, limit)
}

// save writes the record in one step.
func (c *container) save() error {
	to := new(codec.Coder)
	c.rec.wire(to)
	if err := atomicfile.Write(c.path(stateFile), to.Buf, 0o644); err != nil {
		return fmt.Errorf("save the state of container %q: %w", c.id, err)
	}
	return nil
}

// hooksOf returns those of a container, which verbs after create run; never nil.
func hooksOf(c *container) (*specs.Hooks, error) {
	if !c.rec.Hooks {
		return new(specs.Hooks), nil
	}
	spec, err := c.spec()
	if err != nil || spec.Hooks == nil {
		return new(specs.Hooks), err
	}
	return spec.Hooks, nil
}

// spec returns the container's configuration as it was at create.
func (c *container) spec() (*specs.Spec, error) {
	b, err := readIn(c.dir, configFile, maxConfigBytes)
	if err != nil {
		return nil, fmt.Errorf("read the configuration of container %q: %w", c.id, err)
	}
	return parseSpec(b)
}

// status derives what the container is doing from the kernel's facts.
func (c *container) status() specs.ContainerState {
	switch {
	case c.rec == nil || c.rec.PID == 0:
		return specs.StateStopped
	case !c.rec.alive():
		return specs.StateStopped
	case c.waiting():
		return specs.StateCreated
	}
	return specs.StateRunning
}

// alive reports whether the first process is the recorded one and not a zombie.
func (r *record) alive() bool {
	boot, err := clock.BootID()
	if err != nil || boot != r.BootID {
		return false
	}
	st, err := proc.ReadStat(r.PID)
	return err == nil && st.StartTime == r.StartTime && !st.Dead()
}

// waiting reports whether the first process still waits for start: only then
// does the FIFO exist and have a reader (fifo(7), ENXIO).
func (c *container) waiting() bool {
	fd, err := unix.Openat(int(c.dir.Fd()), fifoFile, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	unix.Close(fd)
	return true
}
