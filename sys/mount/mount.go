// Package mount is the kernel's descriptor-based mount interface with Go types
// (open_tree(2), move_mount(2), fsopen(2), fsconfig(2), fsmount(2),
// mount_setattr(2)), and the parser of fstab-style options.
//
// Mounts are made detached, given their attributes, and attached to an open
// directory in one step, so that no path is looked up twice. The package
// decides nothing and logs nothing; it links neither fmt nor os, because the
// helper uses it. Row 1.
package mount

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Param is one parameter of a file system: fsconfig(2) FSCONFIG_SET_FLAG if
// Flag, else FSCONFIG_SET_STRING.
type Param struct {
	Key, Value string
	Flag       bool
}

// Attr is a change of a mount's attributes: mount_setattr(2).
type Attr struct {
	Set   uint64 // MOUNT_ATTR_* to set
	Clear uint64 // MOUNT_ATTR_* to clear
	// Propagation is MS_SHARED, MS_SLAVE, MS_PRIVATE or MS_UNBINDABLE; 0 leaves it.
	Propagation uint64
}

// Empty reports whether a changes nothing.
func (a Attr) Empty() bool { return a == Attr{} }

// kernel brings a into the form that the kernel wants: the access time mode is
// a field, which has to be cleared as a whole before it is set.
func (a Attr) kernel() unix.MountAttr {
	if (a.Set|a.Clear)&unix.MOUNT_ATTR__ATIME != 0 {
		a.Clear |= unix.MOUNT_ATTR__ATIME
	}
	return unix.MountAttr{Attr_set: a.Set, Attr_clr: a.Clear, Propagation: a.Propagation}
}

// SetAttr changes the mount that fd stands for and, with rec, all below it.
func SetAttr(fd int, a Attr, rec bool) error {
	k := a.kernel()
	return setAttr(fd, &k, rec)
}

// SetIDMap maps the ids of a detached mount through a user namespace; with rec
// those of all below it. EINVAL if the file system does not support it, EPERM
// if the caller has no rights over the file system or it is mapped already.
func SetIDMap(fd, userns int, rec bool) error {
	return setAttr(fd, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(userns)}, rec)
}

func setAttr(fd int, k *unix.MountAttr, rec bool) error {
	flags := uint(unix.AT_EMPTY_PATH)
	if rec {
		flags |= unix.AT_RECURSIVE
	}
	return retry(func() error { return unix.MountSetattr(fd, "", flags, k) })
}

// SetPropagation changes the propagation type of the mount at path in the
// caller's namespace and of all below it.
func SetPropagation(path string, propagation uint64) error {
	return unix.MountSetattr(unix.AT_FDCWD, path, unix.AT_RECURSIVE, &unix.MountAttr{Propagation: propagation})
}

// Clone makes a detached copy of the mount tree at fd, an O_PATH descriptor;
// without rec of that one mount. The copy starts at fd's file.
func Clone(fd int, rec bool) (int, error) { return clone(fd, "", unix.AT_EMPTY_PATH, rec) }

// ClonePath is Clone of a path of the caller. Its last component is followed.
func ClonePath(path string, rec bool) (int, error) { return clone(unix.AT_FDCWD, path, 0, rec) }

