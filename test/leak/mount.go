package leak

import (
	"fmt"
	"os"
	"strings"
)

// mount is one line of mountinfo (proc_pid_mountinfo(5)).
type mount struct {
	id, root, target, kind, source string
}

var escapes = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

func readMounts(pid int) []mount {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		return nil
	}
	var all []mount
	for line := range strings.Lines(string(data)) {
		left, right, ok := strings.Cut(line, " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if !ok || len(l) < 5 || len(r) < 2 {
			continue
		}
		all = append(all, mount{id: l[0], root: escapes.Replace(l[3]), target: escapes.Replace(l[4]),
			kind: r[0], source: escapes.Replace(r[1])})
	}
	return all
}

// takeMounts lists this process's own mounts that are in scope, and every
// mount of the other mount namespaces of processes of ours, each namespace
// once.
func takeMounts(s Snapshot, w *world) error {
	own, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return err
	}
	for _, m := range readMounts(w.self) {
		if w.cfg.Strict || w.cfg.below(m.target) || w.cfg.below(m.root) || w.cfg.below(m.source) {
			s.add(Mount, own+" "+m.id+" "+m.target, m.text())
		}
	}
	seen := map[string]bool{own: true}
	for _, p := range w.processes {
		ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", p.pid))
		if err != nil || !p.ours || seen[ns] {
			continue
		}
		seen[ns] = true
		for _, m := range readMounts(p.pid) {
			s.add(Mount, ns+" "+m.id+" "+m.target, m.text()+" in "+ns)
		}
	}
	return nil
}

func (m mount) text() string {
	return fmt.Sprintf("%s on %s (%s of %s)", m.kind, m.target, m.root, m.source)
}
