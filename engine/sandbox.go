package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"berth/base/atomicfile"
	"berth/base/fault"
	"berth/container"
	"berth/network"
	"berth/runtime"
)

// A container's sandbox is its user namespace with the network namespace in it. Others
// share it (--network container:NAME; --ipc, --pid and --userns share the user namespace
// alone), and it lives on with them when the container ends: its next run joins it again,
// so that they have a network again, and so does a container that is made anew under the
// name. Its range of ids is nobody else's meanwhile.
//
//	RUN/containers/OWNER/sharers/ID   who shares it, looked at when somebody wants to know
//	RUN/sandboxes/NAME                a sharer, where the owner of that name was removed

// sharers is in the run folder of the container whose network is shared.
const sharers = "sharers"

// sandbox is what is left of a run, held open.
type sandbox struct {
	user, net *os.File
	ids       *container.Range // nil: it has the host's
}

func (b *sandbox) Close() {
	for _, f := range []*os.File{b.user, b.net} {
		if f != nil {
			f.Close()
		}
	}
}

// noteSharer leaves a container's id with the one whose namespaces it shares.
func noteSharer(e *Engine, id container.ID, owner *container.Record) error {
	if err := leaveID(filepath.Join(e.Containers.RunDir(owner.ID), sharers), id); err != nil {
		return fmt.Errorf("share namespaces of container %s: %w", owner.Name, err)
	}
	return nil
}

// sharersOf lists who lives in the network of a container, whether that runs or not, with
// their first processes.
func sharersOf(ctx context.Context, e *Engine, owner container.ID) (ids []container.ID, pids []int, err error) {
	dir := filepath.Join(e.Containers.RunDir(owner), sharers)
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, nil // nobody ever did
	}
	for _, entry := range list {
		id := container.ID(entry.Name())
		f, err := e.Containers.Facts(ctx, id)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return nil, nil, err
		}
		if err != nil || !f.State().Live() || f.Started == nil {
			_ = os.Remove(filepath.Join(dir, entry.Name())) // it is looked at once more, else
			continue
		}
		ids, pids = append(ids, id), append(pids, f.Started.PID)
	}
	return ids, pids, nil
}

// bequeath has a container that is about to be removed leave its sandbox to who shares it.
func bequeath(ctx context.Context, e *Engine, rec *container.Record) error {
	ids, _, err := sharersOf(ctx, e, rec.ID)
	if err != nil || len(ids) == 0 {
		return err
	}
	heir := &container.Record{ID: ids[0], Name: string(ids[0])}
	for _, id := range ids[1:] {
		if err := noteSharer(e, id, heir); err != nil {
			return err
		}
	}
	note := e.Containers.SandboxNote(rec.Name)
	if err = os.Mkdir(filepath.Dir(note), 0o700); err == nil || errors.Is(err, fs.ErrExist) {
		err = atomicfile.Write(note, []byte(heir.ID), 0o600)
	}
	if err != nil {
		return fmt.Errorf("leave the network of container %s to others: %w", rec.Name, err)
	}
	return e.Ranges.Pass(string(rec.ID), string(heir.ID))
}

// inherit finds the sandbox that a container's last run has left, or one that was removed
// and had its name; nil: none.
func inherit(ctx context.Context, e *Engine, rec *container.Record) (*sandbox, error) {
	switch rec.Config.Network.Mode {
	case "", network.Default, network.None:
	default:
		return nil, nil // it has no network of its own
	}
	if err := comeIntoOwn(ctx, e, rec); err != nil {
		return nil, err
	}
	ids, pids, err := sharersOf(ctx, e, rec.ID)
	if err != nil {
		return nil, err
	}
	for i, id := range ids {
		with, err := e.Containers.Get(ctx, string(id))
		if err != nil || !strings.HasPrefix(with.Config.Network.Mode, "container:") {
			continue // it goes, or shares something else
		}
		if b, err := openSandbox(pids[i], &rec.Userns); b != nil || err != nil {
			return b, err
		}
	}
	return nil, nil
}

// comeIntoOwn makes a container the owner of a sandbox that one of its name has left.
func comeIntoOwn(ctx context.Context, e *Engine, rec *container.Record) error {
	note := e.Containers.SandboxNote(rec.Name)
	text, err := atomicfile.ReadCapped(note, 100)
	if err != nil {
		return nil // nobody has
	}
	heir := container.ID(text)
	all, _, err := sharersOf(ctx, e, heir)
	if err != nil {
		return err
	}
	if f, err := e.Containers.Facts(ctx, heir); err == nil && f.State().Live() {
		all = append(all, heir)
	}
	for _, id := range all {
		if err := noteSharer(e, id, rec); err != nil {
			return err
		}
		if err := follow(ctx, e, id, rec.ID); err != nil {
			return err
		}
	}
	if len(all) > 0 {
		if err := e.Ranges.Pass(string(heir), string(rec.ID)); err != nil {
			return err
		}
	}
	return os.Remove(note)
}

// follow has a container share the network of another one from its next start on. One that
// is at work does not.
func follow(ctx context.Context, e *Engine, id, owner container.ID) error {
	l, err := e.Containers.TryLock(ctx, id)
	if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Busy) {
		return nil
	}
	if err != nil {
		return err
	}
	defer l.Unlock()
	return l.Update(func(rec *container.Record) error {
		if strings.HasPrefix(rec.Config.Network.Mode, "container:") {
			rec.Config.Network.Mode = "container:" + string(owner)
		}
		return nil
	})
}

// openSandbox holds that of a process; nil: it ends, or has the host's ids where a private
// user namespace is to be.
func openSandbox(pid int, users *container.UsernsChoice) (b *sandbox, err error) {
	b = &sandbox{}
	defer func() {
		if err != nil {
			b.Close()
			b = nil
		}
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}()
	for name, into := range map[string]**os.File{"user": &b.user, "net": &b.net} {
		if *into, err = os.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, name)); err != nil {
			return b, fmt.Errorf("join the network that others share: %w", err)
		}
	}
	if !users.Private {
		return b, nil
	}
	uids, gids, err := runtime.MapsOf(pid)
	if err != nil {
		return b, fmt.Errorf("join the network that others share: %w", err)
	}
	first, ok := runtime.HostID(uids, 0)
	if users.Settled() {
		ok = users.Has(uids, gids)
	} else if first == 0 {
		ok = false
	}
	if !ok {
		return b, fs.ErrNotExist
	}
	b.ids = &container.Range{First: first, UIDs: uids, GIDs: gids}
	return b, nil
}

// openPath is of a namespace that is held open, for who opens it in this process.
func openPath(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }

// vacate takes from a sandbox the links of the last run.
func (s *start) vacate() error {
	if s.with == nil {
		return nil
	}
	return s.net.Vacate(s.with.net)
}
