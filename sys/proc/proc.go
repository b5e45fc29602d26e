// Package proc reads what procfs says of a process: proc_pid_stat(5).
//
// It gives facts, no meaning: whether a pid is still the process that somebody
// recorded is decided by the caller, who compares start times. The boot id is
// base/clock's. Row 1.
package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// maxStat bounds a stat file: 52 numbers and a name of at most 64 bytes.
const maxStat = 4096

// Stat is a part of /proc/PID/stat.
type Stat struct {
	PID       int
	Comm      string // the name, any bytes but NUL
	State     byte   // R S D Z T t X x K W P I
	PPID      int
	StartTime uint64 // clock ticks (1/100 s) since boot: with PID and boot id it names one process
}

// Dead reports whether the process has ended, though its parent may not have
// asked for its exit status yet.
func (s *Stat) Dead() bool { return s.State == 'Z' || s.State == 'X' || s.State == 'x' }

// ReadStat reads /proc/PID/stat. The error unwraps to os.ErrNotExist if there
// is no such process.
func ReadStat(pid int) (*Stat, error) {
	path := "/proc/" + strconv.Itoa(pid) + "/stat"
	// Not by package os, which would ask whether the file can be polled.
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	defer unix.Close(fd)
	var buf [maxStat]byte
	n := 0
	for {
		m, err := unix.Read(fd, buf[n:])
		if err == unix.EINTR {
			continue
		}
		if err != nil || n+m == 0 {
			// ESRCH: it ended after the open.
			return nil, fmt.Errorf("read %s: %w", path, notThere(err))
		}
		if n += m; m == 0 || n == len(buf) {
			break
		}
	}
	s, err := ParseStat(buf[:n])
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return s, nil
}

// notThere makes one error of the ways in which procfs says that a process is
// gone; nil is the end of the file.
func notThere(err error) error {
	if err == nil || errors.Is(err, unix.ESRCH) {
		return os.ErrNotExist
	}
	return err
}

var errStat = errors.New("not the form of proc_pid_stat(5)")

// field numbers of proc_pid_stat(5), counted from the one after the name.
const (
	fieldState     = 0
	fieldPPID      = 1
	fieldStartTime = 19
)

// ParseStat parses the text of a stat file. The name is chosen by the process
// and may hold spaces, brackets and line breaks, so the last bracket ends it.
func ParseStat(b []byte) (*Stat, error) {
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 2 || end < open {
		return nil, errStat
	}
	pid, err := strconv.ParseUint(string(b[:open-1]), 10, 31)
	if err != nil || b[open-1] != ' ' {
		return nil, errStat
	}
	f := bytes.Fields(b[end+1:])
	if len(f) <= fieldStartTime || len(f[fieldState]) != 1 {
		return nil, errStat
	}
	ppid, err1 := strconv.ParseUint(string(f[fieldPPID]), 10, 31)
	start, err2 := strconv.ParseUint(string(f[fieldStartTime]), 10, 64)
	if err1 != nil || err2 != nil {
		return nil, errStat
	}
	return &Stat{
		PID: int(pid), Comm: string(b[open+1 : end]), State: f[fieldState][0],
		PPID: int(ppid), StartTime: start,
	}, nil
}
