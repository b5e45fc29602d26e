package serve

import (
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"berth/monitor/logfile"
	"berth/monitor/wire"
)

// ended is the end of the first process, in the order in which it matters: its
// last words, the fact, those who wait, what follows.
func (m *monitor) ended(ws unix.WaitStatus, lost bool) {
	f := &m.first
	f.running = false
	killed := f.oomKilled(m.loop) // while the cgroup is there
	f.exit = exitOf(f.pid, ws)
	f.exit.OOM = killed
	if lost {
		f.exit.Code, f.exit.Signal, f.exit.Lost = lostCode, 0, true
	}
	if f.late {
		f.exit.Code, f.exit.Signal, f.exit.Lost = lateCode, 0, false
	}
	f.exit.Time = time.Now().UnixNano()
	m.loop.stop(m.due.health)
	m.loop.stop(m.due.kill)
	m.due.health, m.due.kill = nil, nil
	m.due.beside.drop()
	m.due.relay.release()
	m.streams.drain()
	f.exit.Incomplete = m.log.Lost() > 0
	if m.dismissed {
		m.streams.finish()
		m.end()
		return
	}
	writeExit(m.dir, &f.exit)
	m.streams.finish()
	m.watches.tellAll("", f.exit)
	m.follow()
}

// lostCode stands for an exit code that nobody saw.
const lostCode = 255

// lateCode is podman's for a process whose time was up.
const lateCode = 255

// follow has done what follows the exit, by a watcher that promised to or by the
// word for it.
func (m *monitor) follow() {
	if !m.watches.follow(m.first.exit) {
		m.words.run(m.cfg.Exited, m.obeyWord)
	}
}

func (m *monitor) obeyWord(answer string) {
	again, after := parseAnswer(answer)
	m.obey(again, after)
}

// obey does as it was told after an exit: start again after some ms, or end.
func (m *monitor) obey(again bool, after uint64) {
	if m.first.running {
		return // somebody has started it meanwhile
	}
	if !again || m.cfg.Again == nil {
		m.end()
		return
	}
	const longest = 24 * time.Hour
	d := min(time.Duration(min(after, uint64(longest/time.Millisecond)))*time.Millisecond, longest)
	m.due.again = m.loop.after(d, func() {
		m.due.again = nil
		run := m.first.run
		m.words.run(m.cfg.Again, func(answer string) {
			if m.first.run == run { // it could not start it
				m.obeyWord(answer)
			}
		})
	})
}

// limit kills the first process in so many ms, 0 never.
func (d *due) limit(m *monitor, ms uint64) {
	m.loop.stop(d.kill)
	d.kill = nil
	if ms == 0 {
		return
	}
	const longest = uint64(1<<63-1) / uint64(time.Millisecond)
	run := m.first.run
	d.kill = m.loop.after(time.Duration(min(ms, longest))*time.Millisecond, func() {
		d.kill = nil
		if m.first.running && m.first.run == run {
			m.first.late = true
			m.first.kill()
		}
	})
}

// kill ends a process that runs.
func (f *first) kill() {
	if f.pidfd >= 0 {
		_ = unix.PidfdSendSignal(f.pidfd, unix.SIGKILL, nil, 0)
		return
	}
	_ = unix.Kill(f.pid, unix.SIGKILL) // not reaped yet: the pid is its own
}

// startHealth counts from the start to the first check.
func (m *monitor) startHealth() {
	m.loop.stop(m.due.health)
	m.due.health = nil
	if m.cfg.Health != nil {
		m.checkIn(m.cfg.HealthAfter)
	}
}

// checkAgain is when a check is tried again of which nothing was heard, in ms.
const checkAgain = 30_000

func (m *monitor) checkIn(ms uint64) {
	run := m.first.run
	m.due.health = m.loop.after(time.Duration(ms)*time.Millisecond, func() {
		m.due.health = nil
		m.words.run(m.cfg.Health, func(answer string) {
			again, after := parseAnswer(answer)
			if answer == "" { // it could not be started, or failed
				again, after = true, checkAgain
			}
			if again && m.first.running && m.first.run == run && m.due.health == nil {
				m.checkIn(max(after, 1))
			}
		})
	})
}

// watchOOM reads the files that tell of OOM kills whenever one has changed: a scope of
// systemd's goes with its last process, and what they say with it.
func (f *first) watchOOM(l *loop) {
	for _, fd := range f.oom {
		_, _ = oomKills(fd) // of what comes after that the kernel tells
		_ = l.add(fd, unix.EPOLLPRI, func(uint32) {
			n, err := oomKills(fd)
			if f.killed = f.killed || n > 0; f.killed || err != nil {
				l.forget(fd)
			}
		})
	}
}

// oomKilled says whether one was, and closes the files.
func (f *first) oomKilled(l *loop) bool {
	for _, fd := range f.oom {
		n, _ := oomKills(fd)
		f.killed = f.killed || n > 0
		l.forget(fd)
		unix.Close(fd)
	}
	f.oom = nil
	return f.killed
}

// oomKills reads memory.events of cgroup v2 or memory.oom_control of v1; both have a
// line "oom_kill N".
func oomKills(fd int) (int, error) {
	var b [512]byte
	n, err := unix.Pread(fd, b[:], 0)
	if err != nil {
		return 0, err
	}
	return fieldOf(b[:n], "oom_kill"), nil
}

// fieldOf reads the number after a name that begins a line, 0 without.
func fieldOf(b []byte, name string) int {
	for len(b) > 0 {
		end := 0
		for end < len(b) && b[end] != '\n' {
			end++
		}
		line := string(b[:end])
		if len(line) > len(name)+1 && line[:len(name)] == name && line[len(name)] == ' ' {
			n, _ := strconv.Atoi(line[len(name)+1:])
			return n
		}
		b = b[min(end+1, len(b)):]
	}
	return 0
}

const reserve = "." + wire.ExitFact

// reserveExit makes room for the exit fact while there is some: a full /run
// does not lose it. What an earlier run left goes.
func reserveExit(dir int) error {
	fd, err := unix.Openat(dir, reserve, unix.O_WRONLY|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err == nil {
		var blank [256]byte
		for i := range blank {
			blank[i] = ' '
		}
		_, err = unix.Pwrite(fd, blank[:], 0)
		unix.Close(fd)
	}
	if err != nil {
		return &os.PathError{Op: "reserve the exit fact", Path: reserve, Err: err}
	}
	_ = unix.Unlinkat(dir, wire.ExitFact, 0)
	return nil
}

// writeExit writes the fact over the reserve and gives it its name. The folder
// may be gone: then nobody asks.
func writeExit(dir int, e *wire.Exit) {
	b := append([]byte(`{"version":1,"pid":`), strconv.Itoa(e.PID)...)
	b = append(append(b, `,"code":`...), strconv.Itoa(e.Code)...)
	b = append(append(b, `,"signal":`...), strconv.Itoa(e.Signal)...)
	b = strconv.AppendBool(append(b, `,"oom":`...), e.OOM)
	b = strconv.AppendBool(append(b, `,"lost":`...), e.Lost)
	b = strconv.AppendBool(append(b, `,"incomplete":`...), e.Incomplete)
	b = logfile.AppendTime(append(b, `,"time":"`...), time.Unix(0, e.Time))
	b = append(b, "\"}\n"...)
	fd, err := unix.Openat(dir, reserve, unix.O_WRONLY|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if n, err := unix.Pwrite(fd, b, 0); err != nil || n < len(b) {
		return
	}
	_ = unix.Ftruncate(fd, int64(len(b)))
	_ = unix.Renameat(dir, reserve, dir, wire.ExitFact)
}
