package leak

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxEntries caps a walk over a folder or a cgroup hierarchy.
const maxEntries = 500_000

// takeCgroups lists the folders of every cgroup hierarchy that is mounted
// here, v1 and v2.
func takeCgroups(s Snapshot, w *world) error {
	for _, m := range readMounts(w.self) {
		if m.kind != "cgroup" && m.kind != "cgroup2" {
			continue
		}
		err := walk(m.target, func(path string, d fs.DirEntry) {
			if !d.IsDir() || path == m.target {
				return
			}
			if rel := strings.TrimPrefix(path, m.target); !w.cfg.Strict && (rel == "/berth" || rel == "/berth/monitor") {
				return // made once, and kept: what is in them is listed
			}
			if w.cfg.Strict || w.inNamed(strings.TrimPrefix(path, m.target)) {
				s.add(Cgroup, path, path)
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *world) inNamed(path string) bool {
	for _, part := range strings.Split(path, "/") {
		if part != "" && w.cfg.named(part) {
			return true
		}
	}
	return false
}

// walk visits everything below a folder; what vanishes meanwhile is no
// error.
func walk(folder string, visit func(string, fs.DirEntry)) error {
	n := 0
	return filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if os.IsNotExist(err) || d == nil {
				return nil
			}
			if _, gone := os.Lstat(path); gone != nil {
				return nil
			}
			return err
		}
		if n++; n > maxEntries {
			return fmt.Errorf("more than %d entries below %s", maxEntries, folder)
		}
		visit(path, d)
		return nil
	})
}

// takeKeys lists /proc/keys (proc_keys(5)) less those that are already dead
// or revoked and wait for the kernel's collector.
func takeKeys(s Snapshot, w *world) error {
	data, err := os.ReadFile("/proc/keys")
	if os.IsNotExist(err) {
		return nil // a kernel without keys
	}
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) < 9 || strings.ContainsAny(f[1], "RDi") {
			continue
		}
		what := strings.TrimSuffix(f[8], ":")
		if w.cfg.Strict || w.cfg.named(what) || w.cfg.named(strings.TrimPrefix(what, "_ses.")) {
			s.add(Key, f[0], strings.Join(append([]string{f[0]}, f[5:]...), " "))
		}
	}
	return nil
}

// takeLoops lists the loop devices in use and their files.
func takeLoops(s Snapshot, w *world) error {
	files, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		return err
	}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // detached meanwhile
		}
		backing := strings.TrimSpace(string(data))
		if w.cfg.Strict || w.cfg.below(strings.TrimSuffix(backing, " (deleted)")) {
			dev := filepath.Base(filepath.Dir(filepath.Dir(path)))
			s.add(Loop, dev+" "+backing, "/dev/"+dev+" "+backing)
		}
	}
	return nil
}

// takeFiles lists everything below the folders, the folders apart.
func takeFiles(s Snapshot, w *world) error {
	for _, folder := range w.cfg.Folders {
		err := walk(folder, func(path string, d fs.DirEntry) {
			if path != folder {
				s.add(File, path, fmt.Sprintf("%s (%s)", path, d.Type()))
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}
