package console

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// How long Close waits for output of processes that outlive the one that was
// waited for: each silence, and in all.
const (
	drainSilence = 100 * time.Millisecond
	drainTotal   = 2 * time.Second
)

// Relay copies between a terminal's master and the caller's streams.
type Relay struct {
	master  *os.File
	in, out *os.File
	restore func()
	stop    *os.File // its closing ends the input loop
	stopped chan struct{}
	closing atomic.Int64 // the time when draining has to end, in ns; 0 before
	done    sync.WaitGroup
	input   sync.WaitGroup
}

// Attach begins to relay: in → master, master → out. master must be
// non-blocking; it becomes the relay's. A terminal at in is put into raw mode
// until Close, and its size, or that of one at out, is given to master now and
// at each value on resize.
//
// Output processing is left to the caller's terminal, so that what a pipe at
// out receives has plain line ends, as with runc.
func Attach(master, in, out *os.File, resize <-chan struct{}) (*Relay, error) {
	r := &Relay{master: master, in: in, out: out, stopped: make(chan struct{})}
	ok := false
	defer func() {
		if !ok {
			master.Close()
		}
	}()
	if err := onMaster(master, clearONLCR); err != nil {
		return nil, fmt.Errorf("set up the terminal: %w", err)
	}
	stopR, stopW, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("attach to the terminal: %w", err)
	}
	r.stop = stopW
	if r.restore, err = makeRaw(in); err != nil {
		stopR.Close()
		stopW.Close()
		return nil, fmt.Errorf("put the terminal into raw mode: %w", err)
	}
	ok = true
	r.resize()
	r.done.Add(1)
	go r.copyOut()
	r.input.Add(2)
	go r.copyIn(stopR)
	go r.followSize(resize)
	return r, nil
}

// Close waits until the remaining output is written, gives the caller's
// terminal its old mode back and closes the master. It may be called on nil.
func (r *Relay) Close() error {
	if r == nil {
		return nil
	}
	r.closing.Store(time.Now().Add(drainTotal).UnixNano())
	_ = r.master.SetReadDeadline(time.Now().Add(drainSilence))
	r.done.Wait()
	close(r.stopped)
	r.stop.Close()
	_ = r.master.SetWriteDeadline(time.Now())
	r.input.Wait()
	r.restore()
	return r.master.Close()
}

// copyOut ends when the last process has closed the terminal (EIO), or, during
// Close, when those that still have it open are silent.
func (r *Relay) copyOut() {
	defer r.done.Done()
	buf := make([]byte, 32<<10)
	broken := false
	for {
		n, err := r.master.Read(buf)
		if n > 0 && !broken {
			// A caller that does not listen must not stop the process: its output
			// is read and dropped, as that of a terminal that hung up.
			_, werr := r.out.Write(buf[:n])
			broken = werr != nil
		}
		end := r.closing.Load()
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		if end == 0 {
			continue
		}
		if err != nil || time.Now().UnixNano() > end {
			return
		}
		_ = r.master.SetReadDeadline(time.Now().Add(drainSilence))
	}
}

// copyIn sleeps in poll(2), which Close can end; a read of a terminal could
// not be ended.
func (r *Relay) copyIn(stop *os.File) {
	defer r.input.Done()
	defer stop.Close()
	in := int(r.in.Fd())
	fds := []unix.PollFd{{Fd: int32(in), Events: unix.POLLIN}, {Fd: int32(stop.Fd()), Events: unix.POLLIN}}
	buf := make([]byte, 4<<10)
	for {
		if _, err := unix.Poll(fds, -1); err != nil {
			if err == unix.EINTR {
				continue
			}
			return
		}
		if fds[1].Revents != 0 {
			return
		}
		n, err := unix.Read(in, buf)
		if err == unix.EINTR || err == unix.EAGAIN {
			continue
		}
		if n <= 0 {
			return // end of input; the process goes on without
		}
		if _, err := r.master.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (r *Relay) followSize(resize <-chan struct{}) {
	defer r.input.Done()
	for {
		select {
		case <-resize:
			r.resize()
		case <-r.stopped:
			return
		}
	}
}

// resize gives the master the size of the caller's terminal, if there is one.
func (r *Relay) resize() {
	for _, f := range []*os.File{r.in, r.out} {
		size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
		if err != nil || size.Row == 0 && size.Col == 0 {
			continue
		}
		_ = onMaster(r.master, func(fd int) error { return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, size) })
		return
	}
}

// onMaster runs do on the number of f without making f blocking, as Fd would.
func onMaster(f *os.File, do func(fd int) error) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := c.Control(func(fd uintptr) { inner = do(int(fd)) }); err != nil {
		return err
	}
	return inner
}

func clearONLCR(fd int) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	t.Oflag &^= unix.ONLCR
	return unix.IoctlSetTermios(fd, unix.TCSETS, t)
}

// makeRaw puts a terminal into raw mode, but for output processing, and returns
// what undoes it. Anything but a terminal is left alone.
func makeRaw(f *os.File) (restore func(), err error) {
	fd := int(f.Fd())
	old, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return func() {}, nil
	}
	raw := *old
	raw.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	raw.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	raw.Cflag &^= unix.CSIZE | unix.PARENB
	raw.Cflag |= unix.CS8
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &raw); err != nil {
		return nil, err
	}
	return func() { _ = unix.IoctlSetTermios(fd, unix.TCSETS, old) }, nil
}
