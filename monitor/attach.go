package monitor

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/monitor/wire"
)

// Want says which streams a client attaches to.
type Want struct {
	Stdin, Stdout, Stderr bool
	// Lossy: when the client does not keep up it loses output, which a line in
	// the stream tells. Else the container waits for it.
	Lossy bool
}

// Streams are the client's ends, nil where none was asked for. Output ends when
// the first process has ended; closing the streams detaches. With a terminal
// there is only Stdout.
type Streams struct {
	Stdin          *os.File
	Stdout, Stderr *os.File
}

// Close detaches.
func (s *Streams) Close() {
	for _, f := range []*os.File{s.Stdin, s.Stdout, s.Stderr} {
		if f != nil {
			f.Close()
		}
	}
}

// Attach joins a client to the first process's streams.
func (c *Conn) Attach(w Want) (_ *Streams, err error) {
	s := &Streams{}
	var theirs []*os.File
	defer func() { closeAll(theirs) }()
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	var fds []int
	for _, one := range []struct {
		asked bool
		ours  **os.File
		read  bool // we read
	}{{w.Stdin, &s.Stdin, false}, {w.Stdout, &s.Stdout, true}, {w.Stderr, &s.Stderr, true}} {
		if !one.asked {
			continue
		}
		ours, other, err := pipe(one.read)
		if err != nil {
			return nil, err
		}
		*one.ours = ours
		theirs = append(theirs, other)
		fds = append(fds, int(other.Fd()))
	}
	m := &wire.Attach{Stdin: w.Stdin, Stdout: w.Stdout, Stderr: w.Stderr, Lossy: w.Lossy}
	if err := c.call(wire.OpAttach, m, &wire.Nothing{}, fds...); err != nil {
		return nil, err
	}
	return s, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// pipe makes a pipe whose one end, of which we read or write, is for us.
func pipe(read bool) (ours, theirs *os.File, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, os.NewSyscallError("pipe2", err)
	}
	return ends(p[0], p[1], read)
}

// ends are those of a pipe: ours, of which we read or write and never wait for it, and
// theirs.
func ends(reader, writer int, read bool) (ours, theirs *os.File, err error) {
	mine, other := reader, writer
	if !read {
		mine, other = other, mine
	}
	if err := unix.SetNonblock(mine, true); err != nil {
		unix.Close(mine)
		unix.Close(other)
		return nil, nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(mine), "stream"), os.NewFile(uintptr(other), "stream"), nil
}

// Watch waits for one exit.
type Watch struct{ f *os.File }

// Watch registers for the next exit of the first process, or of an exec
// session; one that has ended already, not long ago, is told too. It is in
// force when it returns, so register before the start.
//
// With follow the watcher promises to do what follows the exit and to send a
// Verdict; if it goes away before, the monitor has it done by Words.Exited.
func (c *Conn) Watch(session string, follow bool) (*Watch, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	defer unix.Close(pair[1])
	if err := unix.SetNonblock(pair[0], true); err != nil {
		unix.Close(pair[0])
		return nil, os.NewSyscallError("fcntl", err)
	}
	w := &Watch{os.NewFile(uintptr(pair[0]), "watch")}
	if err := c.call(wire.OpWatch, &wire.Watch{Session: session, Follow: follow}, &wire.Nothing{}, pair[1]); err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

// Wait returns the exit. An error of kind Unavailable says that the monitor went
// away before it saw one.
func (w *Watch) Wait(ctx context.Context) (*Exit, error) {
	if err := w.f.SetReadDeadline(time.Time{}); err != nil { // of a Wait that was given up
		return nil, fmt.Errorf("wait for the exit: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = w.f.SetReadDeadline(time.Now()) })
	defer stop()
	var b [512]byte
	n, err := w.f.Read(b[:])
	if ctx.Err() != nil && err != nil {
		return nil, ctx.Err()
	}
	if err == io.EOF || err == nil && n == 0 {
		return nil, fault.New(fault.Unavailable, "wait for the exit: %w", errGone)
	}
	if err != nil {
		return nil, fmt.Errorf("wait for the exit: %w", err)
	}
	e := &Exit{}
	if err := wire.Decode(b[:n], e); err != nil {
		return nil, fmt.Errorf("understand the monitor: %w", err)
	}
	return e, nil
}

// Verdict tells the monitor what follows an exit that is Yours: it ends, or
// starts Words.Again after some time.
func (w *Watch) Verdict(again bool, after time.Duration) error {
	_, err := w.f.Write(wire.Request(wire.OpVerdict, &wire.Verdict{Again: again, After: uint64(after.Milliseconds())}))
	return err
}

// Close gives up waiting.
func (w *Watch) Close() error { return w.f.Close() }
