package serve

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"berth/monitor/logfile"
	"berth/monitor/wire"
	"berth/sys/oom"
)

// maxAnswer bounds what is read of a word's answer.
const maxAnswer = 4 << 10

// words starts programs of the engine.
type words struct {
	family *family
	cfg    *wire.Config
	dir    int // the run folder
}

// run starts a program by its pinned path; done gets what it printed, "" if it
// could not be started or failed.
func (w *words) run(argv []string, done func(answer string)) {
	if len(argv) == 0 {
		done("")
		return
	}
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		done("")
		return
	}
	pid, err := w.spawn(argv, 0, p[1])
	unix.Close(p[1])
	if err != nil {
		unix.Close(p[0])
		done("")
		return
	}
	// What it prints fits a pipe, so it is read when the program has ended.
	w.family.track(pid, func(ws unix.WaitStatus) {
		var b [maxAnswer]byte
		_ = unix.SetNonblock(p[0], true)
		n, err := unix.Read(p[0], b[:])
		unix.Close(p[0])
		if err != nil || ws != 0 {
			n = 0
		}
		done(string(b[:max(n, 0)]))
	})
}

// parseAnswer reads the last line of a word's answer: "end", "again MS".
func parseAnswer(s string) (again bool, after uint64) {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	ms, ok := strings.CutPrefix(lines[len(lines)-1], "again ")
	if !ok {
		return false, 0
	}
	after, err := strconv.ParseUint(ms, 10, 63)
	return err == nil, after
}

// spawn executes a pinned program with the environment of the configuration.
// The file is checked and executed by one descriptor.
func (w *words) spawn(argv []string, stdin, stdout int) (pid int, err error) {
	fd, err := unix.Open(argv[0], unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, &os.PathError{Op: "open", Path: argv[0], Err: err}
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, os.NewSyscallError("fstat", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Mode&0o022 != 0 || st.Uid != 0 && int(st.Uid) != os.Geteuid() && st.Uid != strangers() {
		return 0, &os.PathError{Op: "check pinned program", Path: argv[0], Err: unix.EPERM}
	}
	errors := w.errors()
	defer unix.Close(errors)
	if w.cfg.OOMScoreAdj != w.cfg.ChildOOMScoreAdj {
		oom.TryAdjust(w.cfg.ChildOOMScoreAdj)
		defer oom.TryAdjust(w.cfg.OOMScoreAdj)
	}
	return syscall.ForkExec("/proc/self/fd/"+strconv.Itoa(fd), argv, &syscall.ProcAttr{
		Dir: "/", Env: w.cfg.Env, Files: []uintptr{uintptr(stdin), uintptr(stdout), uintptr(errors)},
		Sys: &syscall.SysProcAttr{Setsid: true},
	})
}

// strangers is the id that files of users show who are not in our user namespace,
// as host root's do in an ordinary user's: user_namespaces(7). In the host's
// namespace nobody is a stranger.
func strangers() uint32 {
	const nobody = 0 // is checked anyway
	var b [64]byte
	fd, err := unix.Open("/proc/self/uid_map", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nobody
	}
	n, err := unix.Read(fd, b[:])
	unix.Close(fd)
	if err != nil || slices.Equal(strings.Fields(string(b[:n])), []string{"0", "0", "4294967295"}) {
		return nobody
	}
	return overflowID
}

// overflowID is /proc/sys/kernel/overflowuid, which nobody changes.
const overflowID = 65534

// errors is where the last word's complaints go: a file in the run folder
// that each word begins anew, /dev/null if there can be none.
func (w *words) errors() int {
	fd, err := unix.Openat(w.dir, "monitor.err", unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		fd, _ = unix.Open("/dev/null", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	}
	return fd
}

// compress starts the compression of an old log file and reports whether it has
// begun; done is told how it ended.
func (w *words) compress(path string, done func(path string, ok bool)) bool {
	if len(w.cfg.Compress) == 0 {
		return false
	}
	from, err := unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(from)
	stage := path + logfile.Packed + ".tmp"
	to, err := unix.Open(stage, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o640)
	if err != nil {
		return false
	}
	defer unix.Close(to)
	pid, err := w.spawn(w.cfg.Compress, from, to)
	if err != nil {
		_ = unix.Unlink(stage)
		return false
	}
	w.family.track(pid, func(ws unix.WaitStatus) {
		ok := ws == 0 && unix.Rename(stage, path+logfile.Packed) == nil
		if !ok {
			_ = unix.Unlink(stage)
		}
		done(path, ok)
	})
	return true
}
