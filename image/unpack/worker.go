package unpack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/sys/fdpass"
)

// Options of a worker. The zero value is right for the host's root and for the
// root of a user namespace of the caller's own.
type Options struct {
	// UserXattr writes opaque folders as user.overlay.opaque, for overlay mounts
	// with the option userxattr: the only ones that a user namespace can make.
	UserXattr bool
	// UIDMap and GIDMap are the ids that layers may use, as seen by the caller.
	// Nil stands for all that the caller's user namespace has, or, where the
	// caller has no rights in it, for its own one id as root.
	UIDMap, GIDMap []syscall.SysProcIDMap
}

// Worker is a running worker process. Its methods may be called at the same
// time from several goroutines.
type Worker struct {
	opts    Options
	oneID   bool
	cmd     *exec.Cmd
	control *os.File
	sending sync.Mutex // one order at a time
	words   *tail      // what the process said last on its standard error
	ended   chan struct{}
	waitErr error // read after ended
	closing sync.Once
}

// cloneFlags are the namespaces of a worker.
const cloneFlags = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS

// Start starts a worker process: this program again, with WorkerWord as its
// first word. It lives until Close, or until this process ends. ctx bounds the
// start alone. The error says what the worker could not do; errors of kind
// fault.Unsupported mean that this kernel allows no user namespace here.
func Start(ctx context.Context, opts Options) (*Worker, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, fmt.Errorf("start the unpack worker: %w", err)
	}
	defer theirs.Close()
	w := &Worker{opts: opts, control: ours, words: &tail{}, ended: make(chan struct{})}
	if err := w.start(theirs); err != nil {
		ours.Close()
		return nil, fmt.Errorf("start the unpack worker: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { ours.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	ours.SetReadDeadline(time.Now().Add(startPatience))
	var r reply
	if err := read(ours, make([]byte, maxMessage), &r); err != nil {
		err = w.whyEnded(err)
		w.kill()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, fmt.Errorf("start the unpack worker: %w", err)
	}
	if r.Fail != nil {
		w.kill()
		return nil, fmt.Errorf("start the unpack worker: %w", r.Fail.err())
	}
	return w, nil
}

func (w *Worker) start(theirs *os.File) error {
	uids, gids, err := w.maps()
	if err != nil {
		return err
	}
	// This program itself, whatever is at its path by now.
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{"berth", WorkerWord}
	cmd.Env = []string{}
	cmd.Dir = "/"
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Stderr = w.words
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: cloneFlags, UidMappings: uids, GidMappings: gids, GidMappingsEnableSetgroups: false, Setsid: true,
	}
	if err := cmd.Start(); err != nil {
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EINVAL) {
			return fault.New(fault.Unsupported, "make a user namespace: %w", err)
		}
		return err
	}
	w.cmd = cmd
	go func() {
		w.waitErr = cmd.Wait()
		close(w.ended)
	}()
	return nil
}

// maps decides the ids of the worker and whether it is one only.
func (w *Worker) maps() (uids, gids []syscall.SysProcIDMap, err error) {
	uids, gids = w.opts.UIDMap, w.opts.GIDMap
	if uids == nil || gids == nil {
		if !mayMap() {
			w.oneID = true
			return []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}, []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}, nil
		}
		if uids, err = ownMap("/proc/self/uid_map"); err != nil {
			return nil, nil, err
		}
		if gids, err = ownMap("/proc/self/gid_map"); err != nil {
			return nil, nil, err
		}
	}
	w.oneID = len(uids) == 1 && uids[0].Size == 1
	return uids, gids, nil
}

// mayMap reports whether the caller may map more than its own id: capset(2)'s
// CAP_SETUID and CAP_SETGID.
func mayMap() bool {
	h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var d [2]unix.CapUserData
	if unix.Capget(&h, &d[0]) != nil {
		return false
	}
	const need = 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID
	return d[0].Effective&need == need
}

// ownMap makes a map that leaves the ids of the caller's namespace as they are,
// from user_namespaces(7)'s uid_map or gid_map.
func ownMap(path string) ([]syscall.SysProcIDMap, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := io.LimitReader(f, 64<<10)
	var out []syscall.SysProcIDMap
	for {
		var inside, outside, size int
		if _, err := fmt.Fscan(r, &inside, &outside, &size); err == io.EOF {
			break
		} else if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		out = append(out, syscall.SysProcIDMap{ContainerID: inside, HostID: inside, Size: size})
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("read %s: no ids are mapped", path)
	}
	return out, nil
}

// OneID reports whether all files of the layers belong to one id, and true
// owners are kept in an xattr.
func (w *Worker) OneID() bool { return w.oneID }

// PID is the worker's process id.
func (w *Worker) PID() int { return w.cmd.Process.Pid }

// order sends a layer's order with its descriptors, which stay the caller's.
func (w *Worker) order(o *order, dir, source, sock int) error {
	text, err := json.Marshal(o)
	if err != nil {
		return err
	}
	w.sending.Lock()
	defer w.sending.Unlock()
	conn, err := w.control.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	err = conn.Write(func(fd uintptr) bool {
		serr = fdpass.Send(int(fd), text, dir, source, sock)
		return !errors.Is(serr, unix.EAGAIN)
	})
	if err == nil {
		err = serr
	}
	if err != nil {
		return w.whyEnded(err)
	}
	return nil
}

// whyEnded makes of a socket that closed the end of a process.
func (w *Worker) whyEnded(err error) error {
	if !errors.Is(err, io.EOF) && !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.ECONNRESET) && !errors.Is(err, os.ErrClosed) {
		return err
	}
	select {
	case <-w.ended:
	case <-time.After(endPatience):
		return fault.New(fault.Unavailable, "the unpack worker does not answer")
	}
	text := "exit status 0"
	if w.waitErr != nil {
		text = w.waitErr.Error()
	}
	if said := w.words.line(); said != "" {
		text += ": " + said
	}
	return fault.New(fault.Unavailable, "the unpack worker ended (%s)", text)
}

func (w *Worker) kill() {
	w.closing.Do(func() { w.control.Close() })
	w.cmd.Process.Kill()
	<-w.ended
}

// Close ends the worker and waits for its end. Layers that are being unpacked
// fail. A worker that does not end in a few seconds is killed.
func (w *Worker) Close() error {
	w.closing.Do(func() { w.control.Close() })
	select {
	case <-w.ended:
	case <-time.After(endPatience):
		w.cmd.Process.Kill()
		<-w.ended
	}
	return nil
}

// tail keeps the start of what a process says.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p[:min(len(p), maxText-min(len(t.text), maxText))]...)
	return len(p), nil
}

// line is the first line, which is what a Go program's panic begins with.
func (t *tail) line() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, b := range t.text {
		if b == '\n' {
			return oneLine(string(t.text[:i]))
		}
	}
	return oneLine(string(t.text))
}
