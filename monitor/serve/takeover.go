package serve

import (
	"bytes"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// takeOver looks after the first process of a monitor that died. It is not our
// child: its exit code is the kernel's to tell, see pidfdExit.
func (m *monitor) takeOver(pid int, start uint64) error {
	if m.cfg.Terminal {
		// The terminal went with the monitor that held it.
		m.cfg.Passthrough = true
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return &fault{"take over process " + strconv.Itoa(pid), err}
	}
	// Looked at after it was opened, so that both are of one process.
	if now, ok := startTime(pid); !ok || now != start {
		unix.Close(fd)
		return &fault{"take over process " + strconv.Itoa(pid), unix.ESRCH}
	}
	if err := m.streams.open(); err != nil {
		unix.Close(fd)
		return err
	}
	if err := reserveExit(m.dir); err != nil {
		unix.Close(fd)
		return err
	}
	m.first.pid, m.first.pidfd, m.first.running = pid, fd, true
	m.startHealth()
	m.due.limit(m, m.cfg.Life.Left)
	if m.forward != nil {
		m.forward.start()
	}
	return m.loop.add(fd, unix.EPOLLIN, func(uint32) { m.strangerEnded(0) })
}

// strangerEnded is the end of a process that is no child of ours. How it ended
// stands in procfs until its parent reaps it, and where the kernel keeps it
// behind the pidfd then; in between there is a moment with neither.
func (m *monitor) strangerEnded(tries int) {
	m.loop.forget(m.first.pidfd)
	ws, known := pidfdExit(m.first.pidfd)
	if !known {
		ws, known = zombieExit(m.first.pid, m.cfg.Lost.Start)
	}
	if !known && tries < 5 {
		m.loop.after(20*time.Millisecond, func() { m.strangerEnded(tries + 1) })
		return
	}
	m.loop.close(&m.first.pidfd)
	m.ended(ws, !known)
	m.settle()
}

// zombieExit reads the wait status of a process that was not reaped yet.
func zombieExit(pid int, start uint64) (ws unix.WaitStatus, ok bool) {
	const state, exitCode = 0, 49
	f := statFields(pid)
	if len(f) <= exitCode || string(f[state]) != "Z" || string(f[fieldStart]) != strconv.FormatUint(start, 10) {
		return 0, false
	}
	n, err := strconv.ParseUint(string(f[exitCode]), 10, 32)
	return unix.WaitStatus(n), err == nil
}

// pidfdExit asks for the wait status of a reaped process: PIDFD_GET_INFO with
// PIDFD_INFO_EXIT, since Linux 6.15.
func pidfdExit(fd int) (ws unix.WaitStatus, ok bool) {
	type pidfdInfo struct {
		mask, cgroup uint64
		pid, tgid    uint32
		ppid         uint32
		ids          [8]uint32
		exit         int32
	}
	const (
		infoExit = 1 << 3
		getInfo  = 3<<30 | 64<<16 | 0xFF<<8 | 11
	)
	info := pidfdInfo{mask: infoExit}
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), getInfo, uintptr(unsafe.Pointer(&info)))
	if e != 0 || info.mask&infoExit == 0 {
		return 0, false
	}
	return unix.WaitStatus(info.exit), true
}

// statFields are the fields of proc_pid_stat(5) after the name, nil without the
// process; package proc links fmt.
func statFields(pid int) [][]byte {
	fd, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/stat", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	b := make([]byte, 4096)
	n, err := unix.Read(fd, b)
	if err != nil || n <= 0 {
		return nil
	}
	return bytes.Fields(b[bytes.LastIndexByte(b[:n], ')')+1 : n])
}

const fieldStart = 19

func startTime(pid int) (uint64, bool) {
	f := statFields(pid)
	if len(f) <= fieldStart {
		return 0, false
	}
	n, err := strconv.ParseUint(string(f[fieldStart]), 10, 64)
	return n, err == nil
}

// sigPID is the pid of a siginfo_t that waitid(2) filled; on machines of 64 bits
// it stands at 16.
func sigPID(info *unix.Siginfo) int {
	return int(*(*int32)(unsafe.Add(unsafe.Pointer(info), 16)))
}
