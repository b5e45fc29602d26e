package leak

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// process is what /proc tells of one (proc(5)).
type process struct {
	pid, ppid int
	start     string // in clock ticks since boot
	comm      string
	state     byte
	kernel    bool
	ours      bool
}

// world is the machine as seen once: all processes, and which are in scope.
type world struct {
	cfg       Config
	self      int
	processes map[int]*process
}

// pfKthread is PF_KTHREAD of include/linux/sched.h.
const pfKthread = 0x00200000

func scan(cfg Config) (*world, error) {
	w := &world{cfg: cfg, self: os.Getpid(), processes: map[int]*process{}}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if p := readProcess(pid); p != nil {
			w.processes[pid] = p
		}
	}
	token := []byte(marker + "=" + cfg.Token + "\x00")
	for _, p := range w.processes {
		if p.kernel || p.pid == w.self {
			continue
		}
		p.ours = cfg.Strict || w.descends(p) || marked(p.pid, token) || w.placed(p.pid)
	}
	return w, nil
}

// readProcess reads /proc/PID/stat; nil when the process is gone.
func readProcess(pid int) *process {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	text := string(data)
	open, end := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return nil
	}
	f := strings.Fields(text[end+1:])
	if len(f) < 20 {
		return nil
	}
	p := &process{pid: pid, comm: text[open+1 : end], state: f[0][0], start: f[19]}
	p.ppid, _ = strconv.Atoi(f[1])
	flags, _ := strconv.ParseUint(f[6], 10, 64)
	p.kernel = flags&pfKthread != 0
	return p
}

func (w *world) descends(p *process) bool {
	for range 1000 {
		if p.ppid == w.self {
			return true
		}
		next := w.processes[p.ppid]
		if next == nil || next == p {
			return false
		}
		p = next
	}
	return false
}

func marked(pid int, token []byte) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	return err == nil && bytes.Contains(append([]byte{0}, data...), append([]byte{0}, token...))
}

// placed tells whether a process's root or working folder is below the
// folders, or its cgroup has one of the names.
func (w *world) placed(pid int) bool {
	for _, link := range []string{"root", "cwd"} {
		target, err := os.Readlink(fmt.Sprintf("/proc/%d/%s", pid, link))
		if err == nil && w.cfg.below(strings.TrimSuffix(target, " (deleted)")) {
			return true
		}
	}
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	for line := range strings.Lines(string(data)) {
		path := line[strings.LastIndexByte(line, ':')+1:]
		for _, part := range strings.Split(strings.TrimSpace(path), "/") {
			if w.cfg.named(part) {
				return true
			}
		}
	}
	return false
}

func takeProcesses(s Snapshot, w *world) {
	for _, p := range w.processes {
		if p.state == 'Z' && p.ppid == 1 {
			continue // it has ended; the machine's init takes its time to notice
		}
		if p.ours {
			s.add(Process, fmt.Sprintf("%d %s", p.pid, p.start),
				fmt.Sprintf("%d (%s) state %c parent %d", p.pid, p.comm, p.state, p.ppid))
		}
	}
}

// namespaceKinds are the entries of /proc/PID/ns that name a namespace.
var namespaceKinds = []string{"user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time"}

// takeNamespaces lists the namespaces that processes of ours are in or hold
// open, and those that threads of this process are in or hold open.
func takeNamespaces(s Snapshot, w *world) {
	for ns, holder := range w.namespaces() {
		s.add(Namespace, ns, ns+" "+holder)
	}
	for _, m := range readMounts(w.self) {
		if m.kind == "nsfs" && (w.cfg.Strict || w.cfg.below(m.target)) {
			s.add(Namespace, m.root, m.root+" mounted on "+m.target)
		}
	}
}

// namespaces maps each namespace in scope, as in "net:[4026531840]", to a
// word about who holds it.
func (w *world) namespaces() map[string]string {
	held := map[string]string{}
	for _, p := range w.processes {
		if !p.ours && p.pid != w.self {
			continue
		}
		who := fmt.Sprintf("of process %d (%s)", p.pid, p.comm)
		tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", p.pid))
		for _, t := range tasks {
			for _, kind := range namespaceKinds {
				if ns, err := os.Readlink(fmt.Sprintf("/proc/%d/task/%s/ns/%s", p.pid, t.Name(), kind)); err == nil {
					held[ns] = who
				}
			}
		}
		fds, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.pid))
		for _, f := range fds {
			ns, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", p.pid, f.Name()))
			kind, _, ok := strings.Cut(ns, ":[")
			if err == nil && ok && isNamespace(kind) {
				if _, known := held[ns]; !known {
					held[ns] = "open in " + strings.TrimPrefix(who, "of ")
				}
			}
		}
	}
	return held
}

func isNamespace(kind string) bool {
	for _, k := range namespaceKinds {
		if k == kind {
			return true
		}
	}
	return false
}

// takeFDs lists this process's open files by target, with their count, less
// the ones that the Go runtime opens when it likes.
func takeFDs(s Snapshot, _ *world) error {
	looking.Lock()
	defer looking.Unlock()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	count := map[string]int{}
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name()))
		if errors.Is(err, fs.ErrNotExist) || target == fmt.Sprintf("/proc/%d/fd", os.Getpid()) {
			continue // the one that lists them
		}
		if err != nil {
			return err
		}
		switch target {
		case "anon_inode:[eventpoll]", "anon_inode:[eventfd]":
			continue
		}
		count[target]++
		n := count[target]
		s.add(FD, fmt.Sprintf("%s #%d", target, n), fmt.Sprintf("%s (number %s)", target, e.Name()))
	}
	return nil
}
