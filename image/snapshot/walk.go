package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"

	"berth/base/fault"

	"github.com/containerd/containerd/v2/pkg/filters"
	"golang.org/x/sys/unix"
)

// Stat says what a snapshot is.
func (o *Overlay) Stat(_ context.Context, key string) (Info, error) {
	rec, err := o.load(key)
	if err != nil {
		return Info{}, fmt.Errorf("look up %w", err)
	}
	return rec.info(), nil
}

// Usage says what a snapshot takes without its parents: what was counted at its
// commit, and what is there now for an active one.
func (o *Overlay) Usage(ctx context.Context, key string) (Usage, error) {
	rec, err := o.load(key)
	if err != nil {
		return Usage{}, fmt.Errorf("usage of %w", err)
	}
	if rec.Kind != Active {
		return Usage{Size: rec.Size, Inodes: rec.Inodes}, nil
	}
	usage, err := count(ctx, o.upper(rec.ID))
	if err != nil {
		return Usage{}, fmt.Errorf("usage of snapshot %s: %w", key, err)
	}
	return usage, nil
}

// Update changes labels. Field paths are "labels" and "labels.NAME"; none means
// all labels.
func (o *Overlay) Update(_ context.Context, info Info, fieldpaths ...string) (Info, error) {
	rec, err := o.update(info, fieldpaths)
	if err != nil {
		return Info{}, fmt.Errorf("update %w", err)
	}
	return rec.info(), nil
}

func (o *shelf) update(info Info, fieldpaths []string) (*record, error) {
	for _, path := range fieldpaths {
		if path != "labels" && !strings.HasPrefix(path, "labels.") {
			return nil, refuse(fault.Invalid, "snapshot %s: field %q cannot be changed", info.Name, path)
		}
	}
	locks, err := o.lock(info.Name)
	if err != nil {
		return nil, fmt.Errorf("snapshot %s: %w", info.Name, err)
	}
	defer locks.unlock()
	rec, err := o.load(info.Name)
	if err != nil {
		return nil, err
	}
	// Cleanup, which reads all records, must not look while this one is moved.
	folder, err := o.holdFolder(rec.ID, true)
	if err != nil {
		return nil, fmt.Errorf("snapshot %s: hold its folder: %w", info.Name, err)
	}
	defer folder.Close()
	if len(fieldpaths) == 0 {
		fieldpaths = []string{"labels"}
	}
	for _, path := range fieldpaths {
		relabel(rec, info.Labels, path)
	}
	rec.Updated = now()
	if err := o.replace(rec); err != nil {
		return nil, fmt.Errorf("snapshot %s: %w", info.Name, err)
	}
	return rec, nil
}

// relabel sets one label, or all of them. An empty value removes a label.
func relabel(rec *record, labels map[string]string, path string) {
	if path == "labels" {
		rec.Labels = nil
		for k, v := range labels {
			setLabel(rec, k, v)
		}
		return
	}
	name := strings.TrimPrefix(path, "labels.")
	setLabel(rec, name, labels[name])
}

func setLabel(rec *record, name, value string) {
	if value == "" {
		delete(rec.Labels, name)
		return
	}
	if rec.Labels == nil {
		rec.Labels = map[string]string{}
	}
	rec.Labels[name] = value
}

// Walk calls fn for each snapshot that a filter matches, all if there are no
// filters. No lock is held: what comes or goes meanwhile may be seen or not.
// Broken records are skipped and reported.
func (o *Overlay) Walk(ctx context.Context, fn WalkFunc, filter ...string) error {
	match, err := filters.ParseAll(filter...)
	if err != nil {
		return fmt.Errorf("list snapshots: %w", err)
	}
	all, err := o.readAll()
	if err != nil {
		return fmt.Errorf("list snapshots: %w", err)
	}
	for _, e := range all {
		if e.err != nil {
			o.report(e.err)
			continue
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("list snapshots: %w", err)
		}
		info := e.rec.info()
		if !match.Match(adapt(info)) {
			continue
		}
		if err := fn(ctx, info); err != nil {
			return err
		}
	}
	return nil
}

// adapt shows a snapshot to the filters: name, parent, kind, labels.NAME.
func adapt(info Info) filters.Adaptor {
	return filters.AdapterFunc(func(path []string) (string, bool) {
		if len(path) == 0 {
			return "", false
		}
		switch path[0] {
		case "kind":
			return string(info.Kind), true
		case "name":
			return info.Name, true
		case "parent":
			return info.Parent, info.Parent != ""
		case "labels":
			v, ok := info.Labels[strings.Join(path[1:], ".")]
			return v, ok
		}
		return "", false
	})
}

// entry is what a listing found under a hash: a record, or why there is none.
type entry struct {
	hash string
	rec  *record
	err  error
}

// readAll reads all records, on as many processors as there are. Records that
// go meanwhile are left out.
func (o *records) readAll() ([]entry, error) {
	dir, err := os.Open(o.path(recordsDir))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	all := make([]entry, len(names))
	workers := min(runtime.GOMAXPROCS(0), 1+len(names)/64)
	share := (len(names) + workers - 1) / workers
	var wg sync.WaitGroup
	for w := range workers {
		from, to := min(w*share, len(names)), min((w+1)*share, len(names))
		wg.Go(func() {
			buf := make([]byte, 4<<10)
			for i := from; i < to; i++ {
				all[i] = o.readOne(int(dir.Fd()), names[i], &buf)
			}
		})
	}
	wg.Wait()
	kept := all[:0]
	for _, e := range all {
		if e.rec != nil || e.err != nil && !errors.Is(e.err, unix.ENOENT) {
			kept = append(kept, e)
		}
	}
	return kept, nil
}

// readOne reads the record called name in the folder dir into *buf, which grows.
func (o *records) readOne(dir int, name string, buf *[]byte) entry {
	hash, ok := strings.CutSuffix(name, recordSuffix)
	if !ok || !isHash(hash) {
		return entry{err: fmt.Errorf("record %s: not a record's name", o.path(recordsDir, name))}
	}
	n, err := readAt(dir, name, buf)
	if err != nil {
		return entry{hash: hash, err: fmt.Errorf("read record %s: %w", o.recordPath(hash), err)}
	}
	rec, err := o.judge((*buf)[:n], hash)
	return entry{hash, rec, err}
}

// readAt reads a whole small file.
func readAt(dir int, name string, buf *[]byte) (int, error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	n := 0
	for {
		if n == len(*buf) {
			if n >= maxRecord {
				return 0, unix.EFBIG
			}
			*buf = append(*buf, make([]byte, n)...)
		}
		m, err := unix.Read(fd, (*buf)[n:])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0, err
		default:
			n += m
		}
		if err == nil && n < len(*buf) { // a regular file gives less only at its end
			return n, nil
		}
	}
}
