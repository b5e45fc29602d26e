package engine

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"berth/base/fault"
	"berth/base/undo"
	"berth/container"
	"berth/container/config"
	"berth/files"
	"berth/runtime"
)

// FilesRequest opens the files of a container.
type FilesRequest struct {
	Container string // name, id or unique prefix
	Write     bool
}

// Files are a container's files as its processes see them: those of a running one
// through its own mounts, those of a stopped one with its volumes and binds. It is
// what docker's API calls the archive.
type Files struct {
	*files.Visit
	e     *Engine
	rec   *container.Record
	held  bool
	close func() error
}

// Held reports whether other verbs wait for the end of this look: it writes to a
// container that does not run. A client's stream is not to be read meanwhile.
func (f *Files) Held() bool { return f.held }

// Spool takes a client's stream to its end into a file of the container's that has
// no name. It needs no open look.
func (f *Files) Spool(from io.Reader) (io.ReadCloser, error) {
	spool, err := os.CreateTemp(f.e.Containers.Home(f.rec.ID), ".spool-")
	if err != nil {
		return nil, fmt.Errorf("keep the archive: %w", err)
	}
	err = os.Remove(spool.Name())
	if err == nil {
		_, err = io.Copy(spool, from)
	}
	if err == nil {
		_, err = spool.Seek(0, io.SeekStart)
	}
	if err != nil {
		spool.Close()
		return nil, fmt.Errorf("keep the archive: %w", err)
	}
	return spool, nil
}

// Close ends the look.
func (f *Files) Close() error { return f.close() }

// Pack is the tar of a path and all below it; see files.Visit.
func (f *Files) Pack(path string, to io.Writer) error {
	f.e.tell(f.rec, "archive-path", map[string]string{"path": path})
	return f.Visit.Pack(path, to)
}

// Unpack makes a tar's files in a folder; see files.Visit.
func (f *Files) Unpack(path string, o *files.Options, from io.Reader) (*files.Made, error) {
	made, err := f.Visit.Unpack(path, o, from)
	if err == nil {
		f.e.tell(f.rec, "extract-to-dir", map[string]string{"path": path})
	}
	return made, err
}

// Owner is the user that the container's processes run as, nil for its root.
func (f *Files) Owner() (*files.Owner, error) {
	if f.rec.Resolved.User == "" {
		return nil, nil
	}
	return userOf(f.Visit, f.rec.Resolved.User)
}

// userOf looks a user up in a container's files.
func userOf(v *files.Visit, user string) (*files.Owner, error) {
	var texts [2][]byte
	for i, name := range []string{"/etc/passwd", "/etc/group"} {
		text, err := v.Read(name)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return nil, err
		}
		texts[i] = text
	}
	uid, gid, err := runtime.LookUpUser(user, texts[0], texts[1])
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err)
	}
	return &files.Owner{UID: int(uid), GID: int(gid)}, nil
}

// OpenFiles opens the files of a container. While those of a stopped one are
// written to, no other verb changes it.
func OpenFiles(ctx context.Context, e *Engine, r FilesRequest) (_ *Files, err error) {
	id, err := e.Containers.Find(ctx, r.Container)
	if err != nil {
		return nil, err
	}
	var u undo.Stack
	defer u.Unwind(&err)
	unlock := func() error { return nil }
	if r.Write {
		l, err := e.Containers.Lock(ctx, id)
		if err != nil {
			return nil, err
		}
		unlock = l.Unlock
		u.Push("unlock the container", l.Unlock)
		if _, err := settleLocked(ctx, e, l); err != nil {
			return nil, err
		}
	}
	rec, err := e.Containers.Get(ctx, string(id))
	if err != nil {
		return nil, err
	}
	f := &Files{e: e, rec: rec}
	facts, err := e.Containers.Facts(ctx, id)
	if err != nil {
		return nil, err
	}
	if facts.State().Live() {
		f.Visit, err = files.Enter(ctx, &files.Place{PID: facts.Started.PID, StartTime: facts.Started.StartTime, ReadOnly: !r.Write})
		if err == nil {
			f.close = f.Visit.Close
			return f, unlock() // it may be stopped meanwhile: its files stay what they are
		}
		if !fault.Is(err, fault.Conflict) { // it ended in this moment
			return nil, err
		}
	}
	if facts.State() == container.StateRemoving {
		return nil, fault.New(fault.Conflict, "container is marked for removal and its files cannot be copied")
	}
	layers, err := stoppedLayers(ctx, e, rec)
	if err != nil {
		return nil, err
	}
	if f.Visit, err = files.Enter(ctx, &files.Place{Layers: layers, ReadOnly: !r.Write}); err != nil {
		return nil, err
	}
	f.held = r.Write
	f.close = func() error {
		err := f.Visit.Close()
		if err := detachVolumes(context.WithoutCancel(ctx), e, rec); err != nil {
			e.warn(err)
		}
		return cmp.Or(err, unlock())
	}
	return f, nil
}

// rootLayers are the folders of a container's root, without what is mounted in it.
func rootLayers(ctx context.Context, e *Engine, rec *container.Record) (*files.Layers, error) {
	tree, err := treeOf(ctx, e, rec)
	if err != nil {
		return nil, err
	}
	return &files.Layers{Store: tree.Store, Lower: tree.Lower, Upper: tree.Upper, Work: tree.Work, Options: append(tree.Options, contextOption(rec)...),
		ReadOnlyRoot: rec.Config.Security.ReadOnlyRoot, UIDs: rec.Userns.UIDs, GIDs: rec.Userns.GIDs}, nil
}

// stoppedLayers are those with the mounts that a start would make.
func stoppedLayers(ctx context.Context, e *Engine, rec *container.Record) (*files.Layers, error) {
	l, err := rootLayers(ctx, e, rec)
	if err != nil {
		return nil, err
	}
	mounts, err := startMounts(ctx, e, rec)
	if err != nil {
		return nil, err
	}
	home := e.Containers.Home(rec.ID)
	for _, name := range []string{"hostname", "hosts", "resolv.conf"} { // of the last start
		at := filepath.Join(home, name)
		if _, err := os.Lstat(at); err == nil {
			l.Mounts = append(l.Mounts, files.Mount{Source: at, Target: "/etc/" + name})
		}
	}
	for _, m := range mounts {
		if m.Kind == config.MountBind {
			l.Mounts = append(l.Mounts, files.Mount{Source: m.Source, Subpath: m.Subpath, Target: m.Target, ReadOnly: m.ReadOnly, Recursive: !m.NonRecursive})
		}
	}
	return l, nil
}