func clone(dir int, path string, flags uint, rec bool) (int, error) {
	flags |= unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC
	if rec {
		flags |= unix.AT_RECURSIVE
	}
	for {
		fd, err := unix.OpenTree(dir, path, flags)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// Attach attaches the detached mount tree (or moves the attached one) onto
// target, an O_PATH descriptor. tree then stands for the attached mount.
func Attach(tree, target int) error {
	return unix.MoveMount(tree, "", target, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
}

// Error is a failure of a file system to be mounted, with its own words.
type Error struct {
	Type string // of the file system
	Op   string // "open", "parameter size", "create", "mount"
	Log  string // messages of the kernel, may be empty
	Err  error
}

// Error is one line, whatever the options held.
func (e *Error) Error() string {
	s := e.Type + ": " + e.Op
	if e.Log != "" {
		s += ": " + e.Log
	}
	return strings.ReplaceAll(s, "\n", " ") + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// maxString is the longest string that fsconfig(2) takes, without its zero.
const maxString = 255

// TooLong reports whether a parameter does not fit fsconfig(2); mount(2) takes
// a page of them.
func TooLong(params []Param) bool {
	for i := range params {
		if len(params[i].Value) > maxString || len(params[i].Key) > maxString {
			return true
		}
	}
	return false
}

// New makes a detached mount of a new or existing file system instance with
// the attributes attr (MOUNT_ATTR_*). source is what mountinfo shows; it may be
// empty.
func New(fstype, source string, params []Param, attr uint64) (int, error) {
	fs, err := unix.Fsopen(fstype, unix.FSOPEN_CLOEXEC)
	if err != nil {
		if err == unix.ENODEV {
			return -1, &Error{Type: fstype, Op: "the kernel has no such file system", Err: err}
		}
		return -1, &Error{Type: fstype, Op: "open", Err: err}
	}
	defer unix.Close(fs)
	if source != "" {
		if err := unix.FsconfigSetString(fs, "source", source); err != nil {
			return -1, fsError(fs, fstype, "source "+source, err)
		}
	}
	if err := configure(fs, fstype, params); err != nil {
		return -1, err
	}
	if err := retry(func() error { return unix.FsconfigCreate(fs) }); err != nil {
		return -1, fsError(fs, fstype, "create", err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, int(attr))
	if err != nil {
		return -1, fsError(fs, fstype, "mount", err)
	}
	return fd, nil
}

func configure(fs int, fstype string, params []Param) error {
	for i := range params {
		p := &params[i]
		var err error
		if p.Flag {
			err = unix.FsconfigSetFlag(fs, p.Key)
		} else {
			err = unix.FsconfigSetString(fs, p.Key, p.Value)
		}
		if err != nil {
			return fsError(fs, fstype, "option "+p.String(), err)
		}
	}
	return nil
}

// Reconfigure changes the parameters of the file system whose mount fd stands
// for: fspick(2), as mount -o remount does.
func Reconfigure(fd int, params []Param) error {
	fs, err := unix.Fspick(fd, "", unix.FSPICK_CLOEXEC|unix.FSPICK_EMPTY_PATH)
	if err != nil {
		return err
	}
	defer unix.Close(fs)
	if err := configure(fs, "remount", params); err != nil {
		return err
	}
	if err := unix.FsconfigReconfigure(fs); err != nil {
		return fsError(fs, "remount", "reconfigure", err)
	}
	return nil
}

// Data joins parameters into the form of mount(2). A label with categories, which has a
// comma, is put into quotes.
func Data(params []Param) string {
	words := make([]string, len(params))
	for i, p := range params {
		if p.Key == "context" && !p.Flag {
			p.Value = `"` + p.Value + `"`
		}
		words[i] = p.String()
	}
	return strings.Join(words, ",")
}

// Limits of what is read from a file system's message queue.
const (
	maxMessages = 8
	maxMessage  = 512
)

// fsError collects what the file system said about its last failure: one
// read(2) per message, each with a letter for its level and a space in front.
func fsError(fs int, fstype, op string, err error) error {
	e := &Error{Type: fstype, Op: op, Err: err}
	var buf [maxMessage]byte
	for range maxMessages {
		n, rerr := unix.Read(fs, buf[:])
		if rerr != nil || n <= 0 {
			break
		}
		text := strings.TrimSpace(string(buf[:n]))
		if len(text) > 2 && text[1] == ' ' {
			text = text[2:]
		}
		text = strings.TrimPrefix(text, fstype+": ")
		if !strings.Contains(e.Log, text) {
			e.Log = strings.TrimPrefix(e.Log+"; "+text, "; ")
		}
	}
	return e
}

func retry(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}

// FDPath is the name of a descriptor below a procfs directory, for mount(2),
// which takes only paths.
func FDPath(fd int) string { return "self/fd/" + strconv.Itoa(fd) }

// OldFlags turns MOUNT_ATTR_* into MS_* for mount(2).
func OldFlags(attr uint64) uint64 {
	var flags uint64
	for _, f := range [...]struct{ attr, old uint64 }{
		{unix.MOUNT_ATTR_RDONLY, unix.MS_RDONLY},
		{unix.MOUNT_ATTR_NOSUID, unix.MS_NOSUID},
		{unix.MOUNT_ATTR_NODEV, unix.MS_NODEV},
		{unix.MOUNT_ATTR_NOEXEC, unix.MS_NOEXEC},
		{unix.MOUNT_ATTR_NOATIME, unix.MS_NOATIME},
		{unix.MOUNT_ATTR_STRICTATIME, unix.MS_STRICTATIME},
		{unix.MOUNT_ATTR_NODIRATIME, unix.MS_NODIRATIME},
		{unix.MOUNT_ATTR_NOSYMFOLLOW, unix.MS_NOSYMFOLLOW},
	} {
		if attr&f.attr != 0 {
			flags |= f.old
		}
	}
	return flags
}

// BecomeRoot makes a detached tree the root of the calling thread's mount namespace
// and leaves what was there behind: pivot_root(2), NOTES. The namespace's mounts
// propagate nowhere.
func BecomeRoot(tree int) error {
	old, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &Error{Type: "root", Op: "open /", Err: err}
	}
	defer unix.Close(old)
	if err := Attach(tree, old); err != nil {
		return &Error{Type: "root", Op: "attach the root", Err: err}
	}
	if err := unix.Fchdir(tree); err != nil {
		return &Error{Type: "root", Op: "enter the root", Err: err}
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return &Error{Type: "root", Op: "pivot_root", Err: err}
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return &Error{Type: "root", Op: "leave the host's root", Err: err}
	}
	return nil
}
