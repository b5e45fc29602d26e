package initproc

import (
	"errors"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// WaitStart tells the parent that the container is created, ends with the parent
// unless that says that the container is on record, and blocks until
// somebody writes a byte to the start FIFO ("created" → "running" in the
// runtime-spec's words). The descriptor is open for reading and writing, so
// that there is always a reader and a writer while we wait: whoever opens the
// FIFO for writing without blocking learns that the process still waits.
type WaitStart struct {
	FIFO FD
	// Errors is a file that takes what goes wrong after the parent has left.
	Errors FD
}

func (s *WaitStart) Name() string  { return "wait for start" }
func (s *WaitStart) op() op        { return opWaitStart }
func (s *WaitStart) wire(c *coder) { wireFD(c, &s.FIFO); wireFD(c, &s.Errors) }

func (s *WaitStart) do(p *process) error {
	fifo, err := p.fd(s.FIFO)
	if err != nil {
		return err
	}
	if p.errors, err = p.fd(s.Errors); err != nil {
		return err
	}
	if err := p.send(FrameWait, nil); err != nil {
		return err
	}
	if err := p.waitByte(); err != nil {
		return err
	}
	var b [1]byte
	for {
		n, err := unix.Read(fifo, b[:])
		if err == unix.EINTR {
			continue
		}
		if err == nil && n != 1 {
			err = unix.EPIPE
		}
		return err
	}
}

// Workdir changes into the process's working directory, as the user that the
// process will be, and makes sure that it lies inside the container's root: a
// directory reached through a leaked descriptor has no path there, and getcwd(2)
// then fails or answers "(unreachable)" (security class V2).
type Workdir struct{ Path string }

func (s *Workdir) Name() string  { return "change to working directory " + strconv.Quote(s.Path) }
func (s *Workdir) op() op        { return opWorkdir }
func (s *Workdir) wire(c *coder) { c.Str(&s.Path) }

func (s *Workdir) do(p *process) error {
	if err := unix.Chdir(s.Path); err != nil {
		return err
	}
	return checkCwd()
}

func checkCwd() error {
	if !guardCwd {
		return nil
	}
	cwd, err := unix.Getwd()
	if err == unix.ENOENT || err == nil && !strings.HasPrefix(cwd, "/") {
		return errors.New("it is outside the container's root")
	}
	return err
}

// LookPath finds the program before the process waits for start, so that
// create can say that it does not exist.
type LookPath struct {
	File string // argv[0]
	Path string // the value of PATH in the container's environment
}

func (s *LookPath) Name() string  { return "exec: " + strconv.Quote(s.File) }
func (s *LookPath) op() op        { return opLookPath }
func (s *LookPath) wire(c *coder) { c.Str(&s.File); c.Str(&s.Path) }

func (s *LookPath) do(p *process) error {
	if strings.Contains(s.File, "/") {
		p.execPath = s.File
		if err := executable(s.File); err != nil {
			return execError(err)
		}
		return nil
	}
	denied := false
	for _, dir := range strings.Split(s.Path, ":") {
		if dir == "" {
			dir = "."
		}
		path := dir + "/" + s.File
		switch err := executable(path); err {
		case nil:
			p.execPath = path
			return nil
		case unix.EACCES:
			denied = true
		}
	}
	if denied {
		return &causeError{cause: CauseNoExec, err: unix.EACCES}
	}
	return &causeError{cause: CauseNotFound, err: errors.New("executable file not found in $PATH")}
}

// executable reports whether path is a file that may be executed by somebody;
// execve(2) has the last word.
func executable(path string) error {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return unix.EACCES // as execve(2) says
	}
	if st.Mode&0o111 == 0 {
		return unix.EACCES
	}
	return nil
}

// EnterCgroup moves the process into a cgroup at the last moment: one whose
// limit on processes has no room for the helper's threads. File is a v1 `tasks`
// file, which takes the main thread alone, or a v2 cgroup.procs.
type EnterCgroup struct{ File FD }

func (s *EnterCgroup) Name() string  { return "enter the cgroup of processes" }
func (s *EnterCgroup) op() op        { return opEnterCgroup }
func (s *EnterCgroup) wire(c *coder) { wireFD(c, &s.File) }

func (s *EnterCgroup) do(p *process) error {
	fd, err := p.fd(s.File)
	if err != nil {
		return err
	}
	_, err = unix.Write(fd, []byte("0"))
	return err
}

// Exec replaces the helper by the user's program: execve(2).
type Exec struct {
	Args []string
	Env  []string
	// Keep is how many descriptors after 2 the program inherits; all others get
	// close-on-exec (close_range(2)).
	Keep int
	// Block has the program begin with all signals blocked, for one that unblocks
	// them when it is ready: package reaper.
	Block bool
}

func (s *Exec) Name() string {
	if len(s.Args) == 0 {
		return "execute nothing"
	}
	return "exec: " + strconv.Quote(s.Args[0])
}
func (s *Exec) op() op        { return opExec }
func (s *Exec) wire(c *coder) { c.Strs(&s.Args); c.Strs(&s.Env); c.Int(&s.Keep); c.Bool(&s.Block) }

func (s *Exec) do(p *process) error {
	if len(s.Args) == 0 || p.execPath == "" {
		return unix.EINVAL
	}
	if guardCloseFDs {
		if err := unix.CloseRange(uint(3+s.Keep), maxFD, unix.CLOSE_RANGE_CLOEXEC); err != nil {
			return fail("close descriptors", err)
		}
	}
	for fd := 3; fd < 3+s.Keep; fd++ {
		// A hook may have run, see RunHook.
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return fail("pass on descriptor "+strconv.Itoa(fd), err)
		}
	}
	env := s.Env
	if p.home != "" {
		env = append(env, "HOME="+p.home)
	}
	if s.Block {
		all := unix.Sigset_t{}
		for i := range all.Val {
			all.Val[i] = ^all.Val[i]
		}
		if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, nil); err != nil {
			return fail("block signals", err)
		}
	}
	return p.execve(p.execPath, s.Args, env)
}

// maxFD is the largest descriptor that close_range(2) takes.
const maxFD = 1<<31 - 1

// execError sorts the answers of execve(2) as shells do: 127 not found, 126
// found but not executable.
func execError(err error) error {
	switch err {
	case unix.ENOENT, unix.ENOTDIR:
		return &causeError{cause: CauseNotFound, err: err}
	}
	return &causeError{cause: CauseNoExec, err: err}
}
