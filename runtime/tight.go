package runtime

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"berth/runtime/cgroup"
	"berth/runtime/plan"
)

// helperTasks is how many tasks the helper may need until it is the user's
// program: the Go runtime's threads. A limit on processes counts them.
const helperTasks = 16

// splitPids takes a tight limit on processes out of the resources that are set
// at first.
func (d *design) splitPids() {
	r := d.spec.Linux.Resources
	if r == nil || r.Pids == nil || r.Pids.Limit == nil || *r.Pids.Limit <= 0 || *r.Pids.Limit >= helperTasks {
		return
	}
	first := *r
	first.Pids = nil
	d.latePids = r.Pids
	d.spec.Linux.Resources = &first
}

// lateEntry lets an exec enter the cgroup that counts processes as its last
// step, so that the helper's threads do not meet its limit. With v1 that is
// free and always done. With v2 the move is slow, and done only when the limit
// is near.
type lateEntry struct {
	none bool     // nothing is entered late
	dir  string   // v1: the container's pids cgroup; v2: "" until divide
	file *os.File // what is written
}

func newLateEntry(cg *cgroup.Cgroup) lateEntry {
	if dir, ok := cg.Paths()["pids"]; ok && cg.Mode() != cgroup.V2 {
		return lateEntry{dir: dir}
	}
	return lateEntry{none: cg.Mode() != cgroup.V2 || !tight(cg.Unified())}
}

// tight reports whether a v2 cgroup may have no room for the helper's threads.
func tight(dir string) bool {
	if dir == "" {
		return false
	}
	limit, err := readNumber(filepath.Join(dir, "pids.max"))
	if err != nil {
		return false // "max", or no such limit
	}
	now, err := readNumber(filepath.Join(dir, "pids.current"))
	return err == nil && limit-now < helperTasks
}

func readNumber(path string) (int64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
}

// divide keeps what is entered late and returns the rest.
func (e *lateEntry) divide(tasks []*os.File, dir *os.File) ([]*os.File, *os.File, error) {
	if e.none {
		return tasks, dir, nil
	}
	if e.dir == "" {
		f, err := os.OpenFile(filepath.Join(dir.Name(), "cgroup.procs"), os.O_WRONLY, 0)
		if err != nil {
			return tasks, dir, err
		}
		e.file = f
		return tasks, nil, errors.Join(dir.Close())
	}
	rest := tasks[:0]
	for _, f := range tasks {
		if e.file == nil && strings.HasPrefix(f.Name(), e.dir) {
			e.file = f
			continue
		}
		rest = append(rest, f)
	}
	return rest, dir, nil
}

// open is the plan's opener of the file.
func (e *lateEntry) open(h *plan.Host) (*os.File, error) {
	if e.file == nil {
		return nil, errors.New("the container has no cgroup that counts processes")
	}
	return plan.Copy(e.file)(h)
}

func (e *lateEntry) close() {
	if e.file != nil {
		e.file.Close()
	}
}
