package proctable

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"
)

const (
	tick     = time.Second / 100 // USER_HZ is 100 on every architecture of ours
	maxRead  = 64 << 10
	maxWords = 4096 // bytes of a command line that are shown
)

// process is what /proc says of one process.
type process struct {
	pid, ppid, pgid, sid int64
	uid, gid             int64
	tty, foreground      int64
	priority, nice       int64
	threads, vsz, rss    int64
	state, comm, line    string
	cpu                  time.Duration // user and system time
	start                time.Duration // after boot
}

// readFile reads the first maxRead bytes of a file.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxRead))
}

func readProcess(pid int) (*process, error) {
	dir := "/proc/" + strconv.Itoa(pid)
	var st syscall.Stat_t
	if err := syscall.Stat(dir, &st); err != nil {
		return nil, err
	}
	stat, err := readFile(dir + "/stat")
	if err != nil {
		return nil, err
	}
	p, err := parseStat(stat)
	if err != nil {
		return nil, err
	}
	p.uid, p.gid = int64(st.Uid), int64(st.Gid)
	if status, err := readFile(dir + "/status"); err == nil {
		p.ids(status)
	}
	line, _ := readFile(dir + "/cmdline")
	p.line = printable(strings.TrimRight(string(bytes.ReplaceAll(line, []byte{0}, []byte{' '})), " "))
	return p, nil
}

// parseStat reads /proc/PID/stat: proc_pid_stat(5). The name in parentheses may
// hold any byte, parentheses too.
func parseStat(b []byte) (*process, error) {
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 0 || end < open {
		return nil, fmt.Errorf("stat %.40q: no name in it", b)
	}
	fields := strings.Fields(string(b[end+1:]))
	if len(fields) < 22 {
		return nil, fmt.Errorf("stat %.40q: only %d fields", b, len(fields)+2)
	}
	// n is a field by its number in the manual.
	n := func(field int) int64 {
		v, _ := strconv.ParseInt(fields[field-3], 10, 64)
		return v
	}
	pid, err := strconv.ParseInt(strings.TrimSpace(string(b[:open])), 10, 32)
	if err != nil {
		return nil, fmt.Errorf("stat %.40q: no process id", b)
	}
	return &process{
		pid: pid, comm: printable(string(b[open+1 : end])), state: fields[0],
		ppid: n(4), pgid: n(5), sid: n(6), tty: n(7), foreground: n(8),
		cpu:      time.Duration(n(14)+n(15)) * tick,
		priority: n(18), nice: n(19), threads: n(20),
		start: time.Duration(n(22)) * tick,
		vsz:   n(23), rss: n(24) * int64(os.Getpagesize()),
	}, nil
}

// ids reads the effective ids from /proc/PID/status: the owner of the folder is
// root for a process that is not dumpable.
func (p *process) ids(status []byte) {
	for _, line := range strings.Split(string(status), "\n") {
		name, rest, _ := strings.Cut(line, ":")
		f := strings.Fields(rest)
		if len(f) < 2 {
			continue
		}
		if v, err := strconv.ParseInt(f[1], 10, 64); err == nil {
			switch name {
			case "Uid":
				p.uid = v
			case "Gid":
				p.gid = v
			}
		}
	}
}

// printable replaces what could steer a terminal, as ps does.
func printable(s string) string {
	if len(s) > maxWords {
		s = s[:maxWords]
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// args is the command line, or the name in brackets if there is none.
func (p *process) args() string {
	switch {
	case p.line != "":
		return p.line
	case p.state == "Z":
		return "[" + p.comm + "] <defunct>"
	}
	return "[" + p.comm + "]"
}

// stat is the state with the signs of ps aux.
func (p *process) stat() string {
	s := p.state
	switch {
	case p.nice < 0:
		s += "<"
	case p.nice > 0:
		s += "N"
	}
	if p.sid == p.pid {
		s += "s"
	}
	if p.threads > 1 {
		s += "l"
	}
	if p.foreground == p.pgid {
		s += "+"
	}
	return s
}

// host is what the columns need of the machine.
type host struct {
	now    time.Time
	uptime time.Duration
	memory int64 // bytes
	names  map[string]string
}

func readHost() *host {
	h := &host{now: time.Now(), names: map[string]string{}}
	if b, err := readFile("/proc/uptime"); err == nil {
		if f := strings.Fields(string(b)); len(f) > 0 {
			s, _ := strconv.ParseFloat(f[0], 64)
			h.uptime = time.Duration(s * float64(time.Second))
		}
	}
	if b, err := readFile("/proc/meminfo"); err == nil {
		if f := strings.Fields(string(b)); len(f) > 1 {
			kib, _ := strconv.ParseInt(f[1], 10, 64)
			h.memory = kib << 10
		}
	}
	return h
}

func (h *host) age(p *process) time.Duration { return max(0, h.uptime-p.start) }

func (h *host) started(p *process) time.Time { return h.now.Add(-h.age(p)) }

// clock is when a process began: the time of day, older than a day the date,
// of another year that year.
func (h *host) clock(p *process) string {
	t := h.started(p)
	switch {
	case t.Year() != h.now.Year():
		return t.Format("2006")
	case h.age(p) > 24*time.Hour || t.YearDay() != h.now.YearDay():
		return t.Format("Jan02")
	}
	return t.Format("15:04")
}

func (h *host) cpuPermille(p *process) int {
	if age := h.age(p); age > 0 {
		return int(1000 * p.cpu / age)
	}
	return 0
}

func (h *host) memPermille(p *process) int {
	if h.memory == 0 {
		return 0
	}
	return int(1000 * p.rss / h.memory)
}

func (h *host) user(uid int64) string {
	return h.name("u", uid, func(id string) (string, error) {
		u, err := user.LookupId(id)
		if err != nil {
			return "", err
		}
		return u.Username, nil
	})
}

func (h *host) group(gid int64) string {
	return h.name("g", gid, func(id string) (string, error) {
		g, err := user.LookupGroupId(id)
		if err != nil {
			return "", err
		}
		return g.Name, nil
	})
}

// name looks an id up once.
func (h *host) name(kind string, n int64, look func(string) (string, error)) string {
	id := strconv.FormatInt(n, 10)
	if s, ok := h.names[kind+id]; ok {
		return s
	}
	s, err := look(id)
	if err != nil || s == "" {
		s = id
	}
	s = printable(s)
	h.names[kind+id] = s
	return s
}
