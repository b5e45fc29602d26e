package initproc

import (
	"golang.org/x/sys/unix"

	"berth/runtime/account"
)

// process is the state that steps share.
type process struct {
	sock int   // to the parent; CLOEXEC
	fds  []int // the table that came with the plan; all CLOEXEC
	root int   // O_PATH directory of the container's root, -1 before OpenRoot
	// execPath is the program found by LookPath, in the container's root.
	execPath string
	home     string // what Home found, "" before
	// account is what Account found, nil without such a step.
	account *account.Account
	// groupsAsked: not all of its groups are those that the files say.
	groupsAsked bool
	// errors is a file that takes a failure once the parent has left, -1 before.
	errors int
	// console is the slave side of the container's terminal, -1 without one.
	console int
	attr    attrState // attr.go

	rootState // root.go
}

// fd returns the number behind an entry of the table.
func (p *process) fd(i FD) (int, error) {
	if i < 0 || int(i) >= len(p.fds) {
		return -1, unix.EBADF
	}
	return p.fds[i], nil
}

// failure is a step's error with words of its own, where errno is not enough.
type failure struct {
	what  string
	cause error
}

func (f *failure) Error() string {
	if f.cause == nil {
		return f.what
	}
	return f.what + ": " + f.cause.Error()
}

func (f *failure) Unwrap() error { return f.cause }

// fail builds an error without package fmt.
func fail(what string, cause error) error { return &failure{what: what, cause: cause} }

// writeProc writes to a file of the host's procfs, path relative to its root
// (for instance "thread-self/attr/exec"), in one write(2). The lookup may
// neither leave procfs nor follow magic links (security class V4).
func (p *process) writeProc(path string, data []byte) error {
	proc, err := p.fd(ProcFD)
	if err != nil {
		return err
	}
	fd, err := openat2(proc, path, &unix.OpenHow{
		Flags:   unix.O_WRONLY | unix.O_CLOEXEC | unix.O_NOCTTY,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	})
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	n, err := unix.Write(fd, data)
	if err == nil && n != len(data) {
		err = unix.EIO
	}
	return err
}

// openat2 retries the transient answers of openat2(2): EINTR, and EAGAIN when
// a rename raced with a scoped lookup.
func openat2(dir int, path string, how *unix.OpenHow) (int, error) {
	for try := 0; ; try++ {
		fd, err := unix.Openat2(dir, path, how)
		if (err == unix.EAGAIN || err == unix.EINTR) && try < 128 {
			continue
		}
		return fd, err
	}
}
