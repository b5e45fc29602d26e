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

// The roles of a process: the word after WorkerWord.
const (
	readerRole = "reader" // decompresses; it has no files at all
	makerRole  = "maker"  // makes the files of a layer from its plain tar
)

// process is one confined process.
type process struct {
	cmd     *exec.Cmd
	control *os.File
	sending sync.Mutex // one order at a time
	words   *tail      // what it said last on its standard error
	ended   chan struct{}
	waitErr error // read after ended
	closing sync.Once
}

// cloneFlags are the namespaces of a process.
const cloneFlags = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS

var starting sync.Mutex

// startProcess starts this program again and waits until it is confined.
func startProcess(ctx context.Context, role string, uids, gids []syscall.SysProcIDMap) (*process, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, fmt.Errorf("start the unpack worker: %w", err)
	}
	p := &process{control: ours, words: &tail{}, ended: make(chan struct{})}
	err = p.start(role, theirs, uids, gids)
	theirs.Close() // its end is then seen
	if err != nil {
		ours.Close()
		return nil, fmt.Errorf("start the unpack worker: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { ours.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	ours.SetReadDeadline(time.Now().Add(startPatience))
	var r reply
	if err := read(ours, make([]byte, maxMessage), &r); err != nil {
		err = p.whyEnded(err)
		p.kill()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, fmt.Errorf("start the unpack worker: %w", err)
	}
	if r.Fail != nil {
		p.kill()
		return nil, fmt.Errorf("start the unpack worker: %w", r.Fail.err())
	}
	return p, nil
}

func (p *process) start(role string, theirs *os.File, uids, gids []syscall.SysProcIDMap) error {
	// This program itself, whatever is at its path by now.
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{"berth", WorkerWord, role}
	cmd.Env = []string{}
	cmd.Dir = "/"
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Stderr = p.words
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: cloneFlags, UidMappings: uids, GidMappings: gids, GidMappingsEnableSetgroups: false, Setsid: true,
		// Who calls need not be root by these ids.
		Credential: &syscall.Credential{NoSetGroups: true},
	}
	// One at a time: until it is told its ids, a new process has everything open
	// that this one has. Two at once would have each other's pipes, and wait for
	// ever, with all locks, if this process were killed then.
	starting.Lock()
	err := cmd.Start()
	starting.Unlock()
	if err != nil {
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EINVAL) {
			return fault.New(fault.Unsupported, "make a user namespace: %w", err)
		}
		return err
	}
	p.cmd = cmd
	go func() {
		p.waitErr = cmd.Wait()
		close(p.ended)
	}()
	return nil
}

// order sends a layer's order with its descriptors, which stay the caller's.
func (p *process) order(o *order, first int, ring farRing, sock *os.File) error {
	return control(ring.mem, func(mem int) error {
		return control(ring.sock, func(bell int) error {
			return control(sock, func(sock int) error { return p.send(o, first, mem, bell, sock) })
		})
	})
}

func (p *process) send(o *order, fds ...int) error {
	text, err := json.Marshal(o)
	if err != nil {
		return err
	}
	p.sending.Lock()
	defer p.sending.Unlock()
	conn, err := p.control.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	err = conn.Write(func(fd uintptr) bool {
		serr = fdpass.Send(int(fd), text, fds...)
		return !errors.Is(serr, unix.EAGAIN)
	})
	if err != nil { // its only one: the descriptor was closed, by hangUp
		serr = os.ErrClosed
	}
	if serr != nil {
		return p.whyEnded(serr)
	}
	return nil
}

// whyEnded makes of a socket that closed the end of a process.
func (p *process) whyEnded(err error) error {
	if !errors.Is(err, io.EOF) && !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.ECONNRESET) && !errors.Is(err, os.ErrClosed) {
		return err
	}
	select {
	case <-p.ended:
	case <-time.After(endPatience):
		return fault.New(fault.Unavailable, "the unpack worker does not answer")
	}
	text := "exit status 0"
	if p.waitErr != nil {
		text = p.waitErr.Error()
	}
	if said := p.words.line(); said != "" {
		text += ": " + said
	}
	return fault.New(fault.Unavailable, "the unpack worker ended (%s)", text)
}

func (p *process) lives() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// hangUp tells the process to end.
func (p *process) hangUp() { p.closing.Do(func() { p.control.Close() }) }

func (p *process) kill() {
	p.hangUp()
	p.cmd.Process.Kill()
	<-p.ended
}

// close ends the process and waits for its end; one that does not end in a few
// seconds is killed.
func (p *process) close() {
	p.hangUp()
	select {
	case <-p.ended:
	case <-time.After(endPatience):
		p.cmd.Process.Kill()
		<-p.ended
	}
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
