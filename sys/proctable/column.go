package proctable

import (
	"fmt"
	"strconv"
	"time"
)

// find returns the column of a name of ps -o.
func find(name string) (column, bool) {
	for _, a := range aliases {
		if a.alias == name {
			name = a.name
		}
	}
	for _, c := range columns() {
		if c.name == name {
			return c, true
		}
	}
	return column{}, false
}

// aliases are further names of columns; a list, because a map would be built at
// each start of the program.
var aliases = []struct{ alias, name string }{
	{"cmd", "args"}, {"command", "args"}, {"ucmd", "comm"}, {"uname", "user"}, {"euser", "user"}, {"euid", "uid"},
	{"egid", "gid"}, {"%cpu", "pcpu"}, {"%mem", "pmem"}, {"vsize", "vsz"}, {"rssize", "rss"}, {"tt", "tty"},
	{"tname", "tty"}, {"cputime", "time"}, {"start_time", "stime"}, {"bsdstart", "start"}, {"nice", "ni"},
	{"state", "s"}, {"thcount", "nlwp"}, {"sess", "sid"}, {"session", "sid"}, {"pgrp", "pgid"},
}

// columns is the table of columns with the widths of procps.
func columns() []column {
	number := func(get func(*process) int64) func(*process, *host) string {
		return func(p *process, _ *host) string { return strconv.FormatInt(get(p), 10) }
	}
	return []column{
		{"pid", "PID", true, 7, number(func(p *process) int64 { return p.pid })},
		{"ppid", "PPID", true, 7, number(func(p *process) int64 { return p.ppid })},
		{"pgid", "PGID", true, 7, number(func(p *process) int64 { return p.pgid })},
		{"sid", "SID", true, 7, number(func(p *process) int64 { return p.sid })},
		{"uid", "UID", true, 5, number(func(p *process) int64 { return p.uid })},
		{"gid", "GID", true, 5, number(func(p *process) int64 { return p.gid })},
		{"nlwp", "NLWP", true, 4, number(func(p *process) int64 { return p.threads })},
		{"pri", "PRI", true, 3, number(func(p *process) int64 { return 39 - p.priority })},
		{"ni", "NI", true, 3, number(func(p *process) int64 { return p.nice })},
		{"vsz", "VSZ", true, 6, number(func(p *process) int64 { return p.vsz >> 10 })},
		{"rss", "RSS", true, 5, number(func(p *process) int64 { return p.rss >> 10 })},
		{"user", "USER", false, 8, func(p *process, h *host) string { return h.user(p.uid) }},
		{"group", "GROUP", false, 8, func(p *process, h *host) string { return h.group(p.gid) }},
		{"tty", "TTY", false, 8, func(p *process, _ *host) string { return terminal(p.tty) }},
		{"s", "S", false, 1, func(p *process, _ *host) string { return p.state }},
		{"stat", "STAT", false, 4, func(p *process, _ *host) string { return p.stat() }},
		{"comm", "COMMAND", false, 15, func(p *process, _ *host) string { return p.comm }},
		{"args", "COMMAND", false, 27, func(p *process, _ *host) string { return p.args() }},
		{"c", "C", true, 2, func(p *process, h *host) string { return strconv.Itoa(min(99, h.cpuPermille(p)/10)) }},
		{"pcpu", "%CPU", true, 4, func(p *process, h *host) string { return tenths(h.cpuPermille(p)) }},
		{"pmem", "%MEM", true, 4, func(p *process, h *host) string { return tenths(h.memPermille(p)) }},
		{"stime", "STIME", false, 5, func(p *process, h *host) string { return h.clock(p) }},
		{"start", "START", false, 5, func(p *process, h *host) string { return h.clock(p) }},
		{"lstart", "STARTED", true, 24, func(p *process, h *host) string { return h.started(p).Format(time.ANSIC) }},
		{"etime", "ELAPSED", true, 11, func(p *process, h *host) string { return elapsed(h.age(p)) }},
		{"etimes", "ELAPSED", true, 7, func(p *process, h *host) string { return strconv.Itoa(int(h.age(p) / time.Second)) }},
		{"time", "TIME", true, 8, func(p *process, _ *host) string { return cpuTime(p.cpu) }},
		{"bsdtime", "TIME", true, 6, func(p *process, _ *host) string { return bsdTime(p.cpu) }},
	}
}

func tenths(permille int) string { return fmt.Sprintf("%d.%d", permille/10, permille%10) }

// cpuTime is [DD-]HH:MM:SS.
func cpuTime(d time.Duration) string {
	s := int64(d / time.Second)
	text := fmt.Sprintf("%02d:%02d:%02d", s/3600%24, s/60%60, s%60)
	if days := s / 86400; days > 0 {
		return fmt.Sprintf("%d-%s", days, text)
	}
	return text
}

// bsdTime is MMM:SS.
func bsdTime(d time.Duration) string {
	s := int64(d / time.Second)
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

// elapsed is [[DD-]HH:]MM:SS.
func elapsed(d time.Duration) string {
	if d < time.Hour {
		s := int64(d / time.Second)
		return fmt.Sprintf("%02d:%02d", s/60, s%60)
	}
	return cpuTime(d)
}

// terminal names a tty by its device number (proc_pid_stat(5), field 7).
func terminal(number int64) string {
	major := number >> 8 & 0xfff
	minor := number&0xff | number>>12&0xfff00
	switch {
	case number == 0:
		return "?"
	case major >= 136 && major <= 143: // Unix98 ptys
		return "pts/" + strconv.FormatInt((major-136)<<8|minor, 10)
	case major == 4 && minor < 64:
		return "tty" + strconv.FormatInt(minor, 10)
	case major == 4:
		return "ttyS" + strconv.FormatInt(minor-64, 10)
	case major == 5 && minor == 1:
		return "console"
	}
	return fmt.Sprintf("%d:%d", major, minor)
}
