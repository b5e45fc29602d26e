package unpack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/base/undo"
	"berth/sys/mount"
)

// Job is one layer to unpack.
type Job struct {
	// Dir is the layer's empty folder, opened with or without O_PATH. It stays
	// the caller's. It is the caller's too to remove what a failed layer left.
	Dir *os.File
	// Source is the layer's stream as it came. After an error, a Read of it that
	// was under way may end later than Layer: let it go by closing its origin.
	Source io.Reader
	// Size is how many bytes Source has, if that is known: layers of SmallLayer
	// bytes and less may share a process.
	Size int64
	// Compression is that of Source; "" for Auto.
	Compression Compression
	Limits      Limits
	// Parents returns the folders of the layers below, newest first; nil if there
	// are none. It is called once, when the stream has been unpacked, and only if
	// the layer does not name all its folders, its root among them. So all layers
	// can be unpacked at once: let it wait here for the lower ones. The folders
	// stay the caller's.
	Parents func(context.Context) ([]*os.File, error)
}

// Layer unpacks one layer and waits for its end. When it returns, the worker
// does nothing in the folder any more. When ctx is done the layer fails.
//
// Errors are one line and name the entry. Their kinds: Invalid for what is
// wrong with the stream, NoSpace and the like from the kernel, Exists if Dir is
// not empty, Unavailable if the worker ended.
func (w *Worker) Layer(ctx context.Context, j Job) (res Result, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("unpack layer: %w", err)
		}
	}()
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	maker, end, err := w.maker(ctx, &j)
	if err != nil {
		return Result{}, err
	}
	defer end()
	l, err := w.open(&j, maker)
	if err != nil {
		return Result{}, err
	}
	defer l.close()
	go l.flow.run()
	if err := l.send(); err != nil {
		return Result{}, err
	}
	stop := context.AfterFunc(ctx, l.cancel)
	defer stop()
	return l.serve(ctx)
}

// layer is a Job under way, on the caller's side.
type layer struct {
	w      *Worker
	job    *Job
	maker  *process
	sock   *os.File // ours
	theirs *os.File
	tree   int     // what the maker gets as the folder
	ring   farRing // what the maker reads
	flow   *flow
	lower  []*os.File
	asked  bool // Parents was called
	nodes  int64
}

func (w *Worker) open(j *Job, maker *process) (_ *layer, err error) {
	var u undo.Stack
	defer u.Unwind(&err)
	j.Limits = j.Limits.withDefaults()
	l := &layer{w: w, job: j, maker: maker}
	if l.sock, l.theirs, err = socketPair(); err != nil {
		return nil, err
	}
	u.Push("close the sockets", func() error { return errors.Join(l.sock.Close(), l.theirs.Close()) })
	if l.tree, err = ownTree(j.Dir); err != nil {
		return nil, err
	}
	u.Push("close the folder", func() error { return unix.Close(l.tree) })
	var to ringEnd
	if to, l.ring, err = newRing(true); err != nil {
		return nil, err
	}
	l.flow = newFlow(j, w.reader, to, l.cancel)
	return l, nil
}

// ownTree makes a detached mount of the folder: nothing above it can be reached
// from its descriptor. A caller that may not mount gives the folder itself, and
// what binds the worker is Landlock, openat2(2) and its lack of rights.
func ownTree(dir *os.File) (int, error) {
	tree := -1
	err := control(dir, func(fd int) (err error) {
		if tree, err = mount.Clone(fd, false); err == unix.EPERM {
			tree, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
			return err
		}
		if err != nil {
			return err
		}
		const attr = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC
		if err = mount.SetAttr(tree, mount.Attr{Set: attr}, false); err != nil {
			unix.Close(tree)
		}
		return err
	})
	if err != nil {
		return -1, fmt.Errorf("take the layer's folder %s for its own mount: %w", dir.Name(), err)
	}
	return tree, nil
}

// control calls do with the descriptor of f, which stays as it is.
func control(f *os.File, do func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var derr error
	if err := conn.Control(func(fd uintptr) { derr = do(int(fd)) }); err != nil {
		return fmt.Errorf("%s: %w", f.Name(), os.ErrClosed) // its only error
	}
	return derr
}

// send gives the maker its order.
func (l *layer) send() error {
	o := order{Limits: l.job.Limits, OneID: l.w.oneID, UserXattr: l.w.opts.UserXattr}
	err := l.maker.order(&o, l.tree, l.ring, l.theirs)
	l.theirs.Close()
	l.ring.close()
	return err
}

// cancel tells the worker to stop: it sees the end of our side.
func (l *layer) cancel() {
	_ = control(l.sock, func(fd int) error { return unix.Shutdown(fd, unix.SHUT_WR) })
	l.sock.SetReadDeadline(time.Now().Add(stopPatience))
}

// serve answers the worker until it is done.
func (l *layer) serve(ctx context.Context) (Result, error) {
	buf := make([]byte, maxMessage)
	for {
		var q request
		if err := read(l.sock, buf, &q); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				l.maker.kill() // it still might write to the folder
			} else if !errors.Is(err, io.EOF) {
				l.maker.kill() // it talks nonsense
				return Result{}, fmt.Errorf("read from the unpack worker: %w", err)
			}
			return Result{}, l.why(ctx, l.maker.whyEnded(io.EOF))
		}
		switch q.Op {
		case opDone:
			return l.result(ctx, q.Result)
		case opFail:
			if q.Fail == nil {
				q.Fail = &wireError{Text: "no reason given"}
			}
			return Result{}, l.why(ctx, q.Fail.err())
		}
		r := l.answer(ctx, &q)
		if err := write(l.sock, r); err != nil && !errors.Is(err, unix.EPIPE) {
			return Result{}, fmt.Errorf("answer the unpack worker: %w", err)
		}
	}
}

// why prefers the first cause to what followed from it.
func (l *layer) why(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if l.flow.settled() && l.flow.err != nil {
		return l.flow.err
	}
	return err
}

// result puts together what the maker says and what is known here: the digest
// is that of the bytes that the maker was given.
func (l *layer) result(ctx context.Context, r *Result) (Result, error) {
	if r == nil || min(r.Size, r.Inodes, r.Entries, r.SkippedDevices, r.DroppedXattrs) < 0 {
		return Result{}, fault.New(fault.Invalid, "the unpack worker gave a malformed result")
	}
	// Who has read to the end has done so after the flow was settled.
	if !l.flow.settled() || l.flow.gone {
		l.maker.kill()
		return Result{}, fault.New(fault.Invalid, "the unpack worker was done before it had all of the layer")
	}
	if err := l.why(ctx, nil); err != nil {
		return Result{}, err
	}
	out := *r
	l.flow.into(&out)
	return out, nil
}

func (l *layer) close() {
	l.flow.stop()
	l.sock.Close()
	l.theirs.Close()
	l.ring.close()
	unix.Close(l.tree)
}
