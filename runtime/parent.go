package runtime

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/runtime/account"
	"berth/runtime/cgroup"
	"berth/runtime/helper"
	"berth/runtime/initproc"
	"berth/runtime/rootfs"
	"berth/sys/clone"
	"berth/sys/pidfd"
	"berth/sys/proc"
)

// Parent is the process whose children a container's processes are: a monitor,
// which outlives the caller and takes their exit codes. The caller does all
// else; nil in a request is the caller itself.
//
// Pids mean the same to both. Until it executes the helper, a child is a copy of
// the parent, and may be so inside a container's namespaces: the parent's
// program must be one that cannot be written to, as the helper is.
//
// The child of the last Clone is the newest. Neither it nor its first stage may
// be reaped before Spoken, so that their pids stay theirs. A parent that loses
// the caller before Spoken ends the child. If its first stage died early, the
// child can be one of whose pid nobody told the parent; it ends by itself.
type Parent interface {
	// Clone is clone.Start in the parent, with copies of a's descriptors that are
	// closed in the parent when it returns; clone.Attr.Marshal is the way there.
	Clone(a *clone.Attr) (pid int, twoStage bool, err error)
	// Spoken says that the newest child executes the helper and has pid: it may be
	// reaped when it ends, and stage 1, which ends by itself, now.
	Spoken(pid int) error
	// Abandon kills the newest child, whose pid is pid as far as the caller knows,
	// and returns when it and its stage 1 are reaped. It may come after Spoken.
	Abandon(pid int) error
}

// Process is a first process that waits for Start, or one more in a running
// container.
type Process struct {
	PID int
	// Console is the master of its terminal, nil without one or when a console
	// socket took it. The caller closes it.
	Console *os.File
	// Cgroup are the container's folders by controller, that of cgroup v2 under "":
	// where memory.events and memory.oom_control are. nil from Spawn.
	Cgroup map[string]string
}

// Close closes the terminal's master. The process is not touched.
func (p *Process) Close() error {
	if p == nil || p.Console == nil {
		return nil
	}
	return p.Console.Close()
}

// checkParent refuses what the caller cannot hand on to another's child.
func checkParent(p Parent, preserve int) error {
	if p != nil && preserve > 0 {
		return fault.New(fault.Invalid, "preserve descriptors: the process is another's child and has that one's")
	}
	return nil
}

// self is the caller as a parent, of one child.
type self struct {
	first int // stage 1 of a clone in two stages, until it is reaped; 0 none
}

func (s *self) Clone(a *clone.Attr) (pid int, twoStage bool, err error) {
	pid, twoStage, err = clone.Start(a)
	if err == nil && twoStage {
		s.first = pid
	}
	return pid, twoStage, err
}

func (s *self) Spoken(int) error { return s.reapFirst() }

func (s *self) Abandon(pid int) error {
	_ = unix.Kill(pid, unix.SIGKILL)
	_, err := wait(pid)
	if pid == s.first {
		s.first = 0
	}
	return errors.Join(err, s.reapFirst())
}

// reapFirst reaps stage 1, which ends by itself.
func (s *self) reapFirst() error {
	if s.first == 0 {
		return nil
	}
	_, err := wait(s.first)
	s.first = 0
	return err
}

// Helper opens the program that a first process is before it is the user's. A
// monitor, which is a Parent, is started from it too.
func Helper() (*os.File, error) { return helper.Open() }

// UseHelper makes this process start containers by a helper that another one has
// open already, if it is of this build; else f is closed.
func UseHelper(f *os.File) {
	if !helper.Use(f) {
		f.Close()
	}
}

// InitFile opens the program for a container's --init, which its mounts may have
// as a source by /proc/self/fd. An ordinary user's is on a tmpfs that is mounted on
// a folder dir, which is made, in the caller's own mount namespace. When the
// container has its mounts, done gives all back.
func InitFile(dir string) (f *os.File, done func(), err error) {
	if f, err = helper.Installed(); err == nil {
		return f, func() { f.Close() }, nil
	}
	if inside, nerr := proc.InUserNamespace(); nerr != nil || !inside {
		return nil, nil, errors.Join(err, nerr)
	}
	if f, err = helper.Mounted(dir); err != nil {
		return nil, nil, err
	}
	return f, func() {
		f.Close()
		_ = unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW) // it ends with us at the latest
		_ = os.Remove(dir)
	}, nil
}

// TreeOf clones what another container, whose first process is pid, has mounted on a
// folder of its root, for CreateRequest.Trees. Error: Conflict if there is no tmpfs.
func TreeOf(pid int, path string) (*os.File, error) { return rootfs.TreeOf(pid, path) }

// InitReady waits until the program of InitFile, which process pid executes, takes
// signals: while Go's runtime sets itself up it lets the kernel throw away those
// that came before, as a pid namespace's first process without a handler.
func InitReady(ctx context.Context, pid int) error {
	const own = 1<<(unix.SIGTSTP-1) | 1<<(unix.SIGTTIN-1) // which nobody else of ours catches
	f, err := pidfd.Open(pid)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	for end := time.Now().Add(initPatience); time.Now().Before(end) && ctx.Err() == nil; {
		s, err := proc.ReadSignals(pid)
		if err != nil || s.Caught&own == own && s.Blocked == 0 {
			return nil
		}
		if ended, err := pidfd.Wait(f, time.Millisecond); ended || err != nil {
			return err
		}
	}
	return ctx.Err()
}

// initPatience bounds the wait for an init that a program of the container's own
// keeps from running.
const initPatience = 2 * time.Second

// Account names the user that a process runs as, looked up in the container's
// own passwd and group files.
type Account = initproc.Account

// LookUpUser resolves USER[:GROUP] by the text of a container's passwd and group
// files; either may be empty.
func LookUpUser(user string, passwd, group []byte) (uid, gid uint32, err error) {
	a, err := account.Lookup(user, passwd, group)
	if err != nil {
		return 0, 0, err
	}
	return a.UID, a.GID, nil
}

// Place is cgroups that a process enters when it is made: descriptors of v1
// `tasks` files, and of a v2 directory.
type Place struct {
	Tasks []*os.File
	Dir   *os.File
}

// Close closes the descriptors.
func (p *Place) Close() {
	closeAll(p.Tasks)
	if p.Dir != nil {
		p.Dir.Close()
	}
}

// monitorPath is the cgroup of all monitors, in berth's subtree.
const monitorPath = "/berth/monitor"

// MonitorPlace opens the cgroup that monitors live in, so that they outlive the
// caller's. An ordinary user's get an empty place: where there are scopes, OwnScope
// gives them one, and root's cgroup is not to be entered, though it can be opened.
func MonitorPlace(_ context.Context, rt *Runtime) (*Place, error) {
	rt.begin()
	if rt.rootless() {
		return &Place{}, nil
	}
	l, err := cgroup.Detect()
	if err != nil {
		return nil, err
	}
	c, err := cgroup.New(l, cgroup.Config{ID: "monitor", Path: monitorPath})
	if err != nil {
		return nil, err
	}
	p := &Place{}
	p.Tasks, p.Dir, err = c.JoinFDs()
	if errors.Is(err, unix.ENOENT) {
		if err = cgroup.Share(c); err == nil {
			p.Tasks, p.Dir, err = c.JoinFDs()
		}
	}
	return p, err
}
