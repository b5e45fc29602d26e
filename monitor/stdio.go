package monitor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"berth/base/ids"
	"berth/base/undo"
	"berth/monitor/wire"
)

// Stdio opens the standard streams for a first process without a terminal, in
// the run folder of cfg: FIFOs that outlive the monitor. uid and gid, as the
// host sees them, will own them, so that the program can open /dev/stdout. The
// caller closes them when the process has them.
//
// Output is open for reading as well, so that without a monitor the process
// waits and is not killed by SIGPIPE; so is an input that never ends.
func Stdio(cfg *Config, uid, gid int) (_ *[3]*os.File, err error) {
	var u undo.Stack
	defer u.Unwind(&err)
	var files [3]*os.File
	for i, name := range []string{wire.Stdin, wire.Stdout, wire.Stderr} {
		flags := unix.O_RDWR
		switch {
		case i == 0 && !cfg.Stdin:
			if files[0], err = os.Open(os.DevNull); err != nil {
				return nil, err
			}
			u.Push("close standard input", files[0].Close)
			continue
		case i == 0 && cfg.StdinOnce:
			flags = unix.O_RDONLY
		}
		f, err := openFIFO(filepath.Join(cfg.Dir, name), flags, uid, gid)
		if err != nil {
			return nil, fmt.Errorf("open stream %s: %w", filepath.Join(cfg.Dir, name), err)
		}
		files[i] = f
		u.Push("close "+name, f.Close)
	}
	return &files, nil
}

// namedPipe is pipe by a FIFO.
func namedPipe(dir string, label func(path string) error, read bool) (ours, theirs *os.File, err error) {
	path := filepath.Join(dir, "stream-"+ids.Hex(8))
	if err := unix.Mkfifo(path, 0o600); err != nil {
		return nil, nil, &os.PathError{Op: "mkfifo", Path: path, Err: err}
	}
	defer os.Remove(path)
	if err := label(path); err != nil {
		return nil, nil, err
	}
	const flags = unix.O_NOFOLLOW | unix.O_CLOEXEC
	r, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|flags, 0)
	if err != nil {
		return nil, nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	w, err := unix.Open(path, unix.O_WRONLY|flags, 0) // there is a reader
	if err != nil {
		unix.Close(r)
		return nil, nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	if err := unix.SetNonblock(r, false); err != nil {
		unix.Close(r)
		unix.Close(w)
		return nil, nil, os.NewSyscallError("fcntl", err)
	}
	return ends(r, w, read)
}

// openFIFO opens a FIFO of ours, making it first if it is missing.
func openFIFO(path string, flags, uid, gid int) (*os.File, error) {
	const more = unix.O_NONBLOCK | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Open(path, flags|more, 0)
	if errors.Is(err, unix.ENOENT) {
		if err := unix.Mkfifo(path, 0o600); err != nil && !errors.Is(err, unix.EEXIST) {
			return nil, err
		}
		fd, err = unix.Open(path, flags|more, 0)
	}
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil && st.Mode&unix.S_IFMT != unix.S_IFIFO {
		err = errors.New("it is not a FIFO")
	}
	if err == nil && (int(st.Uid) != uid || int(st.Gid) != gid) {
		err = unix.Fchown(fd, uid, gid)
	}
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags) // the program's reads wait
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	// Not NewFile's poller: the descriptor is for another process.
	return os.NewFile(uintptr(fd), path), nil
}

// Pipes makes the streams of an exec session: the process's ends, which it can
// open again as the host's uid and gid (or /dev/null, for a stream that is not asked
// for), and ours. With label, which gives a file in dir a label of SELinux, they are
// FIFOs that had a name there: a pipe has its maker's for good.
func Pipes(asked [3]bool, uid, gid int, dir string, label func(path string) error) (theirs *[3]*os.File, ours *Streams, err error) {
	var u undo.Stack
	defer u.Unwind(&err)
	stream := pipe
	if label != nil {
		stream = func(read bool) (ours, theirs *os.File, err error) { return namedPipe(dir, label, read) }
	}
	theirs, ours = &[3]*os.File{}, &Streams{}
	for i, one := range []**os.File{&ours.Stdin, &ours.Stdout, &ours.Stderr} {
		if !asked[i] {
			null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
			if err != nil {
				return nil, nil, err
			}
			theirs[i] = null
			u.Push("close /dev/null", null.Close)
			continue
		}
		mine, other, err := stream(i > 0)
		if err != nil {
			return nil, nil, err
		}
		*one, theirs[i] = mine, other
		u.Push("close a pipe", mine.Close)
		u.Push("close a pipe", other.Close)
		if err := other.Chown(uid, gid); err != nil {
			return nil, nil, err
		}
	}
	return theirs, ours, nil
}
