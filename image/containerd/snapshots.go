package containerd

import (
	"context"

	"berth/image/snapshot"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
)

// Snapshots is a store's layers and writable folders.
type Snapshots struct{ Store snapshot.Store }

var (
	_ snapshots.Snapshotter = Snapshots{}
	_ snapshots.Cleaner     = Snapshots{}
)

func theirInfo(i snapshot.Info) snapshots.Info {
	return snapshots.Info{Kind: snapshots.ParseKind(string(i.Kind)), Name: i.Name, Parent: i.Parent, Labels: i.Labels, Created: i.Created, Updated: i.Updated}
}

func theirMounts(mounts []snapshot.Mount) []mount.Mount {
	var out []mount.Mount
	for _, m := range mounts {
		out = append(out, mount.Mount{Type: m.Type, Source: m.Source, Options: m.Options})
	}
	return out
}

// ourOpts is what their options set. Of the fields, labels and parent are
// options; the others are never theirs to say.
func ourOpts(opts []snapshots.Opt) ([]snapshot.Opt, error) {
	var i snapshots.Info
	for _, opt := range opts {
		if err := opt(&i); err != nil {
			return nil, err
		}
	}
	return []snapshot.Opt{snapshot.WithLabels(i.Labels), snapshot.WithParent(i.Parent)}, nil
}

// Stat says what a snapshot is.
func (s Snapshots) Stat(ctx context.Context, key string) (snapshots.Info, error) {
	i, err := s.Store.Stat(ctx, key)
	return theirInfo(i), err
}

// Update changes labels.
func (s Snapshots) Update(ctx context.Context, info snapshots.Info, fieldpaths ...string) (snapshots.Info, error) {
	i, err := s.Store.Update(ctx, snapshot.Info{Name: info.Name, Labels: info.Labels}, fieldpaths...)
	return theirInfo(i), err
}

// Usage says what a snapshot takes without its parents.
func (s Snapshots) Usage(ctx context.Context, key string) (snapshots.Usage, error) {
	u, err := s.Store.Usage(ctx, key)
	return snapshots.Usage(u), err
}

// Mounts gives the mounts of an active snapshot or a view.
func (s Snapshots) Mounts(ctx context.Context, key string) ([]mount.Mount, error) {
	mounts, err := s.Store.Mounts(ctx, key)
	return theirMounts(mounts), err
}

// Prepare makes an active snapshot.
func (s Snapshots) Prepare(ctx context.Context, key, parent string, opts ...snapshots.Opt) ([]mount.Mount, error) {
	return begun(ctx, s.Store.Prepare, key, parent, opts)
}

// View makes a snapshot that is only read.
func (s Snapshots) View(ctx context.Context, key, parent string, opts ...snapshots.Opt) ([]mount.Mount, error) {
	return begun(ctx, s.Store.View, key, parent, opts)
}

func begun(ctx context.Context, begin func(context.Context, string, string, ...snapshot.Opt) ([]snapshot.Mount, error), key, parent string, opts []snapshots.Opt) ([]mount.Mount, error) {
	ours, err := ourOpts(opts)
	if err != nil {
		return nil, err
	}
	mounts, err := begin(ctx, key, parent, ours...)
	return theirMounts(mounts), err
}

// Commit turns an active snapshot into a committed one.
func (s Snapshots) Commit(ctx context.Context, name, key string, opts ...snapshots.Opt) error {
	ours, err := ourOpts(opts)
	if err != nil {
		return err
	}
	return s.Store.Commit(ctx, name, key, ours...)
}

// Remove removes a snapshot without children.
func (s Snapshots) Remove(ctx context.Context, key string) error { return s.Store.Remove(ctx, key) }

// Walk calls fn for each snapshot that a filter matches.
func (s Snapshots) Walk(ctx context.Context, fn snapshots.WalkFunc, filters ...string) error {
	return s.Store.Walk(ctx, func(ctx context.Context, i snapshot.Info) error { return fn(ctx, theirInfo(i)) }, filters...)
}

// Cleanup removes what killed verbs left behind.
func (s Snapshots) Cleanup(ctx context.Context) error { return s.Store.Cleanup(ctx) }

// Close does nothing: the store is in no process.
func (s Snapshots) Close() error { return nil }
