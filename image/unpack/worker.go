package unpack

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"berth/base/fault"
)

// Options of a worker. The zero value is right for the host's root and for the
// root of a user namespace of the caller's own.
type Options struct {
	// UserXattr writes opaque folders as user.overlay.opaque, for overlay mounts
	// with the option userxattr: the only ones that a user namespace can make.
	UserXattr bool
	// UIDMap and GIDMap are the ids that layers may use, as seen by the caller.
	// Nil stands for all that the caller's user namespace has, or, where the
	// caller has no rights in it, for its own one id as root.
	UIDMap, GIDMap []syscall.SysProcIDMap
}

// Worker unpacks the layers of one verb in processes of its own. Its methods may
// be called at the same time from several goroutines.
type Worker struct {
	opts       Options
	oneID      bool
	uids, gids []syscall.SysProcIDMap
	// reader is started by the first layer that is compressed.
	reader func() (*process, error)

	mu     sync.Mutex
	spare  *process          // a maker that has no layer yet
	shared *process          // the maker of small layers
	all    map[*process]bool // that have not ended
	closed bool
}

// Start starts a worker: this program again, with WorkerWord as its first word.
// It lives until Close, or until this process ends. ctx bounds the start alone.
// The error says what the worker could not do; errors of kind fault.Unsupported
// mean that this kernel allows no user namespace here.
func Start(ctx context.Context, opts Options) (*Worker, error) {
	w := &Worker{opts: opts, all: map[*process]bool{}}
	var err error
	if w.uids, w.gids, err = w.maps(); err != nil {
		return nil, fmt.Errorf("start the unpack worker: %w", err)
	}
	w.reader = sync.OnceValues(func() (*process, error) { return w.start(context.Background(), readerRole) })
	w.spare, err = w.start(ctx, makerRole)
	return w, err
}

// start starts one process of the worker.
func (w *Worker) start(ctx context.Context, role string) (*process, error) {
	p, err := startProcess(ctx, role, w.uids, w.gids)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		p.kill()
		return nil, fault.New(fault.Unavailable, "the unpack worker was closed")
	}
	w.all[p] = true
	return p, nil
}

// maker gives the maker of a layer and what to call when the layer has ended: a
// new one, which ends with it whatever it would rather do, or for small layers
// the one that they share.
func (w *Worker) maker(ctx context.Context, j *Job) (p *process, end func(), err error) {
	small := j.Size > 0 && j.Size <= SmallLayer
	w.mu.Lock()
	if small && w.shared != nil && w.shared.lives() {
		defer w.mu.Unlock()
		return w.shared, func() {}, nil
	}
	p, w.spare = w.spare, nil
	w.mu.Unlock()
	if p == nil {
		if p, err = w.start(ctx, makerRole); err != nil {
			return nil, nil, err
		}
	}
	if small {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.shared = p // a second one that several started at once ends at Close
		return p, func() {}, nil
	}
	return p, func() {
		p.kill()
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.all, p)
	}, nil
}

// Close ends the worker and waits for its end. Layers that are being unpacked
// fail. A process that does not end in a few seconds is killed.
func (w *Worker) Close() error {
	w.mu.Lock()
	w.closed = true
	all := slices.Collect(maps.Keys(w.all))
	w.mu.Unlock()
	for _, p := range all {
		p.hangUp()
	}
	for _, p := range all {
		p.close()
	}
	return nil
}

// maps decides the ids of the worker and whether it is one only.
func (w *Worker) maps() (uids, gids []syscall.SysProcIDMap, err error) {
	uids, gids = w.opts.UIDMap, w.opts.GIDMap
	if uids == nil || gids == nil {
		if !mayMap() {
			w.oneID = true
			return []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}, []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}, nil
		}
		if uids, err = ownMap("/proc/self/uid_map"); err != nil {
			return nil, nil, err
		}
		if gids, err = ownMap("/proc/self/gid_map"); err != nil {
			return nil, nil, err
		}
	}
	w.oneID = len(uids) == 1 && uids[0].Size == 1
	return uids, gids, nil
}

// mayMap reports whether the caller may map more than its own id: capset(2)'s
// CAP_SETUID and CAP_SETGID.
func mayMap() bool {
	h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var d [2]unix.CapUserData
	if unix.Capget(&h, &d[0]) != nil {
		return false
	}
	const need = 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID
	return d[0].Effective&need == need
}

// ownMap makes a map that leaves the ids of the caller's namespace as they are,
// from user_namespaces(7)'s uid_map or gid_map.
func ownMap(path string) ([]syscall.SysProcIDMap, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := io.LimitReader(f, 64<<10)
	var out []syscall.SysProcIDMap
	for {
		var inside, outside, size int
		if _, err := fmt.Fscan(r, &inside, &outside, &size); err == io.EOF {
			break
		} else if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		out = append(out, syscall.SysProcIDMap{ContainerID: inside, HostID: inside, Size: size})
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("read %s: no ids are mapped", path)
	}
	return out, nil
}

// OneID reports whether all files of the layers belong to one id, and true
// owners are kept in an xattr.
func (w *Worker) OneID() bool { return w.oneID }
